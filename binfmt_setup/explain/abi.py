"""What an ELF file says of its ABI, in words: machine, flags, attributes, loader.

pyelftools reads what lies behind the header. It trusts its input: offsets lead anywhere,
counts may be 2**64, some of its loops end only at an exact position. So it gets a stream
that holds the file's bounds and has a budget (`BoundedStream`), and whatever it raises
ends in `ElfDetails.problem`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, cast

from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO

    from elftools.elf.elffile import ELFFile

    from binfmt_setup.model.elf import ElfFacts

BYTES_LIMIT = 4 * 1024 * 1024
"""Bytes read of one file at most; program headers and attributes need a few thousand."""
READS_LIMIT = 20_000
"""Reads of one file at most: a header that makes pyelftools go in circles ends here."""
_TABLE_LIMIT = 2048  # section headers looked at
_ET_EXEC, _ET_DYN = 2, 3
_TYPES = {
    0: "no type",
    1: "object file or kernel module",
    _ET_EXEC: "program",
    4: "core dump",
}

# e_machine values: include/uapi/linux/elf-em.h; the names are those people use.
_MACHINES = {
    2: "SPARC", 3: "x86 (32-bit)", 4: "m68k", 8: "MIPS", 15: "PA-RISC", 18: "SPARC v8+",
    20: "PowerPC", 21: "PowerPC 64", 22: "IBM Z (s390x)", 40: "ARM", 42: "SuperH",
    43: "SPARC v9", 62: "x86-64", 76: "CRIS", 92: "OpenRISC", 94: "Xtensa", 113: "Nios II",
    164: "Hexagon", 183: "AArch64", 189: "MicroBlaze", 243: "RISC-V", 247: "BPF",
    258: "LoongArch", 0x9026: "Alpha", 0xBAAB: "MicroBlaze",
}  # fmt: skip


class ElfDetails(Record):
    """What an ELF file says beyond its header.

    `attributes` are (name, value) pairs of .ARM.attributes or .riscv.attributes; `problem` says
    why reading stopped early.
    """

    attributes: tuple[tuple[str, str], ...] = ()
    problem: str = ""


class BudgetSpent(Exception):
    """A file made its reader ask for more than any sane file needs."""


class BoundedStream(io.RawIOBase):
    """A file's bytes, never beyond its end, and no more of them than the budget allows."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file = file
        self._size = size
        self._at = 0
        self._bytes = BYTES_LIMIT
        self._reads = READS_LIMIT

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, which may lie beyond the end; nothing is read there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer at the end; raises BudgetSpent."""
        left = max(0, self._size - self._at)
        wanted = left if size < 0 else min(size, left)
        self._reads -= 1
        self._bytes -= wanted
        if self._reads < 0 or self._bytes < 0:
            raise BudgetSpent("its headers want more to be read than any program needs")
        if not wanted:
            return b""
        self._file.seek(self._at)
        data = self._file.read(wanted) or b""
        self._at += len(data)
        return data


def machine_words(machine: int) -> str:
    """The name of an e_machine value."""
    if machine in _MACHINES:
        return _MACHINES[machine]
    from elftools.elf.enums import ENUM_E_MACHINE

    names = (name for name, value in ENUM_E_MACHINE.items() if value == machine)
    name = next(names, "")
    return name.removeprefix("EM_") if name else f"machine {machine}"


def osabi_words(osabi: int) -> str:
    """The name of an EI_OSABI value; programs for Linux have 0 or 3."""
    known = {0: "System V", 3: "GNU/Linux", 9: "FreeBSD", 12: "OpenBSD", 2: "NetBSD"}
    return known.get(osabi, f"OS ABI {osabi}")


def type_words(elf: ElfFacts, *, loader: bool = False) -> str:
    """What kind of ELF file it is; one that is told by its loader is a program."""
    if elf.elf_type == _ET_DYN:
        return "position-independent program" if loader else "static-pie or shared library"
    return _TYPES.get(elf.elf_type, f"type {elf.elf_type:#x}")


def abi_words(elf: ElfFacts) -> tuple[str, ...]:
    """The ABI that e_flags name for this machine; empty where they say nothing."""
    decode = _DECODERS.get(elf.machine)
    return tuple(decode(elf)) if decode else ()


def _arm(elf: ElfFacts) -> Iterator[str]:
    """ELF for the Arm Architecture (IHI 0044), section 5.2."""
    version = elf.flags >> 24
    yield f"EABI {version}" if version else "no EABI (old ABI)"
    if elf.flags & 0x400:
        yield "hard-float"
    elif elf.flags & 0x200:
        yield "soft-float"
    if elf.flags & 0x0080_0000:
        yield "BE-8"


def _mips(elf: ElfFacts) -> Iterator[str]:
    """MIPS psABI and binutils' include/elf/mips.h."""
    if elf.bits == 64:
        yield "n64"
    else:
        yield "n32" if elf.flags & 0x20 else "o32"
    levels = ("I", "II", "III", "IV", "V", "32", "64", "32r2", "64r2", "32r6", "64r6")
    level = elf.flags >> 28
    yield f"MIPS {levels[level]}" if level < len(levels) else f"MIPS level {level}"
    if elf.flags & 0x400:
        yield "NaN 2008"


