"""All package managers keep to the contract, and one that is half-done is found out."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.emulators.package_managers import interface
from binfmt_setup.emulators.package_managers.apt import Apt
from binfmt_setup.emulators.package_managers.interface import (
    MANAGERS,
    PackageManager,
    manager_named,
    package_manager,
)
from binfmt_setup.emulators.packages import install_with
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.facts import Distribution, HostFacts, parse_os_release
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import TARGETS
from binfmt_setup.system.host import Host
from binfmt_setup.system.programs import Completed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_setup.model.targets import Target

TOP = Path(__file__).resolve().parents[2]
FOLDER = Path(interface.__file__).parent
NAMES = [row.name for row in MANAGERS]
HOUR = 3600.0


def recorded() -> Iterator[tuple[str, Distribution]]:
    """The managers of the recorded cases, with the distribution that chose them."""
    for name in ("packages.json", "package_advice.json"):
        for case in json.loads((TOP / "tests/unit/data" / name).read_text()):
            said = parse_os_release(case["os-release"].replace(";", "\n"))
            said = replace(said, managers=frozenset(case.get("managers", "").split()))
            manager = package_manager(said)
            assert manager is not None, case["name"]
            yield manager.name, said


RECORDED = list(recorded())


def complaints(manager: PackageManager) -> list[str]:
    """What is wrong with a package manager; empty when it keeps to the contract."""
    tried = (_papers, _packages, _commands, _words, _failure)
    found: list[str] = []
    for attempt in tried:
        try:
            found += attempt(manager)
        except Exception as error:
            found.append(f"{type(error).__name__} escapes")
    return found


def _papers(manager: PackageManager) -> Iterator[str]:
    if not (FOLDER / f"{manager.name}.py").exists():
        yield "no module of its name"
    if f"| `{manager.name}` |" not in (TOP / "docs/emulators.md").read_text():
        yield "no row in docs/emulators.md"
    if manager.name not in dict(RECORDED):
        yield "no recorded case"


def _distribution(manager: PackageManager) -> Distribution:
    return dict(RECORDED).get(manager.name, Distribution("debian"))


def _commands(manager: PackageManager) -> Iterator[str]:
    """What it would run, for every target there is."""
    where = _distribution(manager)
    for again in (False, True):
        commands = manager.commands(where, TARGETS, again=again)
        if commands != manager.commands(where, TARGETS, again=again):
            yield "the same question gives other commands"
        if bool(commands) is not manager.runs:
            yield "its commands and `runs` do not agree"
        for command in commands:
            if command[0] != manager.program:
                yield f"runs another program: {command[0]}"
            if any(shlex.split(word) != [word] for word in command):
                yield "has words that a shell would split"
        if commands and not set(manager.packages(where, TARGETS)) <= set(commands[-1]):
            yield "leaves out packages"
    if manager.listing and manager.commands(where, TARGETS, again=True) == manager.commands(
        where, TARGETS
    ):
        yield "sees that files are lost, and has no command that puts them back"
    if manager.listing and not manager.owner:
        yield "lists the files of packages, and cannot say whose one is"


def _packages(manager: PackageManager) -> Iterator[str]:
    where = _distribution(manager)
    for target in TARGETS:
        names = manager.packages(where, [target])
        if not names or len(set(names)) != len(names):
            yield f"no package, or one twice: {target.name}"


def _words(manager: PackageManager) -> Iterator[str]:
    remedy = manager.remedy(_distribution(manager), TARGETS[:2])
    as_user = manager.remedy(_distribution(manager), TARGETS[:2], sudo=True)
    if "run: sudo " not in as_user or as_user.replace("run: sudo ", "run: ", 1) != remedy:
        yield "the remedy is the same for who is not root"
    if f"run: {manager.program} " not in remedy:
        yield "the remedy does not name its program"
    if ("--install-qemu" in remedy) is not manager.runs:
        yield "the remedy names --install-qemu where it does not help, or not where it does"


def _failure(manager: PackageManager) -> Iterator[str]:
    """It is not waited for without end, and its failure is told with what to do."""
    waited: list[float] = []

    def run(_: Sequence[str], seconds: float) -> Completed:
        waited.append(seconds)
        return Completed(1, "", "E: broken")

    facts = HostFacts("/", distribution=_distribution(manager))
    try:
        install_with(manager, Host(run=run), facts, TARGETS[:2])
        yield "a failure goes unseen"
    except BinfmtSetupError as error:
        if not error.hint:
            yield "an error without a hint"
    if any(not 0 < seconds <= HOUR for seconds in waited):
        yield "waits without end"


@pytest.mark.parametrize("name", NAMES)
def test_a_package_manager_keeps_to_the_contract(name: str) -> None:
    assert complaints(manager_named(name)) == []


def test_every_manager_in_the_folder_is_in_the_table() -> None:
    assert {p.stem for p in FOLDER.glob("[a-z]*.py")} - {"interface"} == set(NAMES)
    assert [manager_named(name).name for name in NAMES] == NAMES


@pytest.mark.parametrize("name", ["", "apt-get", "interface", "portage", "../apt"])
def test_an_unknown_manager_is_never_another_one(name: str) -> None:
    with pytest.raises(LookupError):
        manager_named(name)


@pytest.mark.parametrize("name", ["", "plan9", "rhel", "centos", "amzn"])
def test_a_distribution_without_a_package_has_no_manager(name: str) -> None:
    assert package_manager(Distribution(name, like=("fedora",) if name == "rhel" else ())) is None


# -- the contract itself: what it finds in a manager that somebody left half-done ----------


def test_a_missing_method_is_found_when_it_is_made() -> None:
    class Unfinished(PackageManager):
        name, program = "unfinished", "unfinished"

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()  # type: ignore[abstract]  # that is what is tried


class Undocumented(Apt):
    name = "pkcon"


class OtherProgram(Apt):
    program = "nala"


class Quoted(Apt):
    install = ("apt-get", "install", "-o Debug=1")


class Forgetful(Apt):
    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:
        names = super().packages(distribution, targets)
        return names * 2 if len(targets) == 1 else names


class Moody(Apt):
    asked = 0

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:
        self.asked += 1
        return (*super().packages(distribution, targets), f"extra-{self.asked}")


class WithoutReinstall(Apt):
    reinstall = ()


class Silent(Apt):
    def remedy(
        self, distribution: Distribution, targets: Sequence[Target], *, sudo: bool = False
    ) -> str:
        start = "run: sudo " if sudo else "run: "
        return f"{start}install {len(targets)} packages on {distribution.name}"


class Unusable(Apt):
    install = ()


@pytest.mark.parametrize(
    ("unfinished", "complaint"),
    [
        (Undocumented, "no row in docs/emulators.md"),
        (Undocumented, "no module of its name"),
        (Undocumented, "no recorded case"),
        (OtherProgram, "runs another program: apt-get"),
        (Quoted, "has words that a shell would split"),
        (Forgetful, "no package, or one twice: aarch64"),
        (Moody, "the same question gives other commands"),
        (WithoutReinstall, "sees that files are lost, and has no command that puts them back"),
        (Silent, "the remedy does not name its program"),
        (Unusable, "its commands and `runs` do not agree"),
        (Unusable, "IndexError escapes"),
    ],
)
def test_a_half_done_manager_is_found_out(unfinished: type[Apt], complaint: str) -> None:
    assert complaint in complaints(unfinished())
