"""Remedies cure: each command that `check` prints is run, word for word, on the real kernel.

What made a platform fail is made here; then every remedy is carried out as it is printed, and
`check` must be content.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from tests.own_namespace import PROBES
from tests.packing import Item, deb, tar, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Sandbox

    Situation = Callable[[Sandbox, Path], None]

pytestmark = pytest.mark.one_python

REGISTRY = "/proc/sys/fs/binfmt_misc"
ARM64 = target_named("aarch64")
QEMU = "/usr/bin/qemu-aarch64-static"
PACKAGED = "/usr/lib/binfmt.d/qemu-aarch64.conf"
Row = dict[str, object]
CRASHES = "#!/bin/sh\nkill -SEGV $$\n"


def entry(interpreter: str, flags: str = "PF", name: str = "qemu-aarch64") -> Registration:
    return Registration(name, interpreter, flags, ARM64.magic, ARM64.mask)


def rows(data: Row, key: str) -> list[Row]:
    return cast("list[Row]", data[key])


def bad(system: Sandbox, *asked: str) -> list[Row]:
    """The findings that are worse than a note; without one, the answer is yes.

    That no package owns a file is a matter of taste, which tests cannot help to have.
    """
    done = system.tool("check", *(asked or ("arm64",)), "--format", "json")
    data = cast("Row", json.loads(done.stdout))
    found = [
        *rows(data, "findings"),
        *(f for p in rows(data, "platforms") for f in rows(p, "findings")),
    ]
    worse = [finding for finding in found if finding["severity"] != "info"]
    assert worse or data["ok"]
    return [finding for finding in worse if finding["code"] != "interpreter-unpackaged"]


def carried_out(system: Sandbox, finding: Row) -> None:
    """Run the remedy of a finding as it is printed."""
    remedy = cast("dict[str, list[str] | None] | None", finding["remedy"])
    assert remedy, finding
    command = remedy["command"]
    assert command, finding
    if command[0] == "binfmt-setup":
        command = [sys.executable, "-m", "binfmt_setup", *command[1:]]
    done = system.run(*command)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def made_static(where: Path, source: Path) -> Path:
    shutil.copy2(source, where)
    return where


def without_f(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    system.register(entry(QEMU, "P"))


def disabled(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    system.register(entry(QEMU))
    system.sh(f"echo 0 > {REGISTRY}/qemu-aarch64")


def switched_off(system: Sandbox, tmp_path: Path) -> None:
    """The switch of this namespace's own registry."""
    del tmp_path
    system.register(entry(QEMU))
    system.sh(f"echo 0 > {REGISTRY}/status")


