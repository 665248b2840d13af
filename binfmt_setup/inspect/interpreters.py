"""Looking at the files that interpreters' paths lead to, through the one door."""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from binfmt_setup.emulators.store import stored_at
from binfmt_setup.model.elf import HEADER_BYTES, identify
from binfmt_setup.model.interpreter import Interpreter, InterpreterState, NotAFile
from binfmt_setup.model.reading import not_read

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.model.interpreter import OwnRights
    from binfmt_setup.system.host import Host


class Directories:
    """What is known of directories; many interpreters share them, and each is looked at once.

    `owners` are those whose files may be run; without them, root alone: an entry is run by
    everybody, whoever looks at it.
    """

    def __init__(self, host: Host, owners: Collection[int] | None = None) -> None:
        self._host = host
        self._stored: dict[str, Stored | None] = {}
        self.judge = host.path_judge(owners)

    def stored(self, directory: str) -> Stored | None:
        """What --qemu wrote down about it; a directory that others can change tells nothing."""
        if directory not in self._stored:
            trusted = self.judge.culprit(directory) is None
            self._stored[directory] = stored_at(self._host, directory) if trusted else None
        return self._stored[directory]


class Interpreters:
    """The interpreters of a host: each is looked at once, however many point to it."""

    def __init__(self, host: Host, owners: Collection[int] | None = None) -> None:
        self._host = host
        self._directories = Directories(host, owners)
        self.seen: dict[str, InterpreterState] = {}

    def at(self, path: str) -> InterpreterState:
        """What lies at a path; remembered in `seen`."""
        if path not in self.seen:
            self.seen[path] = interpreter_at(self._host, path, self._directories)
        return self.seen[path]


def interpreter_at(host: Host, path: str, directories: Directories) -> InterpreterState:
    """Look at the file that an interpreter's path leads to; what is told is that of one file."""
    try:
        if not stat.S_ISREG(host.stat(path).st_mode):
            return NotAFile()
        with host.opened(path) as file:
            status = os.fstat(file.fileno())
            elf = identify(file.read(HEADER_BYTES))
            rights = _rights(file.fileno(), status.st_mode)
    except OSError as error:
        return not_read(error)
    real = host.followed(path)
    inside = real if host.in_place else "/" + os.path.relpath(real, host.root)
    directory, _, name = inside.rpartition("/")
    stored = directories.stored(directory)
    return Interpreter(
        path,
        inside,
        elf=elf,
        executable=bool(status.st_mode & 0o111),
        culprit=directories.judge.culprit(path, whole=True),
        rights=rights,
        identity=(status.st_dev, status.st_ino),
        source=stored.source if stored else "",
        sha256=stored.files.get(name, "") if stored else "",
    )


def _rights(file: int, mode: int) -> OwnRights:
    """What gives a program rights that whoever starts it has not."""
    if mode & (stat.S_ISUID | stat.S_ISGID):
        return "set-id"
    with suppress(OSError):  # it has none, or its file system knows none
        if mode & 0o111 and os.getxattr(file, "security.capability"):
            return "capabilities"
    return ""
