"""One file as the kernel would look at it, read in bounds whatever it is.

The kernel decides by the first 256 bytes. Of an ELF file its program headers are read, and by
pyelftools, within the budget of `abi.BoundedStream`, its attributes; nothing but a regular file is
ever opened.
"""

from __future__ import annotations

import errno
import os
import stat

from binfmt_setup.explain.abi import BoundedStream, ElfDetails, read_details
from binfmt_setup.explain.loading import ELF, Loading, load
from binfmt_setup.explain.scripts import WINDOW, Script, script_of
from binfmt_setup.model.elf import HEADER_BYTES, ElfFacts, identify
from binfmt_setup.model.records import Record, replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO, Literal

    from binfmt_setup.model.targets import ByteOrder, Target
    from binfmt_setup.system.host import Host

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
_NONE: Mapping[tuple[int, str], Loading] = {}
_ORDERS: tuple[ByteOrder, ...] = ("little", "big")
_LAYOUTS = tuple((bits, order) for bits in (64, 32) for order in _ORDERS)


class SetId(Record):
    """Whose rights a set-user-ID or set-group-ID program asks for."""

    user: int | None
    group: int | None


class Specimen(Record):
    """What is known of a file that shall run.

    `head` is what the kernel looks at, shorter for a short file; `elf` and `details` are there
    for ELF files only, and for those that start like one what a loader of each class and byte
    order would read of it (`loadings`). `executable` is the mode's word, `noexec` the mount's, as
    is `nosuid` about `rights`.
    `errno` is the name of the error with which it cannot even be looked at; `boots` says what
    kind of system starts it, where one does before there is a kernel.
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
    loadings: Mapping[tuple[int, str], Loading] = _NONE
    errno: str = "ENOENT"
    boots: str = ""

    @property
    def script(self) -> Script | None:
        """What its `#!` line asks for; None for anything the kernel takes for no script."""
        return script_of(self.head)

    @property
    def starts_as_elf(self) -> bool:
        """Whether it has an ELF file's first four bytes, be it whole or not."""
        return self.head[:4] == ELF

    @property
    def loading(self) -> Loading | None:
        """What a loader reads of it that believes what its header says."""
        return self.loadings.get((self.elf.bits, self.elf.order)) if self.elf else None

    @property
    def loader(self) -> str:
        """The program that loads it (PT_INTERP); empty for a static one, and for no program."""
        return (self.loading.loader or "") if self.loading else ""

    @property
    def cut_off(self) -> bool:
        """Whether it ends within its own header."""
        return self.starts_as_elf and self.size < 64

    def as_one_of(self, target: Target) -> Loading | None:
        """What a kernel reads of it that runs this target's programs."""
        return self.loadings.get((target.bits, target.order))


def look_at(host: Host, path: str) -> Specimen:
    """Read what decides about a file of a host; answers for everything, raises nothing."""
    try:
        status = host.looked_up(path or ".")
    except OSError as error:
        return _not_there(path, error)
    except ValueError:  # a NUL byte, or what no file system can name
        return Specimen(path, "missing")
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "file")
    if kind != "file":
        return Specimen(path, kind)
    if path.endswith(("/", "/.")):  # as the kernel says, and a tree does not
        return Specimen(path, "missing", errno="ENOTDIR")
    noexec = host.mount_has(path, os.ST_NOEXEC)
    rights = _rights(status)
    executable = bool(status.st_mode & 0o111) and (noexec or host.lets_execute(path))
    try:
        with host.opened(path) as file:
            found = examined(path, file, status.st_size)
    except OSError as error:
        found = replace(_not_there(path, error), size=status.st_size)
    nosuid = rights is not None and host.mount_has(path, os.ST_NOSUID)
    return replace(found, executable=executable, noexec=noexec, rights=rights, nosuid=nosuid)


def _rights(status: os.stat_result) -> SetId | None:
    """Whose rights its bits ask for; the group's needs the group's x as well (fs/exec.c)."""
    user = status.st_uid if status.st_mode & stat.S_ISUID else None
    both = stat.S_ISGID | stat.S_IXGRP
    group = status.st_gid if status.st_mode & both == both else None
    return None if user is None and group is None else SetId(user, group)


def _not_there(path: str, error: OSError) -> Specimen:
    number = error.errno or errno.EIO
    kind: Kind = "unreadable"
    if number == errno.ELOOP:
        kind = "link-loop"
    elif number in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
        kind = "missing"
    return Specimen(path, kind, errno=errno.errorcode.get(number, str(number)))


def examined(path: str, file: BinaryIO, size: int) -> Specimen:
    """What the content of a file says; raises OSError when it cannot be read."""
    start = file.read(HEADER_BYTES) or b""
    elf = identify(start)
    details = read_details(file, size) if elf else None
    found = Specimen(path, "file", size, start[:WINDOW], elf, details, boots=_boots(start))
    if start[:4] != ELF:
        return found
    return replace(found, loadings=_loadings(BoundedStream(file, size), start, elf))


def _loadings(
    file: BoundedStream, start: bytes, elf: ElfFacts | None
) -> dict[tuple[int, str], Loading]:
    """What loaders of each kind read: of those that would take it, and of the one it is for."""
    own = (elf.bits, elf.order) if elf else None
    found = {}
    for bits, order in _LAYOUTS:
        seen = load(file, start, bits, order)
        if seen.machine and (seen.plausible or (bits, order) == own):
            found[bits, str(order)] = seen
    return found


# Where a boot program says so: the PE header is found at 0x3c, its subsystem 92 bytes into it
# (Microsoft's PE format); Documentation/arch/{arm64,riscv,x86}/boot* tell of the kernels.
_EFI = range(10, 14)
_KERNELS = ((56, b"ARM\x64", "AArch64"), (56, b"RSC\x05", "RISC-V"), (0x202, b"HdrS", "x86"))


def _boots(start: bytes) -> str:
    """What a file is that firmware starts, with its article; empty for everything else."""
    for at, magic, machine in _KERNELS:
        if start[at : at + len(magic)] == magic:
            return f"a Linux kernel for {machine}"
    header = int.from_bytes(start[0x3C:0x40], "little")
    if start[:2] != b"MZ" or start[header : header + 4] != b"PE\0\0":
        return ""
    subsystem = int.from_bytes(start[header + 92 : header + 94], "little")
    return "an EFI program" if subsystem in _EFI else ""


def in_path(host: Host, name: str, where: str | None = None) -> str:
    """The file that a shell starts for a name without a slash; empty when there is none.

    It is looked for in PATH, or in the directories that are given.
    """
    path = os.environ.get("PATH", os.defpath) if where is None else where
    for folder in path.split(":"):
        there = f"{folder or '.'}/{name}"
        found = host.status_of(there)
        if found is not None and stat.S_ISREG(found.st_mode) and found.st_mode & 0o111:
            return there
    return ""
