"""What survives a reboot, told from files alone: hosts as small trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.boot import survival, units
from binfmt_setup.boot.lost import UpperLayer
from binfmt_setup.diagnosis.judge import judge
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.binfmt_d import MARKER
from binfmt_setup.model.facts import KernelFacts
from binfmt_setup.model.mountinfo import BinfmtMount
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import parse_platform, target_named
from binfmt_setup.report import words
from binfmt_setup.report.words import boot as boot_words
from binfmt_setup.system.host import Host
from binfmt_setup.system.probes import ProbeResult

if TYPE_CHECKING:
    from pathlib import Path

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.model.facts import HostFacts

ARM64 = target_named("aarch64")
NAME = ARM64.entry_name
QEMU = "/usr/bin/qemu-aarch64-static"
OPT = "/opt/qemu/qemu-aarch64"
NULL = "-> /dev/null"
SYSTEMD = {"/usr/lib/systemd/systemd": "", "/usr/lib/systemd/systemd-binfmt": ""}
OPENRC = {"/sbin/openrc": "", "/etc/init.d/binfmt": ""}


def rule(path: str) -> Registration:
    return Registration(NAME, path, "OF", ARM64.magic, ARM64.mask)


def config(path: str, *, folder: str = "/etc/binfmt.d", ours: bool = True) -> dict[str, str]:
    text = units.config_text(rule(path), None, by_unit=False) if ours else rule(path).line + "\n"
    return {f"{folder}/{NAME}.conf": text}


UNIT = "/etc/systemd/system/binfmt-setup.service"
WANTS = "/etc/systemd/system/multi-user.target.wants/binfmt-setup.service"
UNITS = {UNIT: f"{MARKER}\n", WANTS: f"-> {UNIT}"}
LATE = "/etc/systemd/system/binfmt-setup-opt.service"
LATE_UNITS = {
    LATE: f"{MARKER}\n",
    "/etc/systemd/system/opt.mount.wants/binfmt-setup-opt.service": f"-> {LATE}",
}
NOFAIL = {"/etc/fstab": "UUID=1 /opt ext4 nofail 0 2\n"}
MASKED = {"/etc/systemd/system/systemd-binfmt.service": NULL}
NO_MOUNT = {"/etc/systemd/system/proc-sys-fs-binfmt_misc.mount": NULL}
DROP_IN = "systemd-binfmt.service.d"
STOCK = config(QEMU, folder="/usr/lib/binfmt.d", ours=False)


def added(*lines: str, name: str = "wsl", where: str = "/usr/lib/systemd/system") -> dict[str, str]:
    return {f"{where}/{DROP_IN}/{name}.conf": "\n".join(["[Unit]", *lines, ""])}


FOR = ", for the file's name, a CR, or no newline at the end"
RUNLEVEL = {"/etc/runlevels/boot/binfmt": "-> /etc/init.d/binfmt"}

# Each host, and why an entry would be lost there (empty: it stays).
LOST = {
    "no file": (SYSTEMD, "no binfmt.d file registers it"),
    "a file, read by systemd-binfmt": ({**SYSTEMD, **config(QEMU)}, ""),
    "a file of the distribution's": (
        {**SYSTEMD, **config(QEMU, folder="/usr/lib/binfmt.d", ours=False)}, ""),
    "a volatile file": (
        {**SYSTEMD, **config(QEMU, folder="/run/binfmt.d")},
        f"/run/binfmt.d/{NAME}.conf is gone after a reboot"),
    "systemd-binfmt masked": (
        {**SYSTEMD, **config(QEMU), **MASKED}, "systemd-binfmt.service is masked"),
    "masked, and our unit": ({**SYSTEMD, **config(QEMU), **MASKED, **UNITS}, ""),
    "masked, and our unit disabled": (
        {**SYSTEMD, **config(QEMU), **MASKED, UNIT: UNITS[UNIT]},
        "systemd-binfmt.service is masked"),
    "masked, and our unit for something else": (
        {**SYSTEMD, **config(OPT), **NOFAIL, **MASKED, **UNITS},
        "systemd-binfmt.service is masked"),
    "no systemd-binfmt": (
        {"/usr/lib/systemd/systemd": "", **config(QEMU)},
        "this system has no systemd-binfmt"),
    "the registry's mount masked": (
        {**SYSTEMD, **config(QEMU), **UNITS, **NO_MOUNT},
        "binfmt_misc is not mounted at boot: proc-sys-fs-binfmt_misc.mount is masked"),
    "masked by the distribution": (
        {**SYSTEMD, **config(QEMU), "/usr/lib/systemd/system/systemd-binfmt.service": NULL},
        "systemd-binfmt.service is masked"),
    "a condition that does not hold": (
        {**SYSTEMD, **STOCK, **added("ConditionPathExists=/opt/there")},
        ("systemd-binfmt.service is skipped: ConditionPathExists=/opt/there "
         f"(/usr/lib/systemd/system/{DROP_IN}/wsl.conf)")),
    "an assertion that does not hold": (
        {**SYSTEMD, **STOCK, **added("AssertPathIsDirectory = !/usr")},
        ("systemd-binfmt.service is skipped: AssertPathIsDirectory=!/usr "
         f"(/usr/lib/systemd/system/{DROP_IN}/wsl.conf)")),
    "a condition of which no file tells": (
        {**SYSTEMD, **STOCK, **added("ConditionVirtualization=!wsl")},
        ("whether systemd-binfmt.service runs depends on ConditionVirtualization=!wsl "
         f"(/usr/lib/systemd/system/{DROP_IN}/wsl.conf)")),
    "the same, and our unit": (
        {**SYSTEMD, **config(QEMU), **UNITS, **added("ConditionVirtualization=!wsl")}, ""),
    "conditions that hold": (
        {**SYSTEMD, **STOCK, **added("ConditionPathExists=/usr/bin", "AssertFileNotEmpty=!/no",
                                     "ConditionPathIsMountPoint=/proc/sys/fs/binfmt_misc")}, ""),
    "a condition, one of which is enough": (
        {**SYSTEMD, **STOCK, **added("ConditionVirtualization=|wsl")}, ""),
    "a condition that is cleared again": (
        {**SYSTEMD, **STOCK, **added("ConditionVirtualization=!wsl"),
         **added("ConditionVirtualization=", name="x", where="/etc/systemd/system")}, ""),
    "a condition whose drop-in is hidden by one of the same name": (
        {**SYSTEMD, **STOCK, **added("ConditionVirtualization=!wsl"),
         **added(where="/etc/systemd/system")}, ""),
    "a condition of all services": (
        {**SYSTEMD, **STOCK,
         "/etc/systemd/system/service.d/all.conf": "[Unit]\nConditionHost=other\n"},
        ("whether systemd-binfmt.service runs depends on ConditionHost=other "
         "(/etc/systemd/system/service.d/all.conf)")),
    "a condition outside of its section": (
        {**SYSTEMD, **STOCK, f"/usr/lib/systemd/system/{DROP_IN}/wsl.conf":
         "ConditionPathExists=/no\n[Install]\nConditionPathExists=/no\n"}, ""),
    "a condition in two lines": (
        {**SYSTEMD, **STOCK, **added("ConditionPathExists=\\", "/opt/there")},
        ("systemd-binfmt.service is skipped: ConditionPathExists=/opt/there "
         f"(/usr/lib/systemd/system/{DROP_IN}/wsl.conf)")),
    "a condition in a hidden drop-in": (
        {**SYSTEMD, **STOCK, **added("ConditionVirtualization=!wsl", name=".wsl")}, ""),
    "masked by an empty file": (
        {**SYSTEMD, **STOCK, "/etc/systemd/system/systemd-binfmt.service": ""},
        "systemd-binfmt.service is masked"),
    "masked by a relative link": (
        {**SYSTEMD, **STOCK,
         "/etc/systemd/system/systemd-binfmt.service": "-> ../../../dev/null"},
        "systemd-binfmt.service is masked"),
    "masked until the reboot": (
        {**SYSTEMD, **STOCK, "/run/systemd/system/systemd-binfmt.service": NULL}, ""),
    "a mask of the distribution's that the administrator overrides": (
        {**SYSTEMD, **STOCK, "/usr/lib/systemd/system/systemd-binfmt.service": NULL,
         "/etc/systemd/system/systemd-binfmt.service": "[Service]\n"}, ""),
    "a hidden file": (
        {**SYSTEMD, f"/etc/binfmt.d/.{NAME}.conf": rule(QEMU).line + "\n"},
        "no binfmt.d file registers it"),
    "an interpreter that is no program": (
        {**SYSTEMD, "/etc/binfmt.d/x.conf": rule("/etc/os-release").line + "\n"},
        "/etc/os-release cannot be executed"),
    "sysctl.conf, to which no link leads": (
        {**SYSTEMD, **STOCK, "/etc/sysctl.conf": "fs.binfmt_misc.status = 0\n"}, ""),
    "sysctl.conf, by its link": (
        {**SYSTEMD, **STOCK, "/etc/sysctl.conf": "fs.binfmt_misc.status = 0\n",
         "/etc/sysctl.d/99-sysctl.conf": "-> ../sysctl.conf"},
        "/etc/sysctl.d/99-sysctl.conf:1 switches all entries off"),
    "a switch that the kernel refuses behind one that it takes": (
        {**SYSTEMD, **STOCK, "/etc/sysctl.d/x.conf":
         "fs.binfmt_misc.* = 0\nfs.binfmt_misc.s* = 00\n-fs.binfmt_misc.st*\n"},
        "/etc/sysctl.d/x.conf:1 switches all entries off"),
    "one that switches it on again": (
        {**SYSTEMD, **STOCK, "/etc/sysctl.d/x.conf":
         "fs.binfmt_misc.* = 0\nfs.binfmt_misc.s* = 1\n"}, ""),
    "one that is repeated keeps its place": (
        {**SYSTEMD, **STOCK, "/etc/sysctl.d/x.conf":
         "fs.binfmt_misc.* = 0\nfs.binfmt_misc.s* = 1\nfs.binfmt_misc.* = 0\n"}, ""),
    "one that is excluded": (
        {**SYSTEMD, **STOCK, "/etc/sysctl.d/x.conf":
         "fs.binfmt_misc.* = 0\n-fs.binfmt_misc.status\n"}, ""),
    "sysctl.conf, with OpenRC": (
        {**OPENRC, **config(QEMU), **RUNLEVEL,
         "/etc/sysctl.conf": "fs.binfmt_misc.status = 0\n"},
        "/etc/sysctl.conf:1 switches all entries off"),
    "switched off": (
        {**SYSTEMD, **config(QEMU), "/etc/sysctl.d/x.conf": "\nfs.binfmt_misc.status = 0\n"},
        "/etc/sysctl.d/x.conf:2 switches all entries off"),
    "an interpreter that is gone": (
        {**SYSTEMD, "/etc/binfmt.d/x.conf": rule("/usr/bin/gone").line + "\n"},
        "/usr/bin/gone is missing"),
    "a second line for it that will be refused": (
        {**SYSTEMD, **STOCK, "/etc/binfmt.d/zz.conf": rule("/usr/bin/gone").line + "\n"},
        "/usr/bin/gone is missing"),
    "a second line for it that is invalid": (
        {**SYSTEMD, **STOCK, "/etc/binfmt.d/zz.conf": f":{NAME}:M::\\x4::/bin/sh:\n"},
        "no binfmt.d file registers it"),
    "a second line that another one refuses, and our unit": (
        {**SYSTEMD, **config(QEMU), **UNITS,
         "/etc/binfmt.d/zz.conf": rule("/usr/bin/gone").line + "\n"}, ""),
    "OpenRC, service in a runlevel": ({**OPENRC, **config(QEMU), **RUNLEVEL}, ""),
    "OpenRC, service in none": (
        {**OPENRC, **config(QEMU)}, "OpenRC's binfmt service is in no runlevel"),
    "OpenRC, a file without a newline": (
        {**OPENRC, **RUNLEVEL, "/usr/lib/binfmt.d/x.conf": rule(QEMU).line},
        "OpenRC passes over /usr/lib/binfmt.d/x.conf:1" + FOR),
    "OpenRC, a file from Windows": (
        {**OPENRC, **RUNLEVEL, "/usr/lib/binfmt.d/x.conf": "\n" + rule(QEMU).line + "\r\n"},
        "OpenRC passes over /usr/lib/binfmt.d/x.conf:2" + FOR),
    "systemd, such a file": (
        {**SYSTEMD, "/usr/lib/binfmt.d/systemd-x.conf": rule(QEMU).line + "\r"}, ""),
    "no init": (config(QEMU), "no init that reads binfmt.d runs here"),
}  # fmt: skip


def tree(where: Path, files: dict[str, str]) -> HostFacts:
    """A host made of these files (`-> X` is a link), with QEMU and the entry that it names."""
    for path, text in {"/etc/os-release": "ID=debian\n", QEMU: "", OPT: "", **files}.items():
        place = where / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            place.symlink_to(text.removeprefix("-> "))
        else:
            place.write_text(text)
            place.chmod(0o755 if path in (QEMU, OPT) else 0o644)
    return snapshot(Host(where))


@pytest.mark.parametrize(
    ("lower", "said"),
    [
        ((), "/etc/binfmt.d/qemu-aarch64.conf lies in /media/root-rw, which is gone then (tmpfs)"),
        (("/etc/binfmt.d/qemu-aarch64.conf",),
         f"{QEMU} lies in /media/root-rw, which is gone then (tmpfs)"),
        (("/etc/binfmt.d/qemu-aarch64.conf", QEMU), ""),
        (None, ""),  # a live system, whose layer below nobody sees: not known
    ],
)  # fmt: skip
def test_what_an_overlay_over_the_root_keeps_in_memory(
    tmp_path: Path, lower: tuple[str, ...] | None, said: str
) -> None:
    """Ubuntu's overlayroot, Raspberry Pi OS with its overlay file system."""
    there = () if lower is None else (*lower, "/etc/fstab")
    below = {f"/media/root-ro{path}": "below" for path in there}
    mounts = (
        "20 1 0:20 / / rw - overlay overlayroot rw,lowerdir=/media/root-ro,"
        "upperdir=/media/root-rw/overlay,workdir=/media/root-rw/work\n"
        "21 20 0:21 / /media/root-rw rw - tmpfs tmpfs-root rw\n"
    )
    files = {**SYSTEMD, **config(QEMU), **below, "/proc/self/mountinfo": mounts}
    found = survival.why_lost(tree(tmp_path, files), NAME)
    assert (boot_words.lost(found) if found else "") == said
    assert isinstance(found, UpperLayer) is (lower == ())


