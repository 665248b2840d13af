"""Where an entry comes from: each tool's traces, as its own sources leave them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.changes.plan import plan_install
from binfmt_setup.changes.removal import plan_uninstall
from binfmt_setup.changes.steps import Outcome, Prepare
from binfmt_setup.diagnosis.judge import judge
from binfmt_setup.diagnosis.ownership import left_by, owner_of
from binfmt_setup.diagnosis.verdict import PlatformState, Verdict
from binfmt_setup.model.binfmt_d import MARKER, parse_config
from binfmt_setup.model.boot_facts import BootFacts
from binfmt_setup.model.elf import identify
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.facts import Distribution, HostFacts, KernelFacts
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter
from binfmt_setup.model.mountinfo import BinfmtMount
from binfmt_setup.model.reading import ABSENT
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import TARGETS, parse_platform, target_named
from binfmt_setup.report.document import entry_row
from binfmt_setup.report.result import InstallResult, StatusResult
from binfmt_setup.report.style import Style
from binfmt_setup.report.text_report import text_report
from binfmt_setup.report.words import message
from binfmt_setup.system.probes import ProbeResult
from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from binfmt_setup.changes.steps import ChangeEntry

ARM64 = target_named("aarch64")
PPC64LE = target_named("ppc64le")
X86_64 = target_named("x86_64")
PROBE = ARM64.platforms[0].probe


def arm64(interpreter: str, flags: str, name: str = "qemu-aarch64") -> Registration:
    return Registration(name, interpreter, flags, ARM64.magic, ARM64.mask)


def amd64(interpreter: str, flags: str, name: str = "rosetta") -> Registration:
    return Registration(name, interpreter, flags, X86_64.magic, X86_64.mask)


SEEN = {
    "tonistiigi-binfmt": arm64("/usr/bin/qemu-aarch64", "OCF"),
    "tonistiigi-binfmt, QEMU_PRESERVE_ARGV0": arm64("/usr/bin/qemu-aarch64", "POCF"),
    "docker-binfmt, arm64": Registration(
        "qemu-aarch64", "/usr/bin/qemu-aarch64", "OCF", ARM64.magic[:19], ARM64.mask[:19]
    ),
    "docker-binfmt, ppc64le": Registration(
        "qemu-ppc64le", "/usr/bin/qemu-ppc64le", "OCF", PPC64LE.magic, PPC64LE.mask
    ),
    "buildkit": arm64("/usr/bin/buildkit-qemu-aarch64", "OCF", "buildkit-qemu-aarch64"),
    "multiarch, -p yes": arm64("/usr/bin/qemu-aarch64-static", "F"),
    "multiarch, without": arm64("/usr/bin/qemu-aarch64-static", ""),
    "multiarch, -c yes -p yes": arm64("/usr/bin/qemu-aarch64-static", "OCF"),
    "hypriot": arm64("/qemu-aarch64", "OCF"),
    "qus": arm64("/qus/bin/qemu-aarch64-static", "F"),
    "alpine-openrc": arm64("/usr/bin/qemu-aarch64", "OC"),
    "wsl": Registration("WSLInterop", "/init", "P", b"MZ"),
    "wsl, late": Registration("WSLInterop-late", "/init", "P", b"MZ"),
    "wsl, older": Registration("WSLInterop", "/tools/init", "PF", b"MZ"),
    "rosetta, UTM": amd64("/media/rosetta/rosetta", "OCF"),
    "rosetta, Lima": amd64("/mnt/lima-rosetta/rosetta", "OCF"),
    "rosetta, Docker Desktop": amd64("/run/rosetta/rosetta", "POCF"),
}


@pytest.mark.parametrize("case", SEEN)
def test_by_its_looks(case: str) -> None:
    found = owner_of(HostFacts("/"), Entry(SEEN[case], enabled=True)).origin
    assert found is not None
    assert found.name == case.partition(",")[0]


UNKNOWN = (
    Registration("python3.11", "/usr/bin/python3.11", "", b"\xa7\x0d\x0d\x0a"),
    Registration("jar", "/usr/bin/jexec", "", b"PK\x03\x04"),
    Registration("qemu-fancy", "/usr/bin/qemu-fancy", "OCF", ARM64.magic, ARM64.mask),
    arm64("/opt/qemu/qemu-aarch64", "F"),
)


@pytest.mark.parametrize("registration", UNKNOWN, ids=lambda r: str(r.interpreter))
def test_nothing_is_claimed_of_others(registration: Registration) -> None:
    assert owner_of(HostFacts("/"), Entry(registration, enabled=True)).origin is None
    assert not left_by(HostFacts("/"), Entry(registration, enabled=True))


def host_with(registration: Registration, *, directory: str = "", owned: bool = False) -> HostFacts:
    """An amd64 host with Debian's emulators, where somebody registered arm64."""
    program = identify((PROBES / "x86_64").read_bytes())
    static = "/usr/bin/qemu-aarch64-static"
    text = (MARKER + "\n" if owned else "") + registration.line + "\n"
    config = (parse_config(f"{directory}/qemu-aarch64.conf", text),) if directory else ()
    return HostFacts(
        root="/", kernel=KernelFacts("6.1.0", "x86_64", "present"),
        registry=RegistryFacts(
            BinfmtMount("mounted"), enabled=True, own=True,
            entries=(Entry(registration, enabled=True),), listing=None,
        ),
        boot=BootFacts("none", configs=config),
        emulators=EmulatorFacts(
            {"aarch64": (static,)},
            {static: Interpreter(static, static, elf=program, identity=(1, 7), version="7.2.0")},
        ),
    )  # fmt: skip


