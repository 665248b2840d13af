"""Which package, by which command, on which distribution and release."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.diagnosis.failed_probes import install_command
from binfmt_setup.emulators.choice import choose, missing
from binfmt_setup.emulators.package_managers.interface import managers_seen, package_manager
from binfmt_setup.emulators.packages import install_packages, lost_emulators, package_command
from binfmt_setup.model.elf import identify
from binfmt_setup.model.errors import ExitCode, NoEmulator, OtherProgramFailed, PrivilegesMissing
from binfmt_setup.model.facts import HostFacts, KernelFacts, ProcessFacts, parse_os_release
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import TARGETS, target_named
from binfmt_setup.report.words import told
from binfmt_setup.report.words.emulators import choice_explained
from binfmt_setup.report.words.sentences import Words
from binfmt_setup.system.host import Host
from binfmt_setup.system.programs import Completed
from tests.packing import program

if TYPE_CHECKING:
    from collections.abc import Sequence

ADVICE = json.loads((Path(__file__).parent / "data" / "package_advice.json").read_text())
CASES = json.loads((Path(__file__).parent / "data" / "packages.json").read_text())


def facts_of(os_release: str, *, uid: int = 0, managers: str = "") -> HostFacts:
    distribution = parse_os_release(os_release.replace(";", "\n"))
    return HostFacts(
        root="/", kernel=KernelFacts(machine="x86_64"), process=ProcessFacts(effective_uid=uid),
        distribution=replace(distribution, managers=frozenset(managers.split())),
    )  # fmt: skip


class Recorder:
    """Runs nothing and keeps what it was asked to run; ends as it is told to."""

    def __init__(self, status: int = 0) -> None:
        self.commands: list[str] = []
        self._status = status

    def __call__(self, argv: Sequence[str], seconds: float) -> Completed:
        assert seconds > 60
        self.commands.append(shlex.join(argv))
        return Completed(self._status, "", "E: cannot\n")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_recorded_commands(case: dict[str, object]) -> None:
    targets = [target_named(name) for name in str(case["targets"]).split()]
    facts = facts_of(str(case["os-release"]), managers=str(case.get("managers", "")))
    facts = replace(facts, kernel=KernelFacts())  # of no machine that runs one of them itself
    commands = case["commands"]
    assert isinstance(commands, list)
    runner = Recorder()
    install_packages(Host(run=runner), facts, targets)
    assert runner.commands == commands
    assert package_command(facts, targets) == " && ".join(commands)
    error = missing(facts, targets)
    assert error.exit_code == ExitCode.NO_EMULATOR
    assert commands[-1] in error.hint


@pytest.mark.parametrize("case", ADVICE, ids=[case["name"] for case in ADVICE])
def test_recorded_advice(case: dict[str, str]) -> None:
    """Where the user has to do it, nothing is run, and the words are the manager's own."""
    targets = [target_named(name) for name in case["targets"].split()]
    facts, runner = facts_of(case["os-release"]), Recorder()
    with pytest.raises(NoEmulator) as caught:
        install_packages(Host(run=runner), facts, targets)
    assert runner.commands == []
    assert caught.value.hint.startswith(case["remedy"])
    assert missing(facts, targets).hint == caught.value.hint
    (platform, *_) = targets[0].platforms
    advice = told(Words(""), install_command(facts, platform))
    assert case["remedy"].split()[-1] in advice
    assert "--install-qemu" not in advice


def test_the_manager_is_known_by_a_file_of_the_host(tmp_path: Path) -> None:
    fedora = parse_os_release("ID=fedora\nVERSION_ID=43")
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    seen = []
    for sign in ("usr/bin/yum", "usr/bin/microdnf", "usr/bin/dnf", "run/ostree-booted"):
        (tmp_path / sign).touch()
        known = replace(fedora, managers=managers_seen(Host(tmp_path), fedora))
        manager = package_manager(known)
        seen.append(manager and manager.program)
    assert seen == ["yum", "microdnf", "dnf", "rpm-ostree"]
    assert managers_seen(Host(tmp_path), parse_os_release("ID=debian")) == set()


LISTED = "/.\n/usr/bin/qemu-aarch64-static\n/usr/bin/qemu-s390x-static\n/usr/share/doc\n"


@pytest.mark.parametrize(
    ("answer", "lost"),
    [
        (Completed(0, LISTED), ("/usr/bin/qemu-aarch64-static",)),
        (Completed(0, "/usr/bin/qemu-s390x-static\n"), ()),
        (Completed(1, LISTED, "dpkg-query: package 'x' is not installed"), ()),
    ],
)
def test_a_lost_file_is_seen_in_the_database_of_packages(
    answer: Completed, lost: tuple[str, ...], tmp_path: Path
) -> None:
    """To apt-get install the package is there; only --reinstall brings the file back."""
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/qemu-s390x-static").touch()
    facts = facts_of("ID=debian;VERSION_ID=12")
    both = [target_named("aarch64"), target_named("s390x")]
    host = Host(tmp_path, run=lambda _argv, _seconds: answer)
    assert lost_emulators(host, facts, both) == lost
    assert lost_emulators(host, facts_of("ID=nixos"), both) == ()
    assert "--reinstall qemu-user-static" in package_command(facts, both, again=True)