@pytest.mark.parametrize("case", LOST)
def test_why_an_entry_is_lost(tmp_path: Path, case: str) -> None:
    files, problem = LOST[case]
    found = survival.why_lost(tree(tmp_path, files), NAME)
    assert (boot_words.lost(found) if found else "") == problem


@pytest.mark.parametrize(
    ("files", "said", "severity"),
    [
        ({**SYSTEMD, **config(QEMU), **UNITS}, "", ""),
        ({**SYSTEMD, **NOFAIL, **config(OPT), **LATE_UNITS},
         "is registered once /opt is mounted, which the boot does not wait for", "info"),
        ({**SYSTEMD, **NOFAIL, **config(OPT, ours=False)},
         "is lost when /opt is mounted after systemd-binfmt has run", "warning"),
        ({**OPENRC, **NOFAIL, **RUNLEVEL, **config(OPT)}, "", ""),
    ],
)  # fmt: skip
def test_what_comes_late_in_a_boot(
    tmp_path: Path, files: dict[str, str], said: str, severity: str
) -> None:
    facts = tree(tmp_path, files)
    late = survival.order_problem(facts, NAME)
    assert (boot_words.late(late) if late else "") == said
    found = {f.code: f for f in findings(facts, files)}
    assert ("boot-order" in found) is bool(said)
    if said:
        assert found["boot-order"].severity == severity
        assert said in words.message(found["boot-order"])


