"""Findings that the kernel here can produce, produced for real.

Each test breaks a registry of its own, in a user and mount namespace that dies with the
child process which makes it. The child is a fork of the test, so that it can go on judging
while no program starts any more.
"""

from __future__ import annotations

import json
import os
import shutil
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.cli.app import run_command_line
from binfmt_setup.commands import look
from binfmt_setup.commands.check import check
from binfmt_setup.commands.request import asked_for
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named, target_of_machine
from binfmt_setup.report.document import document
from binfmt_setup.system import syscalls
from binfmt_setup.system.host import Host
from binfmt_setup.system.probes import running_probes
from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from collections.abc import Callable

BUSYBOX = Path("/bin/busybox")
REGISTRY = Path(BINFMT_MISC)
_REMOUNT, _BIND = 0x20, 0x1000  # mount(2)
Report = dict[str, object]


def inside(action: Callable[[], Report]) -> Report:
    """What an action says, run in namespaces of its own with an own, empty registry."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _be_the_child(action, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = json.loads(pipe.read() or b'{"failed": "the child said nothing"}')
    os.waitpid(child, 0)
    if "unavailable" in said:
        pytest.skip(f"no registry in an own user namespace: {said['unavailable']}")
    assert "failed" not in said, said["failed"]
    return cast("Report", said)


def _be_the_child(action: Callable[[], Report], writer: int) -> None:
    user, group = os.geteuid(), os.getegid()
    said: Report = {}
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        syscalls.mount("none", BINFMT_MISC, "binfmt_misc")
    except OSError as error:
        said = {"unavailable": error.strerror}
    try:
        said = said or action()
    except BaseException:
        said = {"failed": traceback.format_exc()}
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(json.dumps(said).encode())
    os._exit(0)


def register(
    interpreter: Path, flags: str, name: str = "qemu-aarch64", like: str = "aarch64"
) -> None:
    target = target_named(like)
    line = Registration(name, str(interpreter), flags, target.magic, target.mask).line
    (REGISTRY / "register").write_text(line)


def checked(platform: str = "linux/arm64", seconds: float = 20.0) -> Report:
    host = Host(prove=lambda names, **_: running_probes(names, seconds=seconds))
    return document(check(host, asked_for([platform]), versions=True))


def security() -> Report:
    return document(look.check_security(Host()))


def works(report: Report) -> bool:
    return bool(cast("list[Report]", report["platforms"])[0]["ok"])


def codes(report: object) -> list[object]:
    """The codes of all that is worse than a note."""
    findings = cast("list[Report]", cast("Report", report)["findings"])
    return [f["code"] for f in findings if f["severity"] != "info"]


@pytest.fixture
def static(qemu: Path) -> Path:
    return qemu / "qemu-aarch64-static"


@pytest.fixture
def own(static: Path, tmp_path: Path) -> Path:
    """A copy of QEMU that a test may change."""
    return Path(shutil.copy2(static, tmp_path / "qemu-aarch64"))


def test_a_good_entry_gives_no_finding(static: Path) -> None:
    def action() -> Report:
        register(static, "POF")
        return {"check": checked(), "security": security()}

    report = inside(action)
    assert codes(report["check"]) == []
    assert codes(report["security"]) == []


def test_no_entry_for_an_emulator_that_is_there(static: Path) -> None:
    assert static.exists()
    assert codes(inside(checked)) == ["entry-missing"]


def test_a_disabled_entry_and_its_remedy(static: Path) -> None:
    def action() -> Report:
        register(static, "POF")
        (REGISTRY / "qemu-aarch64").write_text("0")
        broken = checked()
        (REGISTRY / "qemu-aarch64").write_text("1")
        return {"broken": broken, "repaired": checked()}

    report = inside(action)
    assert f"echo 1 > {BINFMT_MISC}/qemu-aarch64" in json.dumps(report["broken"])
    assert codes(report["broken"]) == ["entry-disabled"]
    assert codes(report["repaired"]) == []


def test_an_entry_of_the_right_name_for_other_programs(static: Path) -> None:
    def action() -> Report:
        register(static, "POF", like="arm")
        return checked()

    assert codes(inside(action)) == ["entry-differs"]


def test_a_newer_entry_that_fails_hides_a_good_one(static: Path) -> None:
    def action() -> Report:
        register(static, "POF")
        register(Path("/nowhere/qemu"), "", name="my-arm64")
        return checked()

    assert codes(inside(action)) == ["entry-shadowed"]


def test_without_f_no_interpreter_is_found_in_an_empty_chroot(static: Path) -> None:
    def action() -> Report:
        register(static, "PO")
        return checked()

    report = inside(action)
    assert codes(report) == ["flag-f-missing"]
    assert "execve: ENOENT" in json.dumps(report["findings"])


def test_a_dynamic_interpreter_finds_no_loader_in_an_empty_chroot() -> None:
    def action() -> Report:
        register(Path("/usr/bin/env"), "F")
        return checked()

    assert codes(inside(action)) == ["interpreter-dynamic"]


def test_an_interpreter_for_another_machine() -> None:
    def action() -> Report:
        register(PROBES / "sparc64", "F")
        return checked()

    assert codes(inside(action)) == ["interpreter-wrong-architecture"]


def test_an_interpreter_that_was_deleted_runs_on_until_the_reboot(own: Path) -> None:
    def action() -> Report:
        register(own, "POF")
        own.unlink()
        return checked()

    report = inside(action)
    assert works(report)
    assert codes(report) == ["interpreter-missing"]


def test_an_upgraded_interpreter_is_not_the_one_that_runs(own: Path) -> None:
    def action() -> Report:
        register(own, "POF")
        newer = Path(shutil.copy2(own, own.with_suffix(".new")))
        newer.replace(own)  # as dpkg does it
        return {"check": checked(), "security": security()}

    report = inside(action)
    assert works(cast("Report", report["check"]))
    assert codes(report["check"]) == ["interpreter-stale"]
    assert "interpreter-stale" in codes(report["security"])


def test_a_thief_that_shows_nothing_is_not_called_good(own: Path) -> None:
    """It is pinned, its path then gets a good file; and to a probe it says nothing."""
    thief = Path(shutil.copy2("/bin/true", own.with_suffix(".thief")))

    def action() -> Report:
        register(thief, "F")
        own.replace(thief)
        return security()

    said = inside(action)
    assert "interpreter-stale" in codes(said)
    assert "did not show" in json.dumps(said)


def test_an_entry_for_what_the_kernel_runs_itself(qemu: Path) -> None:
    """qemu-i386 on amd64: everything "works", by an emulator. Whether it is so, a probe tells."""

    def action() -> Report:
        with running_probes(["i386"]) as results:
            native = results()["i386"].native
        register(qemu / "qemu-i386-static", "F", "qemu-i386", "i386")
        return {"native": native, "security": security()}

    report = inside(action)
    assert ("native-caught" in codes(report["security"])) is report["native"]


@pytest.mark.parametrize("path", ["qemu", "//proc/self/cwd/x", "/dev/fd/9", "{}/link/qemu"])
def test_an_interpreter_that_is_another_file_for_each_process(tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("/proc/thread-self/cwd")

    def action() -> Report:
        register(Path("/x"), "")
        line = Registration("thief", path.format(tmp_path), "", b"\xca\xfe\xba\xbe").line
        (REGISTRY / "register").write_text(line)
        return security()

    assert "is another file for each process" in json.dumps(inside(action))


def test_an_interpreter_that_everybody_can_write_to(own: Path) -> None:
    def action() -> Report:
        register(own, "POF")
        own.chmod(0o777)
        return {"check": checked(), "security": security()}

    report = inside(action)
    assert codes(report["check"]) == ["interpreter-writable"]
    assert "interpreter-writable" in codes(report["security"])


def test_the_c_flag(static: Path) -> None:
    def action() -> Report:
        register(static, "PCF")
        return {"check": checked(), "security": security()}

    report = inside(action)
    assert codes(report["check"]) == ["credentials-flag"]
    assert codes(report["security"]) == ["credentials-flag"]


def test_all_entries_switched_off_is_one_cause(static: Path) -> None:
    """This `status` is that of the private instance, never the host's."""

    def action() -> Report:
        register(static, "POF")
        (REGISTRY / "status").write_text("0")
        return checked()

    assert codes(inside(action)) == ["globally-disabled"]


