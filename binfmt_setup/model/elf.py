"""ELF header facts: what a program is, told from its first bytes.

`identify` reads the few bytes that decide whether a file is a static program of some
target. It is own code on purpose: it looks at untrusted files as root, needs 64 bytes
and the program headers, and costs a hundredth of a full parser (see docs/performance.md).
"""

from __future__ import annotations

import struct

from binfmt_setup.model.records import Record
from binfmt_setup.model.targets import TARGETS, Target

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.targets import ByteOrder


HEADER_BYTES = 4096
"""How much of a file `identify` wants: the ELF header and, in all sane files, the program
headers, which linkers put right behind it."""

_PT_INTERP = 3
_SHT_NOBITS = 8  # a section that takes no place in the file
_SHF_EXECINSTR = 4
_CLASS_64 = 2
_LITTLE = 1


class ElfFacts(Record):
    """What the ELF header of a program says.

    `static` is true when no program header asks for a loader (PT_INTERP);
    `header` holds the first 64 bytes, for matching against entries.
    """

    bits: int
    order: ByteOrder
    machine: int
    elf_type: int
    osabi: int
    flags: int
    static: bool
    header: bytes

    @property
    def target(self) -> Target | None:
        """The target whose magic and mask this program fits."""
        for target in TARGETS:
            if (self.machine ^ target.machine) & target.machine_mask:
                continue  # most of them, at a fraction of what the whole match costs
            if bytes_match(self.header, target.magic, target.mask):
                return target
        return None


def bytes_match(data: bytes, magic: bytes, mask: bytes) -> bool:
    """Whether `data` starts with `magic` in the bits of `mask`.

    Short data is padded with zeros, as the kernel's 256-byte buffer is
    (fs/binfmt_misc.c, search_binfmt_handler).
    """
    if not mask:
        return data.startswith(magic) or data.ljust(len(magic), b"\0") == magic
    padded = data[: len(magic)].ljust(len(magic), b"\0")
    # All bytes at once, as one large number each: ten times as fast as one by one.
    seen, wanted, bits = (int.from_bytes(part, "big") for part in (padded, magic, mask))
    return (seen ^ wanted) & bits == 0


def identify(data: bytes) -> ElfFacts | None:
    """The facts of a program from its first bytes; None when it is no whole ELF header."""
    if len(data) < 52 or data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] not in (1, 2):
        return None
    wide = data[4] == _CLASS_64
    if wide and len(data) < 64:
        return None
    order: ByteOrder = "little" if data[5] == _LITTLE else "big"
    end = "<" if order == "little" else ">"
    elf_type, machine = struct.unpack_from(end + "HH", data, 16)
    (flags,) = struct.unpack_from(end + "I", data, 48 if wide else 36)
    return ElfFacts(
        bits=64 if wide else 32,
        order=order,
        machine=machine,
        elf_type=elf_type,
        osabi=data[7],
        flags=flags,
        static=not _wants_loader(data, end, wide=wide),
        header=data[:64],
    )


def section_table(data: bytes) -> tuple[int, int]:
    """Where the section headers are in the file, from its first bytes, and how long: in bytes."""
    found = identify(data)
    if found is None:
        return 0, 0
    wide, end = found.bits == 64, "<" if found.order == "little" else ">"
    (start,) = struct.unpack_from(end + ("Q" if wide else "I"), data, 40 if wide else 32)
    size, count = struct.unpack_from(end + "HH", data, 58 if wide else 46)
    return start, size * count


def end_of_code(data: bytes, sections: bytes) -> int:
    """Where the machine code ends in the file, from its first bytes and its section headers.

    0 where they do not tell. Linkers put what a program says, its read-only data, right behind. On
    many architectures both are one segment, so the program headers do not tell them apart.
    """
    found = identify(data)
    if found is None:
        return 0
    wide, end = found.bits == 64, "<" if found.order == "little" else ">"
    header = struct.Struct(end + ("4xIQ8xQQ" if wide else "4xII4xII"))
    (step,) = struct.unpack_from(end + "H", data, 58 if wide else 46)
    ends = [0]
    for at in range(0, len(sections) - header.size + 1, max(step, header.size)):
        kind, flags, start, size = header.unpack_from(sections, at)
        if kind != _SHT_NOBITS and flags & _SHF_EXECINSTR:
            ends.append(start + size)
    return max(ends)


def _wants_loader(data: bytes, end: str, *, wide: bool) -> bool:
    """Whether a program header within `data` is PT_INTERP."""
    kinds = (
        struct.unpack_from(end + "I", data, at) for at in _program_headers(data, end, wide=wide)
    )
    return (_PT_INTERP,) in kinds


def _program_headers(data: bytes, end: str, *, wide: bool) -> Iterator[int]:
    """Where program headers start, as far as at least their first word is within `data`."""
    (table,) = struct.unpack_from(end + ("Q" if wide else "I"), data, 32 if wide else 28)
    size, count = struct.unpack_from(end + "HH", data, 54 if wide else 42)
    for index in range(count):
        at = table + index * size
        if at + 4 > len(data) or size == 0:
            return
        yield at