def test_status_names_who_left_an_entry() -> None:
    facts = host_with(arm64("/usr/bin/qemu-aarch64", "OCF"))
    assert "tonistiigi-binfmt" in text_report(StatusResult(facts), Style())
    row = entry_row(facts, facts.registry.entries[0])
    assert (row["owner"], row["origin"]) == ("unknown", "tonistiigi-binfmt")


@pytest.mark.parametrize(
    ("directory", "owned", "name"),
    [
        ("/usr/lib/binfmt.d", False, "distribution"),
        ("/etc/binfmt.d", False, "administrator"),
        ("/etc/binfmt.d", True, "binfmt-setup"),
    ],
)
def test_files_outweigh_looks(directory: str, owned: bool, name: str) -> None:  # noqa: FBT001
    facts = host_with(
        arm64("/usr/bin/qemu-aarch64-static", "OCF"), directory=directory, owned=owned
    )
    found = owner_of(facts, facts.registry.entries[0]).origin
    assert found is not None
    assert found.name == name


def test_update_binfmts_keeps_its_entries_in_var_lib() -> None:
    entry = arm64("/usr/libexec/qemu-binfmt/aarch64-binfmt-P", "POCF")
    facts = host_with(entry)
    kept = frozenset(("qemu-aarch64", "rosetta"))
    imported = {"qemu-aarch64": entry}
    boot = replace(facts.boot, update_binfmts=kept, imported=imported, update_binfmts_runs=True)
    facts = replace(facts, boot=boot)
    found = owner_of(facts, facts.registry.entries[0]).origin
    assert found is not None
    assert found.name == "update-binfmts"
    assert (
        left_by(facts, facts.registry.entries[0])
        == " (left by update-binfmts (package binfmt-support))"
    )


def ran(pinned: tuple[int, int]) -> dict[str, ProbeResult]:
    fields = {"target": PROBE, "argc": "2", "argv0": "binfmt-setup-probe"}
    return {PROBE: ProbeResult(PROBE, exit_status=0, pinned=pinned, fields=fields)}


def test_what_a_container_left_is_a_warning_that_names_who() -> None:
    facts = host_with(arm64("/usr/bin/qemu-aarch64", "OCF"))
    files = {**facts.emulators.files, "/usr/bin/qemu-aarch64": ABSENT}
    facts = replace(facts, emulators=replace(facts.emulators, files=files))
    state = judge(facts, [parse_platform("arm64")], ran((9, 9))).platforms[0]
    assert state.ok
    found = next(f for f in state.findings if f.code == "interpreter-missing")
    assert found.severity == "warning"
    assert "tonistiigi/binfmt" in message(found)
    assert "until the next reboot" in message(found)


def planned(facts: HostFacts, *, take_over: bool) -> ChangeEntry | None:
    plan = plan_install(facts, [parse_platform("arm64")], ran((1, 7)), Request(take_over=take_over))
    for _, error in plan.problems:
        raise error
    return plan.targets[0].entry if plan.targets else None


def test_what_a_package_has_registered_by_itself_is_told() -> None:
    """Debian's with systemd: its files register all targets; this tool has nothing to write."""
    names = [target for target in TARGETS if target != X86_64]
    rules = [
        Registration(t.entry_name, f"/usr/bin/qemu-{t.name}", "POF", t.magic, t.mask) for t in names
    ]
    files = tuple(
        parse_config(f"/usr/lib/binfmt.d/{rule.name}.conf", rule.line + "\n") for rule in rules
    )
    debian = Distribution("debian", (), "13", "Debian GNU/Linux 13 (trixie)")
    entries = tuple(Entry(rule, enabled=True) for rule in rules)
    facts = HostFacts(
        "/",
        KernelFacts("6.12", "x86_64"),
        registry=RegistryFacts(BinfmtMount("mounted"), enabled=True, entries=entries, listing=None),
        boot=BootFacts("systemd", configs=files),
        distribution=debian,
    )
    platform = parse_platform("arm64")
    state = PlatformState(
        platform, ran=True, how="emulated", handler=facts.registry.handler(ARM64.magic)
    )
    step = Prepare("install-package", "apt-get install -y qemu-user qemu-user-binfmt")
    done = InstallResult(facts, Verdict((state,)), outcomes=(Outcome(step, "done"),))
    words = " ".join(text_report(done, Style(unicode=False)).split())
    also = f"which also registered {len(names) - 1} others"
    assert f"qemu-aarch64 registered by the package qemu-user-binfmt, {also}" in words
    again = InstallResult(facts, Verdict((state,)))
    assert "registered by the package" not in text_report(again, Style(unicode=False))