def other_pattern(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    arm = target_named("arm")
    system.register(Registration("qemu-aarch64", QEMU, "PF", arm.magic, arm.mask))


def a_busybox(system: Sandbox, tmp_path: Path) -> None:
    system.register(entry(str(shutil.copy2("/bin/busybox", tmp_path / "false")), "F"))


def another_program(system: Sandbox, tmp_path: Path) -> None:
    """It prints what a probe prints, of another architecture."""
    system.register(entry(str(made_static(tmp_path / "qemu", PROBES / "x86_64")), "F"))


def dynamic(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    system.register(entry("/usr/bin/env", "F"))


def for_another_machine(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    system.register(entry(str(PROBES / "sparc64"), "F"))


def foreign_itself(system: Sandbox, tmp_path: Path) -> None:
    """The emulator is a program of the very architecture that it is to emulate: ELOOP."""
    del tmp_path
    system.register(entry(str(PROBES / "aarch64"), "F"))


def a_script(system: Sandbox, tmp_path: Path) -> None:
    script = tmp_path / "qemu-wrapper"
    script.write_text(CRASHES)
    script.chmod(0o755)
    system.register(entry(str(script), "F"))


def orphaned(system: Sandbox, tmp_path: Path) -> None:
    """Its program is gone since, and F does not hold it."""
    system.register(entry(str(tmp_path / "nowhere"), ""))


def shadowed(system: Sandbox, tmp_path: Path) -> None:
    system.register(entry(QEMU))
    system.register(entry(str(tmp_path / "nowhere"), "", "my-arm64"))


def shadowed_by_a_crash(system: Sandbox, tmp_path: Path) -> None:
    system.register(entry(QEMU))
    own = made_static(tmp_path / "box", PROBES / "x86_64")
    system.register(entry(str(own), "F", "my-arm64"))


def pinned_one_is_gone(system: Sandbox, tmp_path: Path) -> None:
    own = made_static(tmp_path / "qemu", Path(QEMU))
    system.register(entry(str(own)))
    own.unlink()


def pinned_one_is_old(system: Sandbox, tmp_path: Path) -> None:
    own = made_static(tmp_path / "qemu", Path(QEMU))
    system.register(entry(str(own)))
    made_static(tmp_path / "new", own).replace(own)


def writable(system: Sandbox, tmp_path: Path) -> None:
    """The file, and two directories on its path: one command closes all."""
    for place in ("a", "a/b"):
        (tmp_path / place).mkdir()
        (tmp_path / place).chmod(0o777)
    own = made_static(tmp_path / "a" / "b" / "qemu", Path(QEMU))
    system.register(entry(str(own)))
    own.chmod(0o775)


def with_rights(system: Sandbox, tmp_path: Path) -> None:
    own = made_static(tmp_path / "qemu", Path(QEMU))
    system.register(entry(str(own)))
    own.chmod(0o4755)


def of_each_process(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    system.register(Registration("mine", "/proc/self/exe", "", b"\xca\xfe\xba\xbe"))


def for_one_program_of_the_host(system: Sandbox, tmp_path: Path) -> None:
    """An entry made of a native program's first bytes."""
    del tmp_path
    start = Path("/bin/busybox").read_bytes()[:64]
    system.register(Registration(".modinfo", "/bin/true", "", start, b"\xff" * len(start)))


def in_memory(system: Sandbox, tmp_path: Path) -> None:
    system.sh(f"mount -t tmpfs -o mode=755 none {tmp_path} && cp {QEMU} {tmp_path}/qemu")
    system.register(entry(f"{tmp_path}/qemu"))


def pinned_one_is_nowhere(system: Sandbox, tmp_path: Path) -> None:
    """As what a container pinned, seen from its host: nobody can look at what runs."""
    system.sh(f"mount -t tmpfs -o mode=755 none {tmp_path} && cp {QEMU} {tmp_path}/qemu")
    system.register(entry(f"{tmp_path}/qemu", name="theirs"))
    system.sh(f"umount -l {tmp_path}")


def with_c(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    system.register(entry(QEMU, "PCF"))


def booted(system: Sandbox, line: str, *, registered: bool = True) -> None:
    """A host that runs systemd, whose package registers arm64 with this line at boot.

    No systemd is there to be told of new units: what tells it does nothing.
    """
    silent = "mount --bind /bin/true /usr/bin/systemctl"
    script = f"{silent} && mkdir -p /run/systemd/system && cat > {PACKAGED}"
    assert system.run("sh", "-c", script, stdin=f"{line}\n").returncode == 0
    if registered:
        system.register(entry(QEMU))


def file_without_f(system: Sandbox, tmp_path: Path) -> None:
    """Loaded again it would take the place of an entry that works, and not work in a chroot."""
    del tmp_path
    booted(system, entry(QEMU, "P").line)


def file_of_a_program_that_is_gone(system: Sandbox, tmp_path: Path) -> None:
    booted(system, entry(str(tmp_path / "nowhere")).line)


def file_of_other_programs(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    arm = target_named("arm")
    booted(system, Registration("qemu-aarch64", QEMU, "PF", arm.magic, arm.mask).line)


def file_that_would_do(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    booted(system, entry(QEMU, "POF").line)


def theirs_where_ours_goes(system: Sandbox, tmp_path: Path) -> None:
    """A file of somebody else's stands where install writes."""
    file_without_f(system, tmp_path)
    assert system.sh(f"mkdir -p /etc/binfmt.d && mv {PACKAGED} /etc/binfmt.d").returncode == 0


def in_no_file(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    booted(system, "")


def of_another_name_in_no_file(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    booted(system, "")
    system.sh(f"echo -1 > {REGISTRY}/qemu-aarch64")
    system.register(entry(QEMU, name="arm64"))


def without_p(system: Sandbox, tmp_path: Path) -> None:
    """This name of QEMU's says that the kernel hands it argv[0], and nothing makes it."""
    own = made_static(tmp_path / "aarch64-binfmt-P", Path(QEMU))
    system.register(entry(str(own), "F"))


def waits_for_no_mount(system: Sandbox, tmp_path: Path) -> None:
    """The interpreter comes with a mount that systemd-binfmt does not wait for."""
    own = made_static(tmp_path / "qemu", Path(QEMU))
    system.sh(f"echo '/dev/vdz {tmp_path} ext4 nofail 0 0' > /etc/fstab")
    booted(system, entry(str(own)).line, registered=False)
    system.register(entry(str(own)))


def not_kept(system: Sandbox, tmp_path: Path) -> None:
    """The wish list asked for it after the install."""
    del tmp_path
    booted(system, "", registered=False)
    assert system.tool("install", "arm64", "--private").returncode == 0
    wishes = 'platforms = ["linux/arm64"]\nkeep = true\n'
    assert system.run("tee", "/etc/binfmt-setup.toml", stdin=wishes).returncode == 0


def refused_line(system: Sandbox, tmp_path: Path) -> None:
    """systemd-binfmt ends failed at every boot for it."""
    booted(system, entry(str(tmp_path / "nowhere")).line, registered=False)
    system.register(entry(QEMU))


def altered(system: Sandbox, tmp_path: Path) -> None:
    """Somebody changed what --qemu had brought, by way of another file."""
    archive = write(
        tmp_path / "qemu.deb",
        deb(tar(Item("./usr/bin/qemu-aarch64-static", Path(QEMU).read_bytes()))),
    )
    system.sh("mkdir -p /usr/local/lib && mount -t tmpfs -o mode=755 none /usr/local/lib")
    done = system.tool("install", "arm64", "--private", "--no-persist", "--qemu", str(archive))
    assert done.returncode == 0, done.stderr
    other = "cp qemu-aarch64 x && echo >> x && mv x qemu-aarch64"
    assert system.sh(f"cd /usr/local/lib/binfmt-setup/qemu/*/ && {other}").returncode == 0


def nothing_is_there(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    assert system.entries() == {}


def read_only(system: Sandbox, tmp_path: Path) -> None:
    """Nothing else can be cured before that is."""
    disabled(system, tmp_path)
    assert system.sh(f"mount -o remount,bind,ro {REGISTRY}").returncode == 0


def unmounted(system: Sandbox, tmp_path: Path) -> None:
    del tmp_path
    assert system.sh(f"umount {REGISTRY}").returncode == 0


SITUATIONS: dict[Situation, str] = {
    without_f: "flag-f-missing",
    disabled: "entry-disabled",
    switched_off: "globally-disabled",
    other_pattern: "entry-differs",
    a_busybox: "probe-failed",
    another_program: "probe-failed",
    dynamic: "interpreter-dynamic",
    for_another_machine: "interpreter-wrong-architecture",
    foreign_itself: "interpreter-wrong-architecture",
    a_script: "interpreter-wrong-architecture",
    orphaned: "interpreter-missing flag-f-missing",  # in a container it may be elsewhere
    shadowed: "entry-shadowed",
    shadowed_by_a_crash: "entry-shadowed",
    pinned_one_is_gone: "interpreter-missing",
    pinned_one_is_old: "interpreter-stale",
    writable: "interpreter-writable",
    with_c: "credentials-flag",
    file_without_f: "config-differs",
    file_of_a_program_that_is_gone: "not-persistent",
    file_of_other_programs: "config-differs",
    file_that_would_do: "config-differs",
    theirs_where_ours_goes: "config-differs",
    in_no_file: "not-persistent",
    of_another_name_in_no_file: "not-persistent",
    without_p: "argv0-mismatch",
    unmounted: "not-mounted",
    nothing_is_there: "entry-missing",
    read_only: "read-only",
    altered: "interpreter-altered",
    waits_for_no_mount: "boot-order",
    refused_line: "config-invalid",
    not_kept: "not-kept",
    with_rights: "interpreter-writable",
    of_each_process: "interpreter-writable",
    for_one_program_of_the_host: "native-caught",
    in_memory: "interpreter-mount",
    pinned_one_is_nowhere: "interpreter-missing",
}
"""What is made wrong, and the finding whose remedy is carried out."""
_SECURITY = (
    with_rights, of_each_process, for_one_program_of_the_host, in_memory, pinned_one_is_nowhere
)  # fmt: skip
QUESTIONS: dict[Situation, tuple[str, ...]] = {
    not_kept: ("--verbose",),
    **dict.fromkeys(_SECURITY, ("--security",)),
}
"""What is asked where that is not about arm64."""


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_printed_cures(system: Sandbox, tmp_path: Path, situation: Situation) -> None:
    situation(system, tmp_path)
    asked = QUESTIONS.get(situation, ())
    found = bad(system, *asked)
    assert not {f["code"] for f in found}.isdisjoint(SITUATIONS[situation].split())
    for finding in found:
        carried_out(system, finding)
    assert bad(system, *asked) == []


def test_with_the_native_programs_caught_a_shell_of_roots_cures(system: Sandbox) -> None:
    """No program starts any more: the same shell has to do both, with what it has built in."""
    system.register(entry(QEMU))
    native = target_named("x86_64")
    line = Registration("native", f"{QEMU[:13]}x86_64-static", "F", native.magic, native.mask).line
    done = system.run(
        "sh", "-c", f"read -r line; echo $line > {REGISTRY}/register; /bin/true || "
        f"echo -1 > {REGISTRY}/native; /bin/true && echo cured", stdin=line.replace("\\", "\\\\"),
    )  # fmt: skip
    assert done.stdout == "cured\n", done.stderr
    assert bad(system) == []