@pytest.mark.parametrize(
    "os_release",
    ["ID=rocky;ID_LIKE='rhel centos fedora'", "ID=amzn;ID_LIKE=fedora", "ID=nixos", ""],
)
def test_where_no_package_is_known_it_says_what_else_works(os_release: str) -> None:
    facts = facts_of(os_release)
    with pytest.raises(NoEmulator) as caught:
        install_packages(Host(run=Recorder()), facts, [target_named("aarch64")])
    assert "--qemu image:REF" in caught.value.hint


def test_without_root_and_with_a_failing_manager() -> None:
    target = [target_named("aarch64")]
    with pytest.raises(PrivilegesMissing):
        install_packages(Host(run=Recorder()), facts_of("ID=debian", uid=1000), target)
    runner = Recorder(status=100)
    with pytest.raises(OtherProgramFailed, match="E: cannot"):
        install_packages(Host(run=runner), facts_of("ID=debian"), target)
    assert len(runner.commands) == 1


def test_with_verbose_one_sees_what_the_package_manager_says(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As on a terminal; without, it is kept for the message of a failure."""
    command = ("sh", "-c", "echo Get:1 some package; echo Fetched >&2")
    Host(verbose=True).followed_run(command, 60)
    said = capfd.readouterr()
    assert "Get:1 some package\nFetched\n" in said.err
    assert said.out == ""
    Host().followed_run(command, 60)
    assert capfd.readouterr().err == ""
    with pytest.raises(OtherProgramFailed, match="status 3"):
        Host(verbose=True).followed_run(("sh", "-c", "exit 3"), 60)


def test_fedora_has_a_package_for_every_target() -> None:
    """The packages of qemu.spec, as of Fedora 42 and 43."""
    spec = (
        "aarch64 alpha arm hexagon hppa loongarch64 m68k microblaze mips or1k ppc riscv s390x "
        "sh4 sparc x86 xtensa"
    )
    older = "cris nios2"  # which QEMU itself has given up
    known = {f"qemu-user-static-{name}" for name in f"{spec} {older}".split()}
    command = package_command(facts_of("ID=fedora;VERSION_ID=43"), TARGETS)
    assert {word for word in command.split() if word.startswith("qemu-")} == known


# --- discovery ----------------------------------------------------------------------------------


def host_with(**files: Interpreter) -> HostFacts:
    """A host with these emulators for arm64, in the order in which they are looked for."""
    paths = tuple(file.path for file in files.values())
    return HostFacts(
        root="/", kernel=KernelFacts(machine="x86_64"),
        emulators=EmulatorFacts(
            {"aarch64": paths}, {file.path: file for file in files.values()}
        ),
        distribution=parse_os_release("ID=debian\nVERSION_ID=12"),
    )  # fmt: skip


def file(path: str, *, loader: bool = False, source: str = "") -> Interpreter:
    return Interpreter(path, path, elf=identify(program(loader=loader)), source=source)


def test_the_reason_for_a_choice_is_told_and_those_passed_over() -> None:
    target = target_named("aarch64")
    facts = host_with(
        a=file("/usr/bin/qemu-aarch64-static", loader=True), b=file("/usr/local/bin/qemu-aarch64")
    )
    chosen = choose(facts, target)
    assert chosen is not None
    assert chosen.path == "/usr/local/bin/qemu-aarch64"
    assert choice_explained(facts, target) == (
        "aarch64: taking /usr/local/bin/qemu-aarch64 (put there by hand);\n"
        "  /usr/bin/qemu-aarch64-static is dynamically linked"
    )
    brought = host_with(a=file("/x/qemu-aarch64", source="image:q:1"))
    assert choice_explained(brought, target).endswith("(from image:q:1)")
    given = host_with(a=file("/x/qemu-aarch64"))
    assert choice_explained(given, target).endswith("(from the directory given)")


def test_a_dynamic_one_is_refused_with_the_package_that_has_the_static_one() -> None:
    facts = host_with(a=file("/usr/bin/qemu-aarch64", loader=True))
    target = target_named("aarch64")
    assert choose(facts, target) is None
    assert choice_explained(facts, target) == ""
    error = missing(facts, [target])
    assert error.code == "interpreter-dynamic"
    assert "dynamically linked (the static one is in the package qemu-user-static)" in error.message


def test_what_the_host_runs_itself_is_not_said_to_lack_an_emulator() -> None:
    targets = [target_named(name) for name in ("aarch64", "i386", "x86_64", "s390x")]
    assert (
        "no usable emulator for aarch64, s390x" in missing(facts_of("ID=debian"), targets).message
    )
