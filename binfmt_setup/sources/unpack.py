"""The writer of emulators that --qemu brings: whole directories, or nothing.

Files are written into a new directory beside their place, which is renamed as the last step;
whatever goes wrong before that leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from binfmt_setup.emulators.discard import remove_directories
from binfmt_setup.emulators.store import MANIFEST, UNFINISHED, manifest_text
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.system.locks import store_locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.sources.archives import Emulator
    from binfmt_setup.system.host import Host


class Unpacking:
    """A directory of emulators that is being written."""

    def __init__(self, host: Host, store: str, folder: Path, made: tuple[str, ...]) -> None:
        self._host = host
        self._store = store
        self._folder = folder
        self._names: dict[str, Path] = {}
        self.made = made

    def sink(self, path: str, name: str, pieces: Iterator[bytes]) -> None:
        """Write one emulator under a name of its own, whatever the archive calls it."""
        self._host.show_progress(f"unpacking {path[:60]}")
        where = self._folder / f"{len(self._names)}-{name}"
        with where.open("xb") as file:
            for piece in pieces:
                file.write(piece)
        self._names[path] = where

    @contextmanager
    def scratch(self) -> Iterator[IO[bytes]]:
        """A file without a name for what is only passing through."""
        with tempfile.TemporaryFile(dir=self._folder) as file:
            yield file

    def finish(self, stored: Stored, emulators: Mapping[str, Emulator]) -> None:
        """Give the files their names and modes, the manifest, and then all of it its place."""
        for emulator in emulators.values():
            final = self._folder / emulator.name
            self._names.pop(emulator.path).rename(final)
            final.chmod(0o755)
        for rest in self._names.values():
            rest.unlink()
        (self._folder / MANIFEST).write_text(manifest_text(stored), encoding="utf-8")
        (self._folder / MANIFEST).chmod(0o644)
        self._folder.chmod(0o755)
        _flush(self._folder)
        self._put_in_place(Path(self._host.path(stored.directory)))

    def _put_in_place(self, place: Path) -> None:
        if not os.path.lexists(place):
            self._folder.rename(place)
            return
        # A damaged one of the same name: its files may be pinned, so it moves out of the way.
        old = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=place.parent))
        place.rename(old)
        self._folder.rename(place)
        _empty(old)


def _flush(folder: Path) -> None:
    """Bring a directory and its files to the disk, before a name says that they are whole."""
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _empty(folder: Path) -> None:
    """Remove a directory that this module made: the files in it, and then itself."""
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@contextmanager
def unpacking(host: Host, store: str) -> Iterator[Unpacking]:
    """A new directory to be filled; gone again unless `finish` was reached.

    Raises NoEmulator when there is no room, or no right to write there.
    """
    made: tuple[str, ...] = ()
    try:
        with _explained(store):
            made = _make_directories(host, store)
            with store_locked(host, store):
                for name in host.names(store):
                    if name.startswith(UNFINISHED):  # of a run that was killed: the lock is ours
                        _empty(Path(host.path(f"{store}/{name}")))
                folder = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=host.path(store)))
                try:
                    yield Unpacking(host, store, folder, made)
                finally:
                    host.show_progress("")
                    _empty(folder)
    except BaseException:
        remove_directories(host, made)
        raise


@contextmanager
def _explained(store: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            code, hint = "no-space", "make room, or name another place: --qemu-store DIR"
        elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            code, hint = "read-only", "name a place that can be written: --qemu-store DIR"
        else:
            code, hint = "interpreter-missing", "name another place: --qemu-store DIR"
        words = os.strerror(error.errno or errno.EIO)
        raise NoEmulator(f"cannot unpack QEMU to {store}: {words}", hint=hint, code=code) from error


def _make_directories(host: Host, store: str) -> tuple[str, ...]:
    """Make a store with what is missing above it; the ones that were made."""
    missing = []
    path = store
    while path.strip("/") and not Path(host.path(path)).is_dir():
        missing.append(path)
        path = path.rpartition("/")[0]
    made: list[str] = []
    try:
        for directory in reversed(missing):
            with suppress(FileExistsError):  # another run was faster
                Path(host.path(directory)).mkdir(mode=0o755)
                made.append(directory)
    except OSError:
        remove_directories(host, tuple(made))
        raise
    return tuple(made)
