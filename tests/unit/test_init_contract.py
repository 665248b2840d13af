"""All inits keep to the contract, and one that is half-done is found out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.boot.inits import interface
from binfmt_setup.boot.inits.interface import (
    INITS,
    REGISTER,
    InitSystem,
    Row,
    found_in,
    init_named,
)
from binfmt_setup.boot.inits.openrc import Openrc
from binfmt_setup.boot.inits.sysvinit import Sysvinit
from binfmt_setup.boot.lost import NoInit, NotByHand, StartupNotRun
from binfmt_setup.changes import boot_steps
from binfmt_setup.changes.steps import ChangeFile
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.binfmt_d import BINFMT_D
from binfmt_setup.model.boot_facts import SCRIPT_PATH, UNIT_PATH, BootFacts
from binfmt_setup.model.facts import HostFacts
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import target_named
from binfmt_setup.report.words import boot as words
from binfmt_setup.system.host import Host
from tests import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
FOLDER = Path(interface.__file__).parent
NAMES = [row.name for row in INITS]
ARM64 = target_named("aarch64")
QEMU = "/usr/bin/qemu-aarch64-static"
RULE = Registration(ARM64.entry_name, QEMU, "OF", ARM64.magic, ARM64.mask)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HostFacts]:
    """What the recorded hosts have for inits, by its name."""
    hosts = {}
    for path in sorted((recorded.CASES / "hosts").glob("*.toml")):
        case = recorded.load(path)
        where = tmp_path_factory.mktemp("host")
        found = found_in(recorded.build(case, where / "root"))
        hosts[found.name] = HostFacts("/", boot=BootFacts(found.name, running=found.running))
        shutil.rmtree(where)
    return hosts


def complaints(init: InitSystem, recorded_hosts: dict[str, HostFacts]) -> list[str]:
    """What is wrong with an init; empty when it keeps to the contract."""
    found: list[str] = []
    for attempt in (_papers, _reads, _obstacle, _writes):
        try:
            found += attempt(init)
        except Exception as error:
            found.append(f"{type(error).__name__} escapes")
    if init.name not in recorded_hosts:
        found.append("no recorded host")
    return found


def _papers(init: InitSystem) -> Iterator[str]:
    if not (FOLDER / f"{init.name}.py").exists():
        yield "no module of its name"
    if f"| `{init.name}` |" not in (TOP / "docs/persistence.md").read_text():
        yield "no row in docs/persistence.md"
    if init.startup and init.startup not in (TOP / "docs/persistence.md").read_text():
        yield "docs/persistence.md does not say what it runs at boot"


def _reads(init: InitSystem) -> Iterator[str]:
    if not set(init.folders) <= set(BINFMT_D):
        yield "reads folders that nobody knows"
    if init.folders and init.startup:
        yield "reads binfmt.d, and yet something is to be done by hand"
    if init.startup and SCRIPT_PATH not in init.line:
        yield "what is to be done by hand does not run the script"


def _obstacle(init: InitSystem) -> Iterator[str]:
    """On a host that has nothing, it must say why nothing is registered, and what helps."""
    lost = init.obstacle(HostFacts("/", boot=BootFacts(init.name)))
    if lost is None:
        yield "says that entries stay where nothing registers them"
        return
    if not words.lost(lost):
        yield "has no words for its obstacle"
    command = bool(init.folders or init.cure(lost) or words.by_hand(lost))
    if not command and not isinstance(lost, NoInit):
        yield "names an obstacle, and nothing to do about it"


def _writes(init: InitSystem) -> Iterator[str]:
    facts = HostFacts("/", boot=BootFacts(init.name))
    steps = boot_steps.boot_steps(facts, [RULE], Request())
    files = {step.path for step in steps if isinstance(step, ChangeFile)}
    if (SCRIPT_PATH in files) is (init.writes == "nothing"):
        yield "the script and what it says of it do not agree"
    if (UNIT_PATH in files) is not (init.writes == "units"):
        yield "units and what it says of them do not agree"
    if init.startup and SCRIPT_PATH not in files:
        yield "tells to run a script that nobody writes"
    if boot_steps.boot_steps(facts, [RULE], Request(persist=False)):
        yield "writes for the boot what shall not last"


@pytest.mark.parametrize("name", NAMES)
def test_an_init_keeps_to_the_contract(name: str, seen: dict[str, HostFacts]) -> None:
    assert complaints(init_named(name), seen) == []


def test_every_init_in_the_folder_is_in_the_table() -> None:
    assert {p.stem for p in FOLDER.glob("[a-z]*.py")} - {"interface"} == set(NAMES)
    assert [init_named(name).name for name in NAMES] == NAMES


@pytest.mark.parametrize("name", ["", "interface", "launchd", "../openrc"])
def test_an_unknown_init_is_never_another_one(name: str) -> None:
    with pytest.raises(LookupError):
        init_named(name)


@pytest.mark.parametrize("row", [row for row in INITS if row.programs], ids=lambda row: row.name)
def test_an_offline_tree_has_the_init_that_is_installed(tmp_path: Path, row: Row) -> None:
    for program in row.programs:
        tree = tmp_path / program.replace("/", "-")
        for path in filter(None, (program, row.needs)):
            (tree / path.lstrip("/")).parent.mkdir(parents=True)
            (tree / path.lstrip("/")).touch()
        found = found_in(Host(tree))
        assert (found.name, found.running, found.installed) == (
            row.name,
            False,
            frozenset({row.name}),
        )


@pytest.mark.parametrize(
    ("process", "program", "expected"),
    [
        ("tini", (), "none"),  # a container with the /run of its host
        ("runit", (), "runit"),
        ("systemd", (), "systemd"),  # NixOS has its programs elsewhere
        ("tini", ("/usr/lib/systemd/systemd",), "systemd"),
    ],
)
def test_a_sign_in_run_alone_is_no_init(
    tmp_path: Path, process: str, program: tuple[str, ...], expected: str
) -> None:
    case = recorded.load(recorded.CASES / "common/systemd.toml")
    files = {"/run/systemd/system/": "", "/proc/1/comm": f"{process}\n"} | dict.fromkeys(
        program, ""
    )
    found = found_in(
        recorded.build(
            dataclasses.replace(case, tables={**case.tables, "files": files, "elf": {}}), tmp_path
        )
    )
    assert (found.name, found.running) == (expected, expected == "systemd")


def test_no_init_is_named_in_a_rule_elsewhere() -> None:
    """Who needs to know what an init does asks it: no chain of names outside of its folder."""
    for path in (TOP / "binfmt_setup").rglob("*.py"):
        text = path.read_text()
        assert path.parent == FOLDER or "boot.init ==" not in text, path
        assert path.parent == FOLDER or "boot.init in" not in text, path


@pytest.mark.parametrize("name", [n for n in NAMES if init_named(n).startup])
def test_what_is_done_by_hand_is_seen(tmp_path: Path, name: str) -> None:
    """Nothing is there; then the line, commented out; then in force; then not executable."""
    init = init_named(name)
    path = tmp_path / init.startup.lstrip("/")
    path.parent.mkdir(parents=True)

    def lost() -> type[object] | None:
        host = Host(tmp_path)
        state = BootFacts(name, loader=init.loader(host), loader_enabled=init.enabled(host))
        found = init.obstacle(HostFacts("/", boot=state))
        return type(found) if found is not None else None

    first = "[boot]" if name == "wsl" else "#!/bin/sh"
    assert lost() is NotByHand
    path.write_text(f"{first}\n# {init.line}\n")
    path.chmod(0o755)
    assert lost() is NotByHand
    path.write_text(f"{first}\n{init.line}\n")
    assert lost() is None
    path.chmod(0o644)
    assert lost() in (StartupNotRun, None)
    if lost() is StartupNotRun:
        assert init.cure(StartupNotRun(init.startup)) == ("chmod", "+x", init.startup)


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("[boot]\nsystemd = false\n\nCommand = service x start; LINE\n", True),
        ("[ boot ]\ncommand=LINE", True),
        ("[automount]\ncommand = LINE\n[boot]\n", False),
        ("[boot]\n[user]\ncommand = LINE\n", False),
        ("command = LINE\n", False),
        ("[boot] command = LINE\n", False),
        ("[boot]\n;command = LINE\n", False),
    ],
)
def test_wsl_runs_the_command_of_one_section(tmp_path: Path, text: str, *, runs: bool) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/wsl.conf").write_text(text.replace("LINE", REGISTER))
    assert bool(init_named("wsl").loader(Host(tmp_path))) is runs


def test_systemd_is_served_where_another_init_runs_beside_it(tmp_path: Path) -> None:
    for path in ("usr/lib/systemd/systemd", "etc/inittab"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    facts = replace(snapshot(Host(tmp_path)), root="/")
    facts = replace(facts, boot=replace(facts.boot, init="sysvinit"))
    assert facts.boot.installed == {"systemd", "sysvinit"}
    steps = boot_steps.boot_steps(facts, [RULE], Request())
    assert UNIT_PATH in {step.path for step in steps if isinstance(step, ChangeFile)}


# -- the contract itself: what it finds in an init that somebody left half-done ------------


class Undocumented(Sysvinit):
    name = "dinit"
    startup = "/etc/dinit.d/boot"


class Optimist(Openrc):
    def obstacle(self, facts: HostFacts) -> None:
        del facts


class Elsewhere(Openrc):
    folders = ("/etc/binfmt",)


class Both(Openrc):
    startup = "/etc/rc.local"


class Scriptless(Sysvinit):
    writes = "nothing"


class OtherLine(Sysvinit):
    line = "update-binfmts --enable"


@pytest.mark.parametrize(
    ("unfinished", "complaint"),
    [
        (Undocumented, "no module of its name"),
        (Undocumented, "no row in docs/persistence.md"),
        (Undocumented, "docs/persistence.md does not say what it runs at boot"),
        (Undocumented, "no recorded host"),
        (Undocumented, "LookupError escapes"),
        (Optimist, "says that entries stay where nothing registers them"),
        (Elsewhere, "reads folders that nobody knows"),
        (Both, "reads binfmt.d, and yet something is to be done by hand"),
        (Scriptless, "the script and what it says of it do not agree"),
        (OtherLine, "what is to be done by hand does not run the script"),
    ],
)
def test_a_half_done_init_is_found_out(
    unfinished: type[InitSystem], complaint: str, seen: dict[str, HostFacts]
) -> None:
    assert complaint in complaints(unfinished(), seen)