def _riscv(elf: ElfFacts) -> Iterator[str]:
    """RISC-V ELF psABI, "File Header"."""
    floats = ("soft-float", "single-float", "double-float", "quad-float")
    yield floats[(elf.flags & 0x6) >> 1]
    if elf.flags & 0x1:
        yield "compressed instructions (C)"
    if elf.flags & 0x8:
        yield "16 registers (E)"
    if elf.flags & 0x10:
        yield "total store order"


def _ppc64(elf: ElfFacts) -> Iterator[str]:
    """OpenPOWER ELFv2 ABI, 4.1; 0 is left by old tools and by files that fit both."""
    version = elf.flags & 0x3
    yield {0: "ELF ABI not said", 1: "ELFv1"}.get(version, f"ELFv{version}")


def _loongarch(elf: ElfFacts) -> Iterator[str]:
    """LoongArch ELF psABI, "e_flags"."""
    floats = {1: "soft-float", 2: "single-float", 3: "double-float"}
    base = "lp64" if elf.bits == 64 else "ilp32"
    yield f"{base}, {floats.get(elf.flags & 0x7, 'float ABI not said')}"
    yield f"object ABI v{(elf.flags & 0xC0) >> 6}"


def _sparc(elf: ElfFacts) -> Iterator[str]:
    """SPARC Compliance Definition 2.4.1: memory models of v9."""
    yield ("total store order", "partial store order", "relaxed memory order")[
        min(elf.flags & 0x3, 2)
    ]


_DECODERS: dict[int, Callable[[ElfFacts], Iterator[str]]] = {
    8: _mips, 21: _ppc64, 40: _arm, 43: _sparc, 243: _riscv, 258: _loongarch,
}  # fmt: skip


def read_details(file: BinaryIO, size: int) -> ElfDetails:
    """The attributes of an ELF file, within the budget; never raises."""
    from elftools.elf.elffile import ELFFile

    stream = BoundedStream(file, size)
    problem = ""
    attributes: tuple[tuple[str, str], ...] = ()
    try:
        elf = ELFFile(cast("IO[bytes]", stream))
        attributes = _attributes(elf)
    except Exception as error:
        # pyelftools raises a dozen kinds, from AssertionError to UnicodeDecodeError, for
        # headers that lead nowhere; which one says nothing to anybody.
        problem = str(error) if isinstance(error, BudgetSpent) else "its headers lead nowhere"
    return ElfDetails(attributes, problem)


def _attributes(elf: ELFFile) -> tuple[tuple[str, str], ...]:
    """The build attributes of the whole file, from the section that holds them."""
    for index in range(min(elf.num_sections(), _TABLE_LIMIT)):
        section = elf.get_section(index)
        if section["sh_type"] in ("SHT_ARM_ATTRIBUTES", "SHT_RISCV_ATTRIBUTES"):
            return tuple(_attribute_pairs(section))
    return ()


def _attribute_pairs(section: object) -> Iterator[tuple[str, str]]:
    """Those attributes that say which programs and hosts fit together."""
    from elftools.elf.descriptions import describe_attr_tag_arm, describe_attr_tag_riscv
    from elftools.elf.sections import ARMAttributesSection, RISCVAttributesSection

    arm = isinstance(section, ARMAttributesSection)
    if not isinstance(section, ARMAttributesSection | RISCVAttributesSection):
        return
    wanted = _ARM_TAGS if arm else _RISCV_TAGS
    for subsection in section.iter_subsections():
        for part in subsection.iter_subsubsections("TAG_FILE"):
            for found in part.iter_attributes():
                if found.tag in wanted:
                    describe = describe_attr_tag_arm if arm else describe_attr_tag_riscv
                    words = describe(found.tag, found.value, found.extra or "")
                    yield wanted[found.tag], words.partition(": ")[2].strip('"')


_ARM_TAGS = {
    "TAG_CPU_NAME": "CPU", "TAG_CPU_ARCH": "architecture", "TAG_FP_ARCH": "floating point",
    "TAG_ADVANCED_SIMD_ARCH": "SIMD", "TAG_ABI_VFP_ARGS": "float arguments",
}  # fmt: skip
_RISCV_TAGS = {"TAG_ARCH": "architecture", "TAG_STACK_ALIGN": "stack alignment"}
