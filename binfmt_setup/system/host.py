"""The one door to files, mounts and processes of the host.

A `Host` is a root directory and a way to run programs. Reading a captured tree, preparing
an image offline and working on the live system differ in these two alone; only `apply`
calls the methods that write.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import BinaryIO, cast

from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.records import Record
from binfmt_setup.system.probes import ProbeResult, running_probes, with_pinned_versions
from binfmt_setup.system.programs import Completed, Runner, run_program

_CHUNK = 65536  # bytes; files below /proc/sys refuse reads of megabytes with ENOMEM
_READ_LIMIT = 16 * 1024 * 1024  # bytes; no file this tool reads whole is larger


Prober = Callable[[Sequence[str]], AbstractContextManager[Callable[[], Mapping[str, ProbeResult]]]]
"""Runs the probes of these names on the host, beside whatever is done until one asks for the
results."""


class Host(Record):
    """A host's file tree and its programs."""

    root: str | os.PathLike[str] = "/"
    run: Runner = run_program
    verbose: bool = False
    prove: Prober = running_probes
    ask_pinned: Callable[[Mapping[str, ProbeResult], Sequence[str]], Mapping[str, ProbeResult]] = (
        with_pinned_versions
    )

    @property
    def live(self) -> bool:
        """Whether there is a kernel to ask: this is the running system, no offline tree."""
        return self.in_place

    @property
    def in_place(self) -> bool:
        """Whether paths of the host are paths of this process."""
        return os.fspath(self.root) == "/"

    def path(self, inside: str) -> str:
        """Where a path of the host lies for this process."""
        return os.path.join(self.root, inside.lstrip("/"))

    # -- reading ---------------------------------------------------------------------

    def text(self, inside: str) -> str:
        """A file's text; empty when it is missing or may not be read."""
        with suppress(OSError):
            return self.head(inside, _READ_LIMIT).decode("utf-8", "surrogateescape")
        return ""

    def head(self, inside: str, size: int) -> bytes:
        """The first `size` bytes of a file, without ever waiting for one that is a fifo."""
        descriptor = os.open(self._reached(inside), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            chunks, missing = [], size
            while missing and (chunk := file.read(min(missing, _CHUNK))):
                chunks.append(chunk)
                missing -= len(chunk)
        return b"".join(chunks)

    @contextmanager
    def opened(self, inside: str) -> Iterator[BinaryIO]:
        """A regular file, open for reading without a buffer; raises OSError.

        Nothing else is ever opened: a fifo would wait, a device may act on it.
        """
        where = self.followed(inside)
        if not stat.S_ISREG(os.lstat(where).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
        with os.fdopen(os.open(where, flags), "rb", buffering=0) as file:
            yield cast("BinaryIO", file)

    def looked_up(self, inside: str) -> os.stat_result:
        """What stat(2) says, links followed within the root; raises OSError.

        Links that lead to themselves are left as they are: the result is that of a link.
        """
        return os.lstat(self.followed(inside))

    def refuses_execution(self, inside: str) -> bool:
        """Whether the file lies on a mount with the option noexec."""
        with suppress(OSError):
            return bool(os.statvfs(self.followed(inside)).f_flag & os.ST_NOEXEC)
        return False

    def exists(self, inside: str) -> bool:
        """Whether something is there, links followed within the root."""
        return self.status_of(inside) is not None

    def link_target(self, inside: str) -> str:
        """Where a symbolic link points; empty when it is none."""
        with suppress(OSError):
            return os.readlink(self.path(inside))
        return ""

    def names(self, inside: str) -> tuple[str, ...]:
        """The names in a directory, sorted; none when it cannot be read."""
        with suppress(OSError):
            return tuple(sorted(os.listdir(self._reached(inside))))
        return ()

    def status_of(self, inside: str) -> os.stat_result | None:
        """What stat(2) says, links followed within the root; None when there is nothing."""
        with suppress(OSError):
            return os.stat(self._reached(inside), follow_symlinks=self.in_place)
        return None

    def _reached(self, inside: str) -> str:
        """What to open: in place the kernel follows links itself, out of a tree it must not."""
        return inside if self.in_place else self.followed(inside)

    def followed(self, inside: str) -> str:
        """The path with all links followed; for an offline tree none leads out of it."""
        if self.in_place:
            return os.path.realpath(inside)
        here, todo, hops = "", inside.split("/"), 0
        while todo:
            part = todo.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            target = self.link_target(f"{here}/{part}")
            hops += bool(target)
            if target and hops < 40:
                todo[:0] = target.split("/")
                here = "" if target.startswith("/") else here
            else:
                here = f"{here}/{part}"
        return self.path(here)

    def user_and_machine(self) -> tuple[int, str]:
        """The effective user id and `uname -m`; both unknown to an offline tree."""
        if not self.live:
            return 0, ""
        return os.geteuid(), os.uname().machine

    def say(self, message: str) -> None:
        """Tell the user on standard error what is going on."""
        print(message, file=sys.stderr, flush=True)

    def show_progress(self, message: str) -> None:
        """Replace the last line of a terminal; nothing anywhere else. "" takes it away."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{message}", end="", file=sys.stderr, flush=True)

    def log(self, message: str) -> None:
        """The same, for users who want to know every step."""
        if self.verbose:
            self.say(message)

    def checked(self, argv: Sequence[str], seconds: float, *, hint: str = "") -> str:
        """Run a program that must succeed and return its output.

        Raises OtherProgramFailed with the end of what it said.
        """
        self.log(f"+ {shlex.join(argv)}")
        return self._successful(argv, self.run(argv, seconds), hint)

    def followed_run(self, argv: Sequence[str], seconds: float, *, hint: str = "") -> str:
        """The same for a program that takes long: on a terminal one sees how far it is."""
        if self.run is not run_program or not (self.verbose or sys.stderr.isatty()):
            return self.checked(argv, seconds, hint=hint)
        return self._successful(argv, run_program(argv, seconds, shown=True), hint)

    def _successful(self, argv: Sequence[str], done: Completed, hint: str) -> str:
        if done.status:
            said = "\n".join((done.errors or done.output).strip().splitlines()[-5:])
            raise OtherProgramFailed(
                f"`{shlex.join(argv)}` failed with status {done.status}: {said}", hint=hint
            )
        return done.output

    # -- writing: for `apply` alone ----------------------------------------------------

    def write_file(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file whole or not at all, its directories made; raises OSError."""
        import tempfile

        where = self.path(inside)
        directory = os.path.dirname(where)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".binfmt-setup-", dir=directory)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
                os.fchmod(descriptor, mode)
                file.write(text)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, where)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def remove(self, inside: str) -> None:
        """Remove one file or link, which may be gone already; raises OSError."""
        with suppress(FileNotFoundError):
            os.unlink(self.path(inside))

    def remove_empty(self, inside: str) -> None:
        """Remove a directory if nothing is in it."""
        with suppress(OSError):
            os.rmdir(self.path(inside))

    def link(self, inside: str, target: str) -> None:
        """Make a symbolic link, replacing an older one; raises OSError."""
        where = self.path(inside)
        directory, name = os.path.split(where)
        os.makedirs(directory, mode=0o755, exist_ok=True)
        temporary = os.path.join(directory, f".{name}.{os.getpid()}")
        os.symlink(target, temporary)
        os.replace(temporary, where)

    def processes_of(self, identities: Collection[tuple[int, int]]) -> list[tuple[int, str]]:
        """Running processes, as (pid, command line), whose program is one of these files.

        Compares device and inode: the text of /proc/PID/exe says nothing certain.
        """
        import psutil

        found = []
        for pid in psutil.pids():
            with suppress(OSError, psutil.Error):
                image = os.stat(f"/proc/{pid}/exe")
                if (image.st_dev, image.st_ino) in identities:
                    found.append((pid, shlex.join(psutil.Process(pid).cmdline())))
        return found

    def connect_errno(self, socket_path: str) -> int:
        """The errno of connecting to a stream socket of the file system; 0 when it listens."""
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(2.0)
            return stream.connect_ex(self.path(socket_path))

    def try_lock(self, inside: str) -> int | None:
        """Take an exclusive lock on a file, made where missing, or on a directory.

        Gives what `unlock` takes, or None when another process has it. Raises OSError.
        """
        where = self.path(inside)
        try:
            descriptor = os.open(where, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            descriptor = os.open(where, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno == errno.EAGAIN:
                return None
            raise
        return descriptor

    def unlock(self, descriptor: int) -> None:
        """Let go of a lock."""
        os.close(descriptor)


def writable_by_all(mode: int) -> bool:
    """Whether any user may change a file or a directory's names (sticky ones are safe)."""
    return bool(mode & stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)