def running(facts: HostFacts, *entries: Entry) -> HostFacts:
    """The same host, with a kernel that has these entries."""
    registry = RegistryFacts(BinfmtMount("mounted"), enabled=True, entries=entries, listing=None)
    return replace(facts, root="/", kernel=KernelFacts("6.12.0", "x86_64"), registry=registry)


def findings(facts: HostFacts, files: dict[str, str]) -> tuple[Finding, ...]:
    path = OPT if any(OPT in text for text in files.values()) else QEMU
    entry = Entry(rule(path), enabled=True)
    live = running(facts, entry)
    ran = ProbeResult("aarch64", exit_status=0, fields={"target": "aarch64", "argc": "2"})
    return judge(live, [parse_platform("arm64")], {"aarch64": ran}).all_findings


@pytest.mark.parametrize("case", [case for case, (_, problem) in LOST.items() if problem])
def test_check_says_it_and_names_a_remedy(tmp_path: Path, case: str) -> None:
    files, problem = LOST[case]
    found = {f.code: f for f in findings(tree(tmp_path, files), files)}
    # What concerns all entries is told once.
    told = found.get("not-persistent") or found["globally-disabled"]
    assert problem in words.message(told)
    assert bool(words.hint(told)) is (case != "no init")


def said(facts: HostFacts) -> list[tuple[str, str, str]]:
    """What check says of the host."""
    found = judge(facts, [], {}).findings
    return [(f.code, words.message(f), words.hint(f)) for f in found]


