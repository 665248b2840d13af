"""The host that tests see: this machine without what others set up on it.

Tests use this machine's kernel, programs and libraries, but what decides the tool's answers
must not depend on whose machine it is. So the test process enters a mount namespace of its own
in which formats of other tools, binfmt.d files, units, locks and the distribution's name are
those of a Debian on which nothing was set up yet, and keeps of its environment only what is
listed here. The machine itself stays as it is. `tests.host_in_use` is the proof.

Tests in tests/root, boot and engines see the machine itself: they make whole file systems of
its folders, which the kernel refuses where something is mounted over them.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.model.targets import TARGETS
from binfmt_setup.system import syscalls
from testbed import KEPT_VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
EMPTY = (
    *("/etc/binfmt.d", "/usr/lib/binfmt.d", "/usr/local/lib/binfmt.d", "/etc/binfmt-setup"),
    *("/var/lib/binfmts", "/etc/systemd/system", "/usr/local/lib/binfmt-setup", "/etc/docker"),
)
"""Folders that are empty, where there are such at all."""
FILES = {"/etc/os-release": OS_RELEASE, "/etc/fstab": ""}
PLACES = ("/srv", "/media", "/mnt")
"""Over one of these lies a folder that nobody but the tester can write to."""
LOCAL = ("/usr/local/bin", "/usr/local/sbin")
TOOLS = ("COVERAGE_", "PYTEST_", "HYPOTHESIS_", "BINFMT_SETUP_GOLDEN")
"""How variables begin by which the tools of the tests talk to each other."""
_BIND = 0x1000  # mount(2)
_CAPABILITY_VERSION_3 = 0x20080522  # capset(2)


def clean_environment() -> None:
    """Keep what scripts/test would pass on, find this Python first, and have an empty home."""
    for name in set(os.environ) - set(KEPT_VARIABLES):
        if not name.startswith(TOOLS):
            del os.environ[name]
    _keep_pip_settings()
    os.environ.pop("XDG_RUNTIME_DIR", None)
    os.environ["LC_ALL"] = "C.UTF-8"
    # What administrators run (chroot, modprobe) is not on every user's path.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    os.environ["PATH"] = path
    os.environ["HOME"] = tempfile.mkdtemp(prefix="binfmt-setup-home-")
    # What runs under nohup ignores SIGHUP, what a shell has put in the background SIGINT and
    # SIGQUIT; programs that it starts would, too.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) == signal.SIG_IGN:
            interrupts = number == signal.SIGINT
            signal.signal(number, signal.default_int_handler if interrupts else signal.SIG_DFL)
    os.umask(0o022)


def _keep_pip_settings() -> None:
    """Where packages come from may be written down in the home that is left behind."""
    for place in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (file := Path.home() / place).is_file():
            os.environ.setdefault("PIP_CONFIG_FILE", str(file))


class Hosts:
    """The machine as it is and the host made of it: the test process can see either."""

    def __init__(self) -> None:
        self._machine = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        self._made = self._machine
        self._seen = self._machine

    def make(self) -> None:
        """Make that host, and see it; raises OSError where the kernel or its rules forbid it."""
        _enter_own_namespace()
        _change_files()
        if os.geteuid():
            _drop_capabilities()
        self._made = self._seen = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def show(self, *, machine: bool) -> None:
        """See one of them from now on; only root can go back to the machine."""
        wanted = self._machine if machine and os.geteuid() == 0 else self._made
        if wanted != self._seen:
            here = Path.cwd()
            if ctypes.CDLL(None, use_errno=True).setns(wanted, syscalls.CLONE_NEWNS):
                raise OSError(ctypes.get_errno(), "setns")
            os.chdir(here)
            self._seen = wanted


def _enter_own_namespace() -> None:
    """Of mounts alone where that is allowed, with the same user in a user namespace otherwise."""
    user, group = os.geteuid(), os.getegid()
    try:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    except PermissionError:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)


def _drop_capabilities() -> None:
    """Be an ordinary user again, to whom the new user namespace gave every capability."""
    header, none = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def _change_files() -> None:
    """Mount over what tells of others."""
    for folder in ("/run", *filter(os.path.isdir, EMPTY)):
        syscalls.mount("made-for-tests", folder, "tmpfs")
        Path(folder).chmod(0o755)  # as on a host: such a file system is everybody's at first
    Path(os.environ["HOME"]).chmod(0o755)
    needed = (Path(__file__), Path(sys.executable), Path(sys.base_prefix))
    syscalls.mount(os.environ["HOME"], free_place(needed), "", _BIND)
    Path("/run/lock").mkdir(mode=0o1777)
    Path("/run/made").mkdir()
    own = Path("/run/made/empty")
    for path, text in FILES.items():
        own = Path("/run/made") / Path(path).name
        own.write_text(text)
        if Path(path).exists():
            syscalls.mount(str(own), str(Path(path).resolve()), "", _BIND)
    for program in _own_emulators():
        # Nothing that can be executed, to a search and to the tool.
        syscalls.mount(str(own), str(program.resolve()), "", _BIND)


def free_place(needed: Iterable[Path]) -> str:
    """Return the first of the places that is there and hides nothing of what is needed."""
    paths = [path.resolve() for path in needed]
    return next(
        folder
        for folder in PLACES
        if Path(folder).is_dir() and not any(path.is_relative_to(folder) for path in paths)
    )


def own_place() -> str:
    """Where nobody else can write, as stores and emulators want it; "" without a made host.

    In truth it is the home that was made, which lies in /tmp, and there everybody can write.
    """
    return next((folder for folder in PLACES if _is_home(folder)), "")


def _is_home(folder: str) -> bool:
    return Path(folder).is_dir() and Path(folder).samefile(os.environ["HOME"])


def _own_emulators() -> list[Path]:
    """What somebody put where administrators do; the tests take what a package brought."""
    names = {f"qemu-{target.name}{end}" for target in TARGETS for end in ("", "-static")}
    return [path for folder in LOCAL for name in names if (path := Path(folder, name)).is_file()]
