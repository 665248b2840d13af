"""Where exercises run: namespaces, a root directory, /proc, a terminal, no rights, limits."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import socket
import struct
from contextlib import suppress

from binfmt_setup.system import syscalls
from binfmt_setup.system.probes import isolation

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

_GIB = 1 << 30
CPU_SECONDS = 30
# Beside what QEMU takes: the large file's size, threads, and Go's reservation of addresses.
_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 8 * _GIB),
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_DATA, 4 * _GIB),
    (resource.RLIMIT_AS, 512 * _GIB),
)
TASKS = 160
"""How many tasks exercises may have at once, beside those that the user has."""
_OTHER_USER = isolation.NOBODY - 1  # somebody who is neither root nor nobody
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


def leave_the_host(*, as_root: bool) -> list[str]:
    """Get namespaces of one's own; raises CannotIsolate where they are not all to be had."""
    words: list[str] = []
    refused: OSError | None = None
    for user in (False, True) if as_root else (True,):
        try:
            words = isolation.apart(user=user)
            if not user:
                syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
        except OSError as error:
            refused = refused or error
            continue
        if "pid" in words:
            return [*words, *([] if user else ["mount"])]
    raise isolation.CannotIsolate(refused or OSError())


def furnish(root: str, programs: Sequence[str]) -> None:
    """Mount what programs expect; what is refused is missing natively as well."""
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    os.chdir(root)  # a path in options could hold a colon or a comma
    with suppress(OSError):
        syscalls.mount("none", "overlay", "overlay", flags, "lowerdir=layers:scratch")
    with suppress(OSError):  # in this mount namespace alone: nobody on the host can start these
        syscalls.mount("none", "other", "tmpfs", syscalls.MS_NODEV, "mode=0755")
        for name in programs:
            shutil.copyfile(name, f"other/{name}")
            os.chown(f"other/{name}", _OTHER_USER, _OTHER_USER)
            os.chmod(f"other/{name}", 0o4555)  # noqa: S103 - to see whether the bit counts
    with suppress(OSError):
        syscalls.mount("proc", f"{root}/proc", "proc", flags)
    with suppress(OSError):
        syscalls.mount("none", f"{root}/dev", "tmpfs", syscalls.MS_NOSUID)
        os.mkdir(f"{root}/dev/pts")
        with open(f"{root}/dev/null", "wb"):
            syscalls.mount("/dev/null", f"{root}/dev/null", "", syscalls.MS_BIND)
        options = "newinstance,ptmxmode=0666,mode=0666"
        no_programs = syscalls.MS_NOSUID | syscalls.MS_NOEXEC
        syscalls.mount("devpts", f"{root}/dev/pts", "devpts", no_programs, options)
        os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as network:
        fcntl.ioctl(network, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def enter(root: str, *, become_nobody: bool, proc: int, for_good: bool = True) -> list[str]:
    """Keep this process and all it starts in `root`, without rights; what was had, in words."""
    os.chroot(root)
    os.chdir("/")
    words = isolation.without_rights(become_nobody=become_nobody, for_good=for_good)
    for which, most in _LIMITS:
        isolation.lower(which, most)
    isolation.lower(resource.RLIMIT_CPU, CPU_SECONDS)
    isolation.lower(resource.RLIMIT_NPROC, isolation.most_tasks(proc, 0) + TASKS)
    return ["chroot", *words, "limits"]