def test_a_registry_out_of_sight_is_one_cause_for_all_platforms(qemu: Path) -> None:
    names = ["linux/arm64", "linux/s390x", "linux/riscv64"]
    assert (qemu / "qemu-s390x-static").exists()

    def action() -> Report:
        syscalls.mount("none", BINFMT_MISC, "tmpfs")
        return document(check(Host(), asked_for(names)))

    report = inside(action)
    assert codes(report) == ["not-mounted"]
    assert [row["ok"] for row in cast("list[Report]", report["platforms"])] == [False] * 3


def test_a_read_only_registry_is_said_and_harms_nothing_that_runs(static: Path) -> None:
    def action() -> Report:
        register(static, "POF")
        syscalls.mount("none", BINFMT_MISC, "", _REMOUNT | _BIND | syscalls.MS_RDONLY)
        return checked()

    report = inside(action)
    assert works(report)
    assert '"read-only"' in json.dumps(report["findings"])


def test_a_namespace_of_its_own_is_said() -> None:
    assert '"private-namespace"' in json.dumps(inside(checked)["findings"])


def test_an_entry_for_native_programs_and_its_remedy(qemu: Path) -> None:
    """From the registration on nothing starts; the remedy needs a shell's builtin alone."""
    native = target_of_machine(os.uname().machine)
    assert native is not None
    emulator, platform = qemu / f"qemu-{native.name}-static", native.platforms[0].name

    def action() -> Report:
        register(emulator, "F", name=native.entry_name, like=native.name)
        broken = checked(platform)
        (REGISTRY / native.entry_name).write_text("-1")
        return {"broken": broken, "repaired": checked(platform)}

    report = inside(action)
    assert codes(report["broken"]) == ["native-registered"]
    assert "execve: ELOOP" in json.dumps(report["broken"])
    assert f"echo -1 > {BINFMT_MISC}/{native.entry_name}" in json.dumps(report["broken"])
    assert codes(report["repaired"]) == []


