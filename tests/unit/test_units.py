"""The units: what they say, whether systemd accepts them, how little they may do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from binfmt_setup.boot import units as boot_units
from binfmt_setup.changes import boot_steps
from binfmt_setup.changes.steps import ChangeFile, ChangeLink, ControlUnit, Reload
from binfmt_setup.model.binfmt_d import MARKER
from binfmt_setup.model.boot_facts import (
    SCRIPT_PATH,
    UNIT_PATH,
    VOLATILE_DROP_IN_PATH,
    BootFacts,
)
from binfmt_setup.model.facts import HostFacts
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter
from binfmt_setup.model.mount_order import parse_fstab
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import target_named
from tests.own_namespace import TOP

NOFAIL = "UUID=3 /opt ext4 nofail 0 2\n"
ODD = "/opt/with space/100%/qemu"
HOME = "/home/me/qemu-aarch64"
USUAL = "/usr/bin/qemu-aarch64-static"
EXPOSURE = 7  # tenths: what every unit of ours stays below or at


CALLED_AS_OURS = {
    "aarch64": "/changed", "alpha": "/keep", "arm": "/lost", "hppa": "/opt",
    "i386": "/opt/lost", "m68k": "/opt/lost/keep", "riscv64": "/opt/changed-",
}  # fmt: skip
"""Late mounts for some emulators, whose names could be taken for those of helpers."""


def rule(path: str, target: str = "aarch64") -> Registration:
    wanted = target_named(target)
    return Registration(wanted.entry_name, path, "OF", wanted.magic, wanted.mask)


def host(fstab: str = "", *, running: bool = True) -> HostFacts:
    state = BootFacts(
        "systemd", running=running, loader="/usr/lib/systemd/systemd-binfmt",
        fstab=parse_fstab(fstab), mounted=("/", "/proc"),
    )  # fmt: skip
    found = {path: Interpreter(path, path) for path in (USUAL, ODD, HOME)}
    return HostFacts("/", boot=state, emulators=EmulatorFacts(files=found))


CASES = {
    "usual": (host(), [rule(USUAL)]),
    "several": (host(), [rule(USUAL), rule(ODD, "riscv64"), rule("/opt/x:y", "s390x")]),
    "late": (host(NOFAIL), [rule(ODD)]),
    "late and usual": (host(NOFAIL), [rule(USUAL), rule("/opt/qemu", "riscv64")]),
    "at home": (host(), [rule(HOME)]),
    "at home, with a colon": (host(), [rule("/home/a:b/qemu")]),
    "at a mount called as a helper": (host("UUID=3 /keep ext4 nofail 0 2\n"), [rule("/keep/qemu")]),
}


@pytest.fixture(params=CASES)
def units(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    """Every unit of a case, in one directory, as on a host."""
    written = []
    for group in boot_units.unit_groups(*CASES[request.param], keep=True):
        for path, text in boot_units.render_units(group).items():
            place = tmp_path / Path(path).name
            place.write_text(text)
            written.append(place)
    return written


def test_systemd_accepts_every_unit(units: list[Path]) -> None:
    need("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", *units],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_no_service_can_do_more_than_it_must(units: list[Path]) -> None:
    need("systemd-analyze")
    services = [unit for unit in units if unit.suffix == ".service"]
    for unit in services:
        # From another directory systemd-analyze reads a unit's name with its path.
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=yes", "--no-pager",
             f"--threshold={EXPOSURE}", unit],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert "Overall exposure level" in done.stdout
    assert services


def need(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    if program == "systemd-analyze":
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        version = re.match(r"systemd (\d+)", said.stdout)
        if version is None or int(version[1]) < 250:
            pytest.skip("this systemd-analyze has no --offline and --recursive-errors")


def test_every_directive_of_the_sandbox_is_explained() -> None:
    text = (TOP / "systemd" / "hardening.j2").read_text()
    explained = False
    for line in text.splitlines():
        if line.startswith("#"):
            explained = True
        elif "=" in line and not line.startswith("{%"):
            assert explained, line
    assert text.count("#") > 15


def test_every_unit_bears_the_mark_and_its_digest(units: list[Path]) -> None:
    for unit in units:
        assert unit.read_text().startswith(MARKER + "\n# Made from: ")


def test_what_the_boot_does_not_wait_for_has_units_of_its_own() -> None:
    usual, late = boot_units.unit_groups(*CASES["late and usual"])
    texts = {Path(path).name: text for path, text in boot_units.render_units(late).items()}
    assert set(texts) == {
        "binfmt-setup-opt.service", "binfmt-setup-opt.path", "binfmt-setup-opt-changed.service",
    }  # fmt: skip
    service = texts["binfmt-setup-opt.service"]
    assert "docker" not in service
    assert "WantedBy=opt.mount systemd-binfmt.service\n" in service
    assert "RequiresMountsFor=/opt\n" in service
    assert "qemu-aarch64.conf" not in service
    assert "Before=docker.service" in boot_units.render_units(usual)[UNIT_PATH]


def test_no_mount_gets_the_name_of_anothers_helper() -> None:
    facts = host("".join(f"UUID=1 {mount} ext4 nofail 0 2\n" for mount in CALLED_AS_OURS.values()))
    rules = [rule(f"{mount}/qemu", target) for target, mount in CALLED_AS_OURS.items()]
    groups = boot_units.unit_groups(facts, rules, keep=True)
    paths = [path for group in groups for path in group.unit_paths]
    assert len(groups) == len(CALLED_AS_OURS)
    assert len(set(paths)) == len(paths) == 6 * len(groups)
    facts, rules = CASES["at a mount called as a helper"]
    (alone,) = boot_units.unit_groups(facts, rules)
    facts = replace(facts, boot=replace(facts.boot, unit_links=alone.links))
    assert not boot_units.is_kept(facts, Request())


def test_what_is_mounted_by_hand_is_never_mounted_for_us() -> None:
    (group,) = boot_units.unit_groups(host(NOFAIL.replace("nofail", "noauto")), [rule("/opt/qemu")])
    assert group.wanted_by == ("opt.mount",)


def test_emulators_that_the_sandbox_hides_are_shown_to_it() -> None:
    (group,) = boot_units.unit_groups(*CASES["at home"])
    assert "BindReadOnlyPaths=-/home/me\n" in boot_units.render_units(group)[UNIT_PATH]
    (group,) = boot_units.unit_groups(host(""), [rule("/run/media/disk/qemu")])
    assert "BindReadOnlyPaths=-/run/media/disk\n" in boot_units.render_units(group)[UNIT_PATH]


def installed(facts: HostFacts, rules: list[Registration]) -> HostFacts:
    """The host after the steps of an install were carried out, its units running."""
    files, links = dict(facts.boot.files), dict(facts.boot.unit_links)
    for step in boot_steps.boot_steps(facts, rules, Request()):
        if isinstance(step, ChangeFile):
            files.pop(step.path, None)
            if step.after is not None:
                files[step.path] = step.after
        elif isinstance(step, ChangeLink):
            links.pop(step.path, None)
            if step.after is not None:
                links[step.path] = step.after
    active = frozenset(Path(path).name for path in files if path.endswith(".service"))
    state = replace(facts.boot, files=files, unit_links=links, active=active)
    return replace(facts, boot=state)


@pytest.mark.parametrize("case", CASES)
def test_a_second_install_changes_nothing(case: str) -> None:
    facts, rules = CASES[case]
    after = installed(facts, rules)
    assert boot_steps.boot_steps(after, rules, Request()) == ()
    assert boot_steps.start_steps(after, rules, (), Request()) == ()


def test_until_the_reboot_a_running_systemd_gets_a_drop_in_and_nothing_else() -> None:
    def steps(facts: HostFacts, *, volatile: bool) -> tuple[object, ...]:
        request = Request(persist=False)
        return boot_steps.boot_steps(facts, [], request, volatile=volatile)

    text = boot_units.drop_in_text()
    facts = host()
    assert steps(facts, volatile=True) == (
        ChangeFile(VOLATILE_DROP_IN_PATH, None, text), Reload(),
    )  # fmt: skip
    there = replace(facts, boot=replace(facts.boot, files={VOLATILE_DROP_IN_PATH: text}))
    assert steps(there, volatile=True) == ()
    assert steps(there, volatile=False) == (
        ChangeFile(VOLATILE_DROP_IN_PATH, text, None), Reload(),
    )  # fmt: skip
    theirs = replace(facts.boot, occupied={VOLATILE_DROP_IN_PATH: "theirs"})
    contained = replace(facts.boot, loader="")  # a container with the host's /run
    for boot in (theirs, contained, host(running=False).boot):
        assert steps(replace(facts, boot=boot), volatile=True) == ()


@pytest.mark.parametrize("case", CASES)
def test_uninstall_takes_away_all_of_it_and_nothing_else(case: str) -> None:
    facts, rules = CASES[case]
    after = installed(facts, rules)
    wants = "/etc/systemd/system/multi-user.target.wants"
    theirs = {
        f"{wants}/binfmt-setup-theirs.service": "/etc/systemd/system/binfmt-setup-theirs.service",
        "/etc/systemd/system/a.target.wants/binfmt-setup.service": "/etc/passwd",
        "/etc/systemd/system/b.target.wants/binfmt-setup.service": "../../binfmt-setup.service",
    }
    ours = {"/etc/systemd/system/c.target.wants/binfmt-setup.service": "../binfmt-setup.service"}
    links = {**after.boot.unit_links, **theirs, **ours}
    after = replace(after, boot=replace(after.boot, unit_links=links))
    gone = installed(after, [])
    assert dict(gone.boot.files) == {}
    assert gone.boot.unit_links == theirs


def test_install_starts_what_it_enables_and_watches_what_it_changes() -> None:
    facts, rules = CASES["usual"]
    steps = boot_steps.boot_steps(facts, rules, Request())
    assert isinstance(steps[-1], Reload)
    starts = boot_steps.start_steps(facts, rules, steps, Request())
    assert starts == (ControlUnit("start-unit", "binfmt-setup.service"),)
    after = installed(facts, rules)
    more = [*rules, rule("/usr/bin/qemu-s390x-static", "s390x")]
    steps = boot_steps.boot_steps(after, more, Request())
    assert {s.path for s in steps if isinstance(s, ChangeFile)} == {
        UNIT_PATH, UNIT_PATH.replace(".service", ".path"),
        UNIT_PATH.replace(".service", "-changed.service"),
    }  # fmt: skip
    assert boot_steps.start_steps(after, more, steps, Request()) == (
        ControlUnit("restart-unit", "binfmt-setup.path"),
    )


def test_what_was_lost_all_the_same_is_watched_anew() -> None:
    facts, rules = CASES["usual"]
    after, keep = installed(facts, rules), Request(keep=True)
    (watch,) = boot_steps.start_steps(after, rules, (), keep, lost=True)
    assert watch == ControlUnit("restart-unit", "binfmt-setup-keep.path")
    assert boot_steps.start_steps(after, rules, (), Request(), lost=True) == ()


def test_uninstall_stops_before_it_removes() -> None:
    facts, rules = CASES["usual"]
    steps = boot_steps.boot_steps(installed(facts, rules), [], Request())
    kinds = [step.kind for step in steps]
    assert kinds.index("stop-unit") < kinds.index("remove-file")
    assert ControlUnit("stop-unit", "binfmt-setup.path") in steps
    assert SCRIPT_PATH in {s.path for s in steps if isinstance(s, ChangeFile)}


def test_without_persistence_nothing_is_written_or_started() -> None:
    facts, rules = CASES["usual"]
    for state in (facts, installed(facts, rules)):
        steps = boot_steps.boot_steps(state, rules, Request(persist=False))
        assert steps == boot_steps.start_steps(state, rules, steps, Request(persist=False)) == ()


def test_a_moved_emulator_leaves_no_unit_of_its_old_place() -> None:
    facts = host(NOFAIL)
    after = installed(installed(facts, [rule(ODD)]), [rule(USUAL)])
    names = {Path(path).name for path in after.boot.files}
    assert names == {
        "register", "binfmt-setup.conf", "binfmt-setup.service", "binfmt-setup.path",
        "binfmt-setup-changed.service", "50-binfmt-setup.preset",
    }  # fmt: skip
    assert not any("opt" in link for link in after.boot.unit_links)


def test_the_script_is_sound() -> None:
    need("shellcheck")
    script = TOP / "systemd" / "register"
    done = subprocess.run(
        ["shellcheck", "--shell=sh", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert boot_units.script_text().startswith(f"#!/bin/sh\n{MARKER}\n")
