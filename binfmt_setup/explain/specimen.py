"""One file as the kernel would look at it, read in bounds whatever it is.

The kernel decides by the first 256 bytes. Of an ELF file pyelftools reads more, within
the budget of `abi.BoundedStream`; nothing but a regular file is ever opened.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, BinaryIO, Literal

from binfmt_setup.explain.abi import ElfDetails, read_details
from binfmt_setup.model.elf import HEADER_BYTES, ElfFacts, identify
from binfmt_setup.model.records import Record, replace

if TYPE_CHECKING:
    from binfmt_setup.system.host import Host

WINDOW = 256
"""Bytes of a program that decide what runs it: BINPRM_BUF_SIZE in the kernel."""

Kind = Literal[
    "file", "missing", "unreadable", "directory", "device", "fifo", "socket", "link-loop"
]

_KINDS: dict[int, Kind] = {
    stat.S_IFDIR: "directory",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFLNK: "link-loop",
}


class Script(Record):
    """What `#!` asks for: an interpreter and at most one argument."""

    interpreter: str
    argument: str = ""


class SetId(Record):
    """Whose rights a set-user-ID or set-group-ID program asks for."""

    user: int | None
    group: int | None


class Specimen(Record):
    """What is known of a file that shall run.

    `head` is what the kernel looks at, shorter for a short file; `elf` and `details` are
    there for ELF files only. `executable` is the mode's word, `noexec` the mount's, as is `nosuid`
    about `rights`.
    """

    path: str
    kind: Kind = "file"
    size: int = 0
    head: bytes = b""
    elf: ElfFacts | None = None
    details: ElfDetails | None = None
    executable: bool = True
    noexec: bool = False
    rights: SetId | None = None
    nosuid: bool = False

    @property
    def script(self) -> Script | None:
        """What its `#!` line asks for; None for anything the kernel takes for no script."""
        return script_of(self.head)

    @property
    def starts_as_elf(self) -> bool:
        """Whether it has an ELF file's first four bytes, be it whole or not."""
        return self.head[:4] == b"\x7fELF"

    @property
    def cut_off(self) -> bool:
        """Whether it ends before its own header or before what its segments want loaded."""
        wanted = self.details.ends if self.details else 0
        return self.starts_as_elf and (self.size < wanted or (self.elf is None and self.size < 64))


def look_at(host: Host, path: str) -> Specimen:
    """Read what decides about a file of a host; answers for everything, raises nothing."""
    try:
        status = host.looked_up(path)
    except OSError as error:
        return Specimen(path, _kind_of_error(error.errno))
    except ValueError:  # a NUL byte, or what no file system can name
        return Specimen(path, "missing")
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "file")
    if kind != "file":
        return Specimen(path, kind)
    executable, noexec = bool(status.st_mode & 0o111), host.mount_has(path, os.ST_NOEXEC)
    rights = _rights(status)
    try:
        with host.opened(path) as file:
            found = examined(path, file, status.st_size)
    except OSError as error:
        found = Specimen(path, _kind_of_error(error.errno), status.st_size)
    nosuid = rights is not None and host.mount_has(path, os.ST_NOSUID)
    return replace(found, executable=executable, noexec=noexec, rights=rights, nosuid=nosuid)


def _rights(status: os.stat_result) -> SetId | None:
    """Whose rights its bits ask for; the group's needs the group's x as well (fs/exec.c)."""
    user = status.st_uid if status.st_mode & stat.S_ISUID else None
    both = stat.S_ISGID | stat.S_IXGRP
    group = status.st_gid if status.st_mode & both == both else None
    return None if user is None and group is None else SetId(user, group)


def examined(path: str, file: BinaryIO, size: int) -> Specimen:
    """What the content of a file says; raises OSError when it cannot be read."""
    start = file.read(HEADER_BYTES) or b""
    elf = identify(start)
    details = read_details(file, size) if elf else None
    return Specimen(path, "file", size, start[:WINDOW], elf, details)


def _kind_of_error(number: int | None) -> Kind:
    if number == errno.ELOOP:
        return "link-loop"
    return (
        "missing" if number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG) else "unreadable"
    )


def script_of(head: bytes) -> Script | None:
    """Read a `#!` line as load_script() does (fs/binfmt_script.c, Linux 5.1 and newer).

    A line longer than the window counts only when the interpreter's path ends within it.
    """
    if head[:2] != b"#!":
        return None
    window = head[:WINDOW].ljust(WINDOW, b"\0")
    line, newline, _ = window[2:].partition(b"\n")
    if not newline:
        line = window[2 : WINDOW - 1]
        path = line.lstrip(b" \t")
        if not path or not any(byte in b" \t\0" for byte in path):
            return None
    line = line.strip(b" \t").partition(b"\0")[0]
    parts = line.replace(b"\t", b" ").split(b" ", 1)
    interpreter = parts[0]
    if not interpreter:
        return None
    argument = line[len(interpreter) :].strip(b" \t")
    return Script(*(part.decode("utf-8", "surrogateescape") for part in (interpreter, argument)))