def test_after_a_boot_that_failed_check_says_what_the_unit_said(tmp_path: Path) -> None:
    facts = tree(tmp_path, {**SYSTEMD, **config("/usr/bin/gone"), **UNITS})
    live = running(facts)
    assert list(survival.boot_troubles(live)) == [survival.NotRegistered("/usr/bin/gone")]
    assert said(live) == [("not-persistent", "/usr/bin/gone is missing", boot_words.BRING_BACK)]
    unmounted = replace(live, registry=RegistryFacts())
    assert list(survival.boot_troubles(unmounted)) == [survival.NotMounted()]
    assert said(unmounted)[-1] == (
        "not-persistent", "binfmt_misc is not mounted", boot_words.UNMASK_REGISTRY,
    )  # fmt: skip


def test_a_late_emulator_that_is_not_there_is_a_matter_of_order(tmp_path: Path) -> None:
    gone = "/opt/gone/qemu-aarch64"
    facts = tree(tmp_path, {**SYSTEMD, **NOFAIL, **config(gone), **LATE_UNITS})
    live = running(facts)
    assert [code for code, _, _ in said(live)] == ["boot-order"]


def test_an_entry_that_is_there_is_no_trouble(tmp_path: Path) -> None:
    facts = tree(tmp_path, {**SYSTEMD, **config("/usr/bin/gone"), **UNITS})
    there = (Entry(rule("/usr/bin/gone"), enabled=True),)
    live = running(facts, *there)
    assert list(survival.boot_troubles(live)) == []
    assert list(survival.boot_troubles(facts)) == [], "an offline tree has no kernel to ask"
