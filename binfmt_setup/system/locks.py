"""One writer at a time: the locks that runs of this tool hold.

flock(2) asks for no right to write: who can open a file, for reading or on a directory, can keep
everybody else waiting. So locks are files that nobody but their owner can open.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress

from binfmt_setup.model.errors import Busy, EnvironmentUnfit

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from binfmt_setup.system.host_access import HostAccess


RUN_DIRECTORY = "/run/binfmt-setup"
"""Root's alone (0700): nobody else can reach what lies in it."""
LOCK_FILE = f"{RUN_DIRECTORY}/lock"
STORE_LOCK = ".lock"
LOCK_SECONDS = 60.0
"""How long a run waits for another one: longer than any but a package installation takes."""
_LOCK_POLL = 0.1
_NOTED_BYTES = 65536
_AT_WORK, _CLEAN = b"w", b"-"
_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_PLACE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def locked(host: HostAccess, *, private: bool) -> Iterator[bool]:
    """One writer at a time; from here on the modes of what is made are ours, not the caller's.

    Gives whether a run before this one may have been killed, and left something. While one is
    at work there is a mark in the lock's file, which is gone, too, after a reboot.

    A private registry is locked by its own file alone (see `Registry.locked`): whoever shares it
    shares that file, and its root need not be root of what lies in /run. So no mark is kept.

    Raises Busy when another run does not end in time, EnvironmentUnfit when there is no
    place for a lock.
    """
    os.umask(0o022)
    if private:
        yield True
    elif host.live:
        lock = _host_lock(host)
        with held(lock):
            clean = os.pread(lock, 1, 0) == _CLEAN
            _mark(lock, _AT_WORK)
            yield not clean
            _mark(lock, _CLEAN)
    else:
        with _tree_locked(host):
            yield True


def _mark(lock: int, mark: bytes) -> None:
    with suppress(OSError):  # /run is full: then the next run looks in vain
        os.pwrite(lock, mark, 0)


def _host_lock(host: HostAccess) -> int:
    try:
        return wait_for(host, lambda: _take_ours(LOCK_FILE), LOCK_FILE)
    except OSError as error:
        raise EnvironmentUnfit(
            f"cannot lock {LOCK_FILE}: {error.strerror}", hint="is /run there, and writable?"
        ) from error


@contextmanager
def _tree_locked(host: HostAccess) -> Iterator[None]:
    """One run at a time on an offline tree, in which no lock may be left: root's lie in /run.

    Who is not root, or has no /run, locks the tree's root directory.
    """
    with host.directory("/") as top:
        status = os.stat(top)
        where = f"{RUN_DIRECTORY}/tree-{status.st_dev:x}-{status.st_ino:x}"
        try:
            lock = wait_for(host, lambda: _take_ours(where, passing=True), where)
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            wait_for(host, lambda: top if taken(top) else None, host.path("/"))
            yield
            return
        with held(lock, remove=where):
            yield


@contextmanager
def store_locked(
    host: HostAccess, directory: str, made: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """One run at a time unpacks there; raises Busy as `locked` does.

    Gives the directories that were made for it: by this run, and by one that was killed, which
    left its lock and in it their names.

    `run` has no other lock, and runs in two namespaces share none. Some network file systems
    cannot lock: there it goes without.
    """
    with host.directory(directory) as store:
        lock = None
        with suppress(OSError):
            lock = wait_for(
                host,
                lambda: _take(STORE_LOCK, store, passing=True),
                host.path(f"{directory}/{STORE_LOCK}"),
            )
        with held(lock, remove=STORE_LOCK, directory=store):
            yield made if lock is None else _noted(lock, directory, made)


def _noted(lock: int, directory: str, made: tuple[str, ...]) -> tuple[str, ...]:
    """Write down in a lock what was made, with what stands there already."""
    noted = os.pread(lock, _NOTED_BYTES, 0).decode("utf-8", "surrogateescape").split("\n")
    above = (path for path in noted if path.strip("/") and f"{directory}/".startswith(f"{path}/"))
    found = tuple(dict.fromkeys((*made, *above)))
    os.pwrite(lock, "\n".join(found).encode("utf-8", "surrogateescape"), 0)
    return found


@contextmanager
def held(lock: int | None, *, remove: str = "", directory: int | None = None) -> Iterator[None]:
    """Keep a lock, where there is one, for as long as the block lasts."""
    try:
        yield
    finally:
        if lock is not None:
            for _ in range(2 if remove else 0):  # what is refused once may pass
                with suppress(OSError):
                    os.unlink(remove, dir_fd=directory)
                    break
            os.close(lock)


def wait_for(
    host: HostAccess, take: Callable[[], int | None], where: str, seconds: float = LOCK_SECONDS
) -> int:
    """Take a lock; raises Busy when another one has it for too long, OSError when none can."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        lock = take()
        if lock is not None:
            return lock
        if not told:
            host.say("waiting for another binfmt-setup to finish …")
            told = True
        if time.monotonic() > deadline:
            raise Busy(
                f"another binfmt-setup has been at work for {seconds:g} s",
                hint=f"see who holds it: fuser -v {where}",
            )
        time.sleep(_LOCK_POLL)


def taken(descriptor: int) -> bool:
    """Whether an exclusive lock on an open file could be had at once; raises OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take_ours(path: str, *, passing: bool = False) -> int | None:
    """Take a lock in the directory of our own; raises OSError or EnvironmentUnfit."""
    try:
        status = os.lstat(RUN_DIRECTORY)
    except FileNotFoundError:
        _make_run_directory()
        status = os.lstat(RUN_DIRECTORY)
    closed = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
    if not closed or status.st_uid != os.geteuid():
        raise EnvironmentUnfit(
            f"{RUN_DIRECTORY} is not a directory that is yours alone",
            hint=f"see who made it, and remove it: ls -ld {RUN_DIRECTORY}",
            code="access-denied",
        )
    return _take(path, passing=passing)


def _make_run_directory() -> None:
    with suppress(FileExistsError):  # another run was faster
        os.mkdir(RUN_DIRECTORY, 0o700)


def _take(path: str, directory: int | None = None, *, passing: bool = False) -> int | None:
    """Open a file and lock it; None when another one has it.

    A `passing` one is removed by whoever had it: then what was opened here may be no file any
    more that others would find, and is no lock.
    """
    descriptor = os.open(path, _FILE, 0o600, dir_fd=directory)
    try:
        fits = taken(descriptor) and (not passing or _is_at(descriptor, path, directory))
    except BaseException:
        os.close(descriptor)
        raise
    if fits:
        return descriptor
    os.close(descriptor)
    return None


def _is_at(descriptor: int, path: str, directory: int | None) -> bool:
    with suppress(FileNotFoundError):
        there = os.stat(path, dir_fd=directory, follow_symlinks=False)
        return os.path.samestat(os.stat(descriptor), there)
    return False