def test_an_equivalent_entry_stays_unless_its_takeover_is_asked_for() -> None:
    theirs = arm64("/usr/bin/qemu-aarch64-static", "OCF")
    facts = host_with(theirs, directory="/usr/lib/binfmt.d")
    assert planned(facts, take_over=False) is None
    change = planned(facts, take_over=True)
    assert change is not None
    assert change.before == facts.registry.entries[0].registration
    assert change.after == arm64("/usr/bin/qemu-aarch64-static", "POF")


def test_an_entry_that_nobody_keeps_becomes_ours_at_once_and_loses_c() -> None:
    facts = host_with(arm64("/usr/bin/qemu-aarch64-static", "OCF"))
    change = planned(facts, take_over=False)
    assert change is not None
    assert change.after == arm64("/usr/bin/qemu-aarch64-static", "POF")


def test_what_update_binfmts_keeps_is_left_alone() -> None:
    entry = arm64("/usr/bin/qemu-aarch64-static", "POCF")
    facts, names = host_with(entry), frozenset(("qemu-aarch64",))
    kept = replace(
        facts.boot, update_binfmts=names, imported={"qemu-aarch64": entry}, update_binfmts_runs=True
    )
    plan = plan_install(
        replace(facts, boot=kept), [parse_platform("arm64")], ran((1, 7)), Request()
    )
    assert plan.steps == ()


def test_what_binfmt_support_put_in_the_place_of_ours_goes_again() -> None:
    ours = arm64("/usr/bin/qemu-aarch64-static", "POF")
    facts = host_with(ours, directory="/etc/binfmt.d", owned=True)
    theirs = Entry(arm64("/usr/bin/qemu-aarch64-static", "POCF"), enabled=True)
    facts = replace(
        facts,
        boot=replace(facts.boot, update_binfmts=frozenset(("qemu-aarch64",))),
        registry=replace(facts.registry, entries=(theirs,)),
    )
    change = planned(facts, take_over=False)
    assert change is not None
    assert change.after == ours


def test_what_cannot_survive_a_reboot_is_replaced_without_being_asked_for() -> None:
    facts = host_with(arm64("/usr/bin/qemu-aarch64", "OCF"))
    change = planned(facts, take_over=False)
    assert change is not None
    assert change.after == arm64("/usr/bin/qemu-aarch64-static", "POF")


def test_a_takeover_of_a_packaged_entry_writes_an_own_file() -> None:
    facts = host_with(arm64("/usr/bin/qemu-aarch64-static", "POF"), directory="/usr/lib/binfmt.d")
    plan = plan_install(facts, [parse_platform("arm64")], ran((1, 7)), Request(take_over=True))
    assert plan.targets[0].entry is None
    assert [file.path for file in plan.targets[0].files] == ["/etc/binfmt.d/qemu-aarch64.conf"]
    assert not plan_install(facts, [parse_platform("arm64")], ran((1, 7)), Request()).targets


def test_a_takeover_that_was_made_changes_nothing_more() -> None:
    facts = host_with(
        arm64("/usr/bin/qemu-aarch64-static", "POF"), directory="/etc/binfmt.d", owned=True
    )
    plan = plan_install(facts, [parse_platform("arm64")], ran((1, 7)), Request(take_over=True))
    assert not plan.targets


def test_a_takeover_needs_an_emulator_of_this_host() -> None:
    facts = host_with(arm64("/usr/bin/qemu-aarch64-static", "OCF"))
    facts = replace(facts, emulators=replace(facts.emulators, candidates={}))
    change = planned(facts, take_over=False)
    assert change is not None
    assert change.after == arm64("/usr/bin/qemu-aarch64-static", "OF"), "the same emulator"
    with pytest.raises(NoEmulator):
        planned(facts, take_over=True)


def test_others_entries_for_the_same_programs_are_shadowed_and_stay() -> None:
    facts = host_with(arm64("/usr/bin/qemu-aarch64-static", "F", "somebodys"))
    change = planned(facts, take_over=True)
    assert change is not None
    assert (change.name, change.before) == ("qemu-aarch64", None)


@pytest.mark.parametrize(
    ("interpreter", "back"),
    [("/usr/bin/qemu-aarch64", False), ("/usr/bin/qemu-aarch64-static", True)],
)
def test_uninstall_puts_back_what_the_kernel_would_take(interpreter: str, back: bool) -> None:  # noqa: FBT001
    replaced = arm64(interpreter, "OCF")
    facts = host_with(
        arm64("/usr/bin/qemu-aarch64-static", "POF"), directory="/etc/binfmt.d", owned=True
    )
    config = replace(facts.boot.configs[0], replaced=replaced)
    facts = replace(facts, boot=replace(facts.boot, configs=(config,)))
    change = plan_uninstall(facts, [ARM64]).targets[0].entry
    assert change is not None
    assert change.after == (replaced if back else None)