def test_an_interpreter_that_is_no_emulator() -> None:
    def action() -> Report:
        register(BUSYBOX, "F")
        return checked()

    assert codes(inside(action)) == ["probe-failed"]


def test_an_interpreter_that_never_ends(tmp_path: Path) -> None:
    endless = Path(shutil.copy2(BUSYBOX, tmp_path / "yes"))

    def action() -> Report:
        register(endless, "F")
        broken = checked(seconds=0.5)
        (finding,) = cast("list[Report]", cast("list[Report]", broken["platforms"])[0]["findings"])
        told = cast("dict[str, list[str]]", finding["remedy"])["command"]
        # Of this process alone: install, too, first waits for what hangs.
        cast("Report", running_probes.__kwdefaults__)["seconds"] = 0.5
        return {
            "broken": broken,
            "told": told,
            "done": run_command_line(told[1:]),
            "cured": checked(),
        }

    report = inside(action)
    assert codes(report["broken"]) == ["probe-timeout"]
    # The one that this host has takes its place, and is proven by that.
    assert report["told"] == ["binfmt-setup", "install", "--private", "--no-persist", "linux/arm64"]
    assert report["done"] == 0
    assert works(cast("Report", report["cured"]))


def test_an_entry_made_of_one_native_programs_first_bytes(static: Path, tmp_path: Path) -> None:
    """The trick known as "shadow SUID", played for real: the victim runs the thief."""
    victim, thief = Path(shutil.copy2(BUSYBOX, tmp_path / "true")), Path("/usr/bin/echo")
    victim.chmod(0o4755)

    def action() -> Report:
        register(static, "POF")
        start = victim.read_bytes()[:64]
        entry = Registration(".modinfo", str(thief), "C", start, b"\xff" * len(start))
        (REGISTRY / "register").write_text(entry.line)
        said = Host().run((str(victim), "stolen"), 5.0).output
        return {"said": said, "security": security()}

    report = inside(action)
    assert report["said"] == f"{victim} stolen\n"
    assert "native-caught" in codes(report["security"])
