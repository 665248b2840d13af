"""Looking at the files that interpreters' paths lead to, through the one door."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from binfmt_setup.emulators.store import stored_at
from binfmt_setup.model.elf import HEADER_BYTES, identify
from binfmt_setup.model.interpreter import Interpreter, InterpreterState, NotAFile
from binfmt_setup.model.reading import not_read
from binfmt_setup.system.tree import writable_by_all

if TYPE_CHECKING:
    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.system.host import Host


class Directories:
    """What is known of directories; many interpreters share them, and each is looked at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._writable: dict[str, bool] = {}
        self._stored: dict[str, Stored | None] = {}

    def writable(self, directory: str) -> bool:
        """Whether every user may change the names in it."""
        if directory not in self._writable:
            status = self._host.status_of(directory)
            self._writable[directory] = status is not None and writable_by_all(status.st_mode)
        return self._writable[directory]

    def stored(self, directory: str) -> Stored | None:
        """What --qemu wrote down about it."""
        if directory not in self._stored:
            self._stored[directory] = stored_at(self._host, directory)
        return self._stored[directory]


class Interpreters:
    """The interpreters of a host: each is looked at once, however many point to it."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._directories = Directories(host)
        self.seen: dict[str, InterpreterState] = {}

    def at(self, path: str) -> InterpreterState:
        """What lies at a path; remembered in `seen`."""
        if path not in self.seen:
            self.seen[path] = interpreter_at(self._host, path, self._directories)
        return self.seen[path]


def interpreter_at(host: Host, path: str, directories: Directories) -> InterpreterState:
    """Look at the file that an interpreter's path leads to."""
    real = host.followed(path)
    try:
        status = host.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return NotAFile()
        elf = identify(host.head(path, HEADER_BYTES))
    except OSError as error:
        return not_read(error)
    inside = real if host.in_place else "/" + os.path.relpath(real, host.root)
    directory, _, name = inside.rpartition("/")
    stored = directories.stored(directory)
    return Interpreter(
        path,
        inside,
        elf=elf,
        executable=bool(status.st_mode & 0o111),
        writable_by_others=_writable(directories, (inside, path), status.st_mode),
        identity=(status.st_dev, status.st_ino),
        source=stored.source if stored else "",
        sha256=stored.files.get(name, "") if stored else "",
    )


def _writable(directories: Directories, paths: tuple[str, str], mode: int) -> tuple[str, ...]:
    """The file and those directories above it that every user may change.

    `paths` are its real one, and the one it is known by: a link there can be replaced, too.
    """
    found = [paths[0]] if writable_by_all(mode) else []
    found += [above for above in directories_above(*paths) if directories.writable(above)]
    return tuple(found)


def directories_above(*paths: str) -> tuple[str, ...]:
    """Every directory on the way to these paths, each once."""
    above: dict[str, None] = {}
    for path in paths:
        directory = path
        while directory.strip("/"):
            directory = directory.rpartition("/")[0] or "/"
            above[directory] = None
    return tuple(above)
