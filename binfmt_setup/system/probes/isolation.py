"""What a probe is kept from: namespaces, another user, no capabilities, limits.

The interpreter of an entry may be anybody's program, and what runs probes may be root. Where a
step is refused (no root, no user namespaces, a container) the next best is taken, and the words
that `isolate` gives say what was had.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress

from binfmt_setup.system import syscalls

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable


NOBODY = 65534
"""The kernel's own number for a user that is none (fs.overflowuid)."""
_APART = (
    ("pid", syscalls.CLONE_NEWPID),
    ("net", syscalls.CLONE_NEWNET),
    ("ipc", syscalls.CLONE_NEWIPC),
    ("uts", syscalls.CLONE_NEWUTS),
    ("cgroup", syscalls.CLONE_NEWCGROUP),
)
_GIB = 1 << 30
# QEMU 7.2 to 11.1 reserve up to 4.4 GiB of addresses (a 32-bit guest's), have 145 MiB of data,
# use 10 ms of CPU time, and lock and write nothing.
_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_MEMLOCK, 0),
    (resource.RLIMIT_MSGQUEUE, 0),
    (resource.RLIMIT_NOFILE, 256),
    (resource.RLIMIT_DATA, 2 * _GIB),
    (resource.RLIMIT_AS, 32 * _GIB),
)
CPU_SECONDS = 10
_TASKS = 4  # of each probe: QEMU has two
_PIDS = 400  # three times what all probes take at once; the kernel takes none below 301
_FIRST_KERNEL_WITH_PIDS = (6, 14)


class CannotIsolate(Exception):
    """Probes cannot be kept in their directory here; `error` is what was refused."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def isolate(root: str, names: tuple[str, ...], found: Callable[[list[str]], None]) -> list[str]:
    """Keep this process and all it starts in `root`, without rights; what was had, in words.

    `found` is told of the new namespaces while there are rights to set them up with. Raises
    CannotIsolate.
    """
    as_root = os.geteuid() == 0 and knows_nobody()
    refused: OSError | None = None
    for user in (False, True) if as_root else (True, False):
        try:
            words = [*apart(user=user), *_prepared(root, names, user=user)]
            os.chroot(root)
        except OSError as error:
            refused = refused or error
            continue
        os.chdir("/")
        found(words)
        return [*words, "chroot", *without_rights(become_nobody=as_root and not user), "limits"]
    raise CannotIsolate(refused or OSError())


def knows_nobody() -> bool:
    """Whether this user namespace has a user that is nobody."""
    return all(_maps(f"/proc/self/{kind}", NOBODY) for kind in ("uid_map", "gid_map"))


def _maps(path: str, number: int) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        rows = [
            [int(word) for word in row.split()] for row in os.read(descriptor, 4096).split(b"\n")
        ]
    finally:
        os.close(descriptor)
    return any(row[0] <= number < row[0] + row[2] for row in rows if row)


def apart(*, user: bool) -> list[str]:
    """Get namespaces of one's own, as many as one may have. Raises OSError without `user`'s."""
    base = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS if user else 0
    names = [name for name, _ in _APART]
    own = ["user", "mount"] if user else []
    who = (os.geteuid(), os.getegid())
    try:
        syscalls.unshare(base | sum(flag for _, flag in _APART))
    except OSError:
        # One that this kernel lacks, or of which there may be no more, spoils them all.
        if user:
            syscalls.unshare(base)
        names = [name for name, flag in _APART if _unshared(flag)]
    if user:
        _map_to_nobody(*who)
    return own + names


def _unshared(flag: int) -> bool:
    with suppress(OSError):
        syscalls.unshare(flag)
        return True
    return False


def _map_to_nobody(user: int, group: int) -> None:
    """Be nobody in the new user namespace, which outside is still the same user."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {user} 1"),
        ("gid_map", f"{NOBODY} {group} 1"),
    ):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _prepared(root: str, names: tuple[str, ...], *, user: bool) -> list[str]:
    """Make the directory one that nobody can read, and that its owner cannot write to."""
    if user:
        with suppress(OSError):
            options = os.statvfs(root).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC)
            syscalls.mount(root, root, "", syscalls.MS_BIND)
            flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | options
            syscalls.mount("none", root, "", flags)
            return ["read-only"]
        return []
    if all(os.stat(os.path.join(root, name)).st_mode & 0o5 == 0o5 for name in (".", *names)):
        return []
    return _copied(root, names)


def _copied(root: str, names: tuple[str, ...]) -> list[str]:
    """Put copies over probes that only root may read (installed with umask 077)."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    contents = {}
    for name in names:
        with open(os.path.join(root, name), "rb") as file:
            contents[name] = file.read()
    syscalls.mount("none", root, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV)
    os.chmod(root, 0o505)
    for name, content in contents.items():
        with open(os.path.join(root, name), "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o505)
    return ["mount"]


def without_rights(*, become_nobody: bool, for_good: bool = True) -> list[str]:
    """Give up users, groups and capabilities; what was had.

    In a user namespace of its own the process is called nobody, but outside it is who it was. What
    is not given up for good can be gained by set-user-ID programs: another user, but no capability.
    """
    had = []
    syscalls.leave_keyring()
    with suppress(OSError):  # without CAP_SETPCAP; no_new_privs bounds them as well
        syscalls.bound_no_capability()
    if become_nobody:
        with suppress(PermissionError):
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            had = ["nobody"]
    syscalls.drop_capabilities()
    if for_good:
        syscalls.gain_no_privileges()
    syscalls.be_unreadable()
    return [*had, "no-capabilities", *(["no-new-privileges"] if for_good else [])]


def most_tasks(proc: int, probes: int) -> int:
    """How many tasks probes may make the user have: all that this host has, and theirs.

    The limit counts all tasks of the user's, and who is nobody may have many (before Linux 5.14
    so may the user in another namespace): a number of one's own could be too low for a start.
    """
    descriptor = os.open("loadavg", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    try:
        tasks = os.read(descriptor, 128).split()[3].partition(b"/")[2]
    finally:
        os.close(descriptor)
    return int(tasks) + _TASKS * (probes + 8)


def limit_pids(proc: int) -> bool:
    """Limit the tasks of the pid namespace that this process is in; whether that could be had.

    Root of a user namespace may be the host's root, whom RLIMIT_NPROC never binds. A kernel
    before 6.14 has one such number for all, which is never written.
    """
    release = os.uname().release.split(".")[:2]
    if not all(word.isdigit() for word in release):
        return False
    if tuple(int(word) for word in release) < _FIRST_KERNEL_WITH_PIDS:
        return False
    with suppress(OSError):
        descriptor = os.open("sys/kernel/pid_max", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            return os.write(descriptor, b"%d" % _PIDS) > 0
        finally:
            os.close(descriptor)
    return False


def limit(cpu_seconds: int) -> None:
    """Lower this process's limits to what emulators need; none is ever raised."""
    for which, most in _LIMITS:
        lower(which, most)
    lower(resource.RLIMIT_CPU, cpu_seconds + 1)
    lower(resource.RLIMIT_CPU, cpu_seconds, hard_too=False)  # SIGXCPU tells what it was


def lower(which: int, most: int, *, hard_too: bool = True) -> None:
    """Lower a limit: the soft one, and the hard one that bounds it."""
    soft, hard = (
        most if value == resource.RLIM_INFINITY else min(value, most)
        for value in resource.getrlimit(which)
    )
    if not hard_too:
        hard = resource.getrlimit(which)[1]
    resource.setrlimit(which, (soft, hard))
