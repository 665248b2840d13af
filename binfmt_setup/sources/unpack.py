"""The writer of emulators that --qemu brings: whole directories, or nothing.

Files are written into a new directory beside their place, which is renamed as the last step;
whatever goes wrong before that leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from itertools import count

from binfmt_setup.emulators.discard import (
    remove_directories,
    remove_unfinished,
)
from binfmt_setup.emulators.store import (
    MANIFEST,
    UNFINISHED,
    manifest_text,
    refuse_untrusted,
)
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.system.locks import STORE_LOCK, store_locked
from binfmt_setup.system.made_names import is_made_up, made_up

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import IO

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.sources.haul import Emulator
    from binfmt_setup.system.host import Host


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Unpacking:
    """A directory of emulators that is being written.

    It and the store that it lies in are held open, and all is named in them: whatever happens to
    the path meanwhile, nothing is written elsewhere.
    """

    def __init__(self, host: Host, store: int, made: tuple[str, ...]) -> None:
        self._host = host
        self._store = store
        self._name = made_up(UNFINISHED)
        self._folder = -1
        self._names: dict[str, str] = {}
        self._numbers = count()
        self.made = made

    def open(self) -> None:
        """Make the directory; from here on `close` has something to do."""
        os.mkdir(self._name, 0o700, dir_fd=self._store)
        self._folder = os.open(self._name, _DIRECTORY, dir_fd=self._store)

    def sink(self, path: str, name: str, pieces: Iterator[bytes]) -> None:
        """Write one emulator under a name of its own, whatever the archive calls it."""
        self._host.show_progress(f"unpacking {path[:60]}")
        unique = f"{next(self._numbers)}-{name}"
        with self._new_file(unique, 0o755) as file:
            for piece in pieces:
                file.write(piece)
        if path in self._names:  # a later layer brings it anew
            os.unlink(self._names[path], dir_fd=self._folder)
        self._names[path] = unique

    @contextmanager
    def scratch(self) -> Iterator[IO[bytes]]:
        """A file without a name for what is only passing through."""
        with self._new_file("scratch", 0o600) as file:
            os.unlink("scratch", dir_fd=self._folder)
            yield file

    @contextmanager
    def _new_file(self, name: str, mode: int) -> Iterator[IO[bytes]]:
        with os.fdopen(os.open(name, _NEW, 0o600, dir_fd=self._folder), "w+b") as file:
            os.fchmod(file.fileno(), mode)
            yield file

    def finish(self, stored: Stored, emulators: Mapping[str, Emulator], *, known: bool) -> None:
        """Give the files their names and then their place: a new one, or a `known` directory."""
        here = self._folder
        for emulator in emulators.values():
            unique = self._names.pop(emulator.path)
            os.rename(unique, emulator.name, src_dir_fd=here, dst_dir_fd=here)
        for rest in self._names.values():
            os.unlink(rest, dir_fd=here)
        with self._new_file(MANIFEST, 0o644) as file:
            file.write(manifest_text(stored).encode())
        os.fchmod(here, 0o755)
        _flush(here)
        place = stored.directory.rpartition("/")[2]
        if known:
            self._add_to(place, [emulator.name for emulator in emulators.values()])
        else:
            self._put_in_place(place)
        os.fsync(self._store)

    def _add_to(self, place: str, names: Sequence[str]) -> None:
        """Move files into a directory that is there: each is whole, or not there yet.

        What says which files there are comes first: of a run that is killed in between, the next
        one finds out what is lacking, and nothing lies there that uninstall does not know. Files
        that are pinned stay what they are; only their names go to others.
        """
        descriptor = os.open(place, _DIRECTORY, dir_fd=self._store)
        try:
            for name in (MANIFEST, *names):
                os.rename(name, name, src_dir_fd=self._folder, dst_dir_fd=descriptor)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _put_in_place(self, name: str) -> None:
        try:
            os.stat(name, dir_fd=self._store, follow_symlinks=False)
        except FileNotFoundError:
            self._rename(self._name, name)
        else:
            # None that can be trusted. Its files may be pinned, so it moves out of the way.
            old = made_up(UNFINISHED)
            self._rename(name, old)
            self._rename(self._name, name)
            self._sweep(old)

    def _sweep(self, old: str) -> None:
        """Remove what was in the way; what somebody else made of it stays, under the new name."""
        with suppress(OSError):
            remove_unfinished(self._store, old)
        with suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            os.unlink(old, dir_fd=self._store)
            return
        with suppress(FileNotFoundError):
            os.stat(old, dir_fd=self._store, follow_symlinks=False)
            self._host.say(f"{old} in the store was in the way, is not ours, and stays there")

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self._store, dst_dir_fd=self._store)

    def close(self) -> None:
        """Remove what did not get its place."""
        if self._folder >= 0:
            os.close(self._folder)
        remove_unfinished(self._store, self._name)


def _flush(folder: int) -> None:
    """Bring a directory and its files to the disk, before a name says that they are whole."""
    for name in os.listdir(folder):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    os.fsync(folder)


@contextmanager
def unpacking(host: Host, store: str) -> Iterator[Unpacking]:
    """A new directory to be filled; gone again unless `finish` was reached.

    Raises NoEmulator when there is no space, no right to write there, or others have that right.
    """
    refuse_untrusted(host, store)
    made: tuple[str, ...] = ()
    try:
        with _explained(store):
            made = _made_store(host, store)
            with (
                store_locked(host, store, made) as made,
                host.directory(store) as directory,
            ):
                # Of a run that was killed: the lock is ours.
                for name in os.listdir(directory):
                    if not is_made_up(name, UNFINISHED):
                        continue
                    with suppress(OSError):
                        remove_unfinished(directory, name)
                new = Unpacking(host, directory, made)
                try:
                    new.open()
                    yield new
                finally:
                    host.show_progress("")
                    new.close()
    except BaseException:
        remove_directories(host, made)
        raise


def _made_store(host: Host, store: str) -> tuple[str, ...]:
    """Make a store that is not there; the directories that were made, which its lock names.

    So the run after one that was killed knows whose they are.
    """
    missing = host.missing_directories(store)
    if missing:
        try:
            host.make_directory_with(store, STORE_LOCK, "\n".join(missing))
        except FileExistsError:  # another run was faster, and knows what it made
            return ()
    return missing


@contextmanager
def _explained(store: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            code, hint = "no-space", "free some space, or name another place: --qemu-store DIR"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            code, hint = "read-only", "name a place that can be written: --qemu-store DIR"
        else:
            code, hint = "interpreter-missing", "name another place: --qemu-store DIR"
        words = os.strerror(error.errno or errno.EIO)
        raise NoEmulator(f"cannot unpack QEMU to {store}: {words}", hint=hint, code=code) from error
