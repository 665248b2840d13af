"""The files of a host: reading and writing them, in place or in a tree that nothing leads out of.

In place the kernel follows links itself: they are root's. A tree given with --root may belong to
anybody, who may change it at any moment: there everything is opened by `beneath`, and what is
written, renamed or removed is named in a directory that is held open.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from functools import cached_property

from binfmt_setup.model.reading import Absent, Unreadable, not_read
from binfmt_setup.model.records import Record
from binfmt_setup.system.made_names import made_up

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from binfmt_setup.system.beneath import Root


_CHUNK = 65536  # bytes; files below /proc/sys refuse reads of megabytes with ENOMEM
TEXT_LIMIT = 1024 * 1024
"""Bytes of a file that is read as text: no configuration is longer."""
_LONG_LIMIT = 16 * 1024 * 1024
_LONG = ("/proc/", "/lib/modules/")  # what the kernel and depmod write grows with the machine
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SYNC = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_NOT_MOVED = (errno.EBUSY, errno.EXDEV)
"""Renaming a directory: of a mount point, and of one from an image's layer (overlayfs)."""


class Tree(Record):
    """The file tree of a host."""

    root: str | os.PathLike[str] = "/"

    @property
    def in_place(self) -> bool:
        """Whether paths of the host are paths of this process."""
        return os.fspath(self.root) == "/"

    @cached_property
    def _top(self) -> Root:
        from binfmt_setup.system.beneath import Root

        return Root(self.root)

    def path(self, inside: str) -> str:
        """Where a path of the host lies for this process: for messages, and in place."""
        return os.path.join(self.root, inside.lstrip("/"))

    def open(self, inside: str, flags: int) -> int:
        """A descriptor of what is there, links followed within the tree; raises OSError."""
        if self.in_place:
            return os.open(inside, flags | os.O_CLOEXEC)
        return self._top.open(inside, flags)

    # -- reading ---------------------------------------------------------------------

    def text(self, inside: str) -> str:
        """A file's text; empty when it is missing, too long, or may not be read."""
        with suppress(OSError):
            return self.whole_text(inside)
        return ""

    def whole_text(self, inside: str) -> str:
        """The same; raises OSError, EFBIG for a text that is longer than any may be."""
        limit = _LONG_LIMIT if inside.startswith(_LONG) else TEXT_LIMIT
        data = self.head(inside, limit + 1)
        if len(data) > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return data.decode("utf-8", "surrogateescape")

    def read(self, inside: str) -> str | Absent | Unreadable:
        """A file's text, or why there is none."""
        try:
            return self.whole_text(inside)
        except OSError as error:
            return not_read(error)

    def head(self, inside: str, size: int) -> bytes:
        """The first `size` bytes of a regular file; raises OSError."""
        descriptor = self._open_regular(inside)
        try:
            chunks, missing = [], size
            while missing and (chunk := os.read(descriptor, min(missing, _CHUNK))):
                chunks.append(chunk)
                missing -= len(chunk)
        finally:
            os.close(descriptor)
        return b"".join(chunks)

    @contextmanager
    def opened(self, inside: str) -> Iterator[BinaryIO]:
        """A regular file, open for reading without a buffer; raises OSError.

        Nothing else is ever opened: a fifo would wait, a device may act on it.
        """
        if self.in_place and not stat.S_ISREG(os.stat(inside).st_mode):
            raise _not_regular()
        with os.fdopen(self._open_regular(inside), "rb", buffering=0) as file:
            yield file

    def _open_regular(self, inside: str) -> int:
        """Open a regular file for reading. A tree's devices are never opened, not even to look."""
        if not self.in_place:
            return self._opened_in_tree(inside)
        descriptor = os.open(inside, _READ)
        return _only_if(descriptor, stat.S_ISREG(os.stat(descriptor).st_mode))

    def _opened_in_tree(self, inside: str) -> int:
        seen = self._top.open(inside, os.O_PATH)
        try:
            status = os.stat(seen)
            if not stat.S_ISREG(status.st_mode):
                raise _not_regular()
            with suppress(FileNotFoundError):  # without /proc
                return os.open(f"/proc/self/fd/{seen}", _READ)
            again = self._top.open(inside, _READ)
            return _only_if(again, os.path.samestat(status, os.stat(again)))
        finally:
            os.close(seen)

    def stat(self, inside: str, *, follow: bool = True) -> os.stat_result:
        """What stat(2) says, links followed within the tree; raises OSError."""
        if self.in_place:
            return os.stat(inside, follow_symlinks=follow)
        descriptor = self._top.open(inside, os.O_PATH | (0 if follow else os.O_NOFOLLOW))
        try:
            return os.stat(descriptor)
        finally:
            os.close(descriptor)

    def looked_up(self, inside: str) -> os.stat_result:
        """The same; links that lead to themselves are left as they are: a link's is the result."""
        try:
            return self.stat(inside)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            return self.stat(inside, follow=False)

    def status_of(self, inside: str) -> os.stat_result | None:
        """What stat(2) says, links followed within the tree; None when there is nothing."""
        with suppress(OSError):
            return self.stat(inside)
        return None

    def exists(self, inside: str) -> bool:
        """Whether something is there, links followed within the tree."""
        return self.status_of(inside) is not None

    def is_there(self, inside: str) -> bool:
        """The same, or a link that leads nowhere."""
        return self.exists(inside) or bool(self.link_target(inside))

    def lets_execute(self, inside: str) -> bool:
        """Whether this user may execute a file that somebody may; of a tree nobody can tell."""
        return not self.in_place or os.access(inside, os.X_OK, effective_ids=True)

    def mount_has(self, inside: str, option: int) -> bool:
        """Whether a file lies on a mount with an option, as ST_NOEXEC."""
        with suppress(OSError):
            descriptor = self.open(inside, os.O_PATH)
            try:
                return bool(os.statvfs(descriptor).f_flag & option)
            finally:
                os.close(descriptor)
        return False

    def link_target(self, inside: str) -> str:
        """Where a symbolic link points; empty when it is none."""
        with suppress(OSError):
            if self.in_place:
                return os.readlink(inside)
            descriptor = self._top.open(inside, os.O_PATH | os.O_NOFOLLOW)
            try:
                return os.readlink("", dir_fd=descriptor)
            finally:
                os.close(descriptor)
        return ""

    def listed(self, inside: str) -> tuple[str, ...] | Absent | Unreadable:
        """The names in a directory, sorted, or why there are none."""
        try:
            return self.listed_names(inside)
        except OSError as error:
            return not_read(error)

    def names(self, inside: str) -> tuple[str, ...]:
        """The names in a directory, sorted; none when it cannot be read."""
        with suppress(OSError):
            return self.listed_names(inside)
        return ()

    def listed_names(self, inside: str) -> tuple[str, ...]:
        """The same; raises OSError."""
        if self.in_place:
            return tuple(sorted(os.listdir(inside)))
        with self.directory(inside) as descriptor:
            return tuple(sorted(os.listdir(descriptor)))

    def followed(self, inside: str) -> str:
        """The path with all links followed, as this process names it; to be told, not opened."""
        return self.path(self.followed_inside(inside))

    def followed_inside(self, inside: str) -> str:
        """The path with all links followed, as the host names it."""
        return os.path.realpath(inside) if self.in_place else self._top.followed(inside)

    # -- writing: for the transaction in `changes`, and what unpacks emulators -----------

    @contextmanager
    def directory(self, inside: str) -> Iterator[int]:
        """A directory's descriptor, to name what lies in it; raises OSError."""
        descriptor = self.open(inside, _DIRECTORY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def make_directories(self, inside: str) -> tuple[str, ...]:
        """Make a directory and what is missing above it; the ones that were made.

        Raises OSError, and leaves nothing then. Links are followed, but one that leads to
        nothing stays: what it means to lead to is not made.
        """
        made: list[str] = []
        try:
            for path in self.missing_directories(inside):
                if self._made_directory(path):
                    made.append(path)  # noqa: PERF401 - what was made so far is undone
        except BaseException:
            for directory in reversed(made):
                self.remove_empty(directory)
            raise
        return tuple(made)

    def missing_directories(self, inside: str) -> tuple[str, ...]:
        """What is not there of a directory and those above it."""
        parts = [part for part in inside.split("/") if part]
        there = len(parts)
        while there and not self.exists("/" + "/".join(parts[:there])):
            there -= 1
        return tuple("/" + "/".join(parts[:end]) for end in range(there + 1, len(parts) + 1))

    def _made_directory(self, inside: str) -> bool:
        """Make one directory; False when another run was faster. Raises OSError."""
        above, _, name = inside.rpartition("/")
        with self.directory(above or "/") as directory:
            try:
                os.mkdir(name, 0o755, dir_fd=directory)
            except FileExistsError:
                if not self.exists(inside):  # it is a link that leads to nothing
                    raise
                return False
            _sync_directory(directory)
        return True

    def write_file(self, inside: str, text: str, mode: int = 0o644) -> None:
        """Write a file whole or not at all, its directories made; raises OSError."""
        self._put(inside, _writer(text, mode))

    def make_directory_with(self, inside: str, name: str, text: str) -> None:
        """Make a directory that has a file, its owner's alone, from its first moment on.

        Raises FileExistsError where it is there already, OSError for anything else.
        """
        self._put_with_directory(inside, name, _writer(text, 0o600))

    def link(self, inside: str, target: str) -> None:
        """Make a symbolic link, replacing an older one; raises OSError."""
        self._put(inside, lambda name, directory: os.symlink(target, name, dir_fd=directory))

    def _put(self, inside: str, make: Callable[[str, int], None]) -> None:
        """Make something under a name of its own, and then give it its place.

        What is left of it after a kill has a name of our own pattern: `leftovers` knows it.
        """
        above, _, name = inside.rpartition("/")
        if not self.is_there(above or "/"):
            with suppress(FileExistsError):  # another run was faster
                self._put_with_directory(above, name, make)
                return
        self.make_directories(above)  # raises OSError for a link that leads to nothing
        temporary = made_up()
        with self.directory(above or "/") as directory:
            try:
                make(temporary, directory)
                os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=directory)
                raise
            _sync_directory(directory)

    def _put_with_directory(self, inside: str, name: str, make: Callable[[str, int], None]) -> None:
        """The same for the first file of a directory: they get their place together.

        Whoever finds an empty directory cannot tell whose it is.
        """
        above, _, last = inside.rpartition("/")
        made = self.make_directories(above)
        temporary = made_up()
        try:
            with self.directory(above or "/") as directory:
                os.mkdir(temporary, 0o755, dir_fd=directory)
                folder = -1
                try:
                    folder = os.open(temporary, _DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
                    make(name, folder)
                    _sync_directory(folder)
                    os.rename(temporary, last, src_dir_fd=directory, dst_dir_fd=directory)
                except BaseException as error:
                    with suppress(OSError):
                        os.unlink(name, dir_fd=folder)
                    with suppress(OSError):
                        os.rmdir(temporary, dir_fd=directory)
                    if isinstance(error, OSError) and error.errno == errno.ENOTEMPTY:
                        raise FileExistsError(errno.EEXIST, inside) from error
                    raise
                finally:
                    if folder >= 0:
                        os.close(folder)
                _sync_directory(directory)
        except BaseException:
            for path in reversed(made):
                self.remove_empty(path)
            raise

    def remove(self, inside: str) -> None:
        """Remove one file or link, which may be gone already; raises OSError."""
        above, _, name = inside.rpartition("/")
        with suppress(FileNotFoundError), self.directory(above or "/") as directory:
            os.unlink(name, dir_fd=directory)
            _sync_directory(directory)

    def remove_with_directory(self, inside: str) -> None:
        """Remove a file, and with it its directory where nothing else lies there; raises OSError.

        The directory gives up its name first: no kill leaves it behind, empty and nobody's.
        """
        where, _, name = inside.rpartition("/")
        above, _, last = where.rpartition("/")
        if self.names(where) != (name,) or self.link_target(where):
            self.remove(inside)
            self.remove_empty(where)  # there is more in it, or it could not be read
            return
        temporary = made_up()
        with self.directory(where) as folder, self.directory(above or "/") as directory:
            try:
                os.rename(last, temporary, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError as error:
                if error.errno not in _NOT_MOVED:
                    raise
                self.remove(inside)
                self.remove_empty(where)
                return
            try:
                os.unlink(name, dir_fd=folder)
                os.rmdir(temporary, dir_fd=directory)
            except OSError as error:
                os.rename(temporary, last, src_dir_fd=directory, dst_dir_fd=directory)
                if error.errno != errno.ENOTEMPTY:  # somebody puts a file there right now
                    raise
            _sync_directory(directory)

    def remove_empty(self, inside: str) -> None:
        """Remove a directory if nothing is in it."""
        above, _, name = inside.rpartition("/")
        with suppress(OSError), self.directory(above or "/") as directory:
            os.rmdir(name, dir_fd=directory)


def _only_if(descriptor: int, fits: bool) -> int:  # noqa: FBT001 - what was asked of it
    """A descriptor of what may be read; of anything else it is closed."""
    if not fits:
        os.close(descriptor)
        raise _not_regular()
    return descriptor


def _not_regular() -> OSError:
    return OSError(errno.EINVAL, "not a regular file")


def _writer(text: str, mode: int) -> Callable[[str, int], None]:
    """What writes a new file of a name, in a directory."""
    data = text.encode("utf-8", "surrogateescape")

    def write(name: str, directory: int) -> None:
        descriptor = os.open(name, _NEW, 0o600, dir_fd=directory)
        try:
            _write_all(descriptor, data)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    return write


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all of it: a write may take less than it is given (write(2))."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(descriptor: int) -> None:
    """Bring names to the disk, where the file system can."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
