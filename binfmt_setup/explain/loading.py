"""What loaders look at: the kernel's (fs/binfmt_elf.c) and QEMU's (linux-user/elfload.c).

The kernel's own takes a file by its first four bytes, type, machine and the size of its program
headers, and reads it as its machine's class and byte order, whatever the file says of itself. QEMU
looks at class, byte order and version as well, and at the size of the header.
"""

from __future__ import annotations

import struct

from binfmt_setup.model.records import Record, replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.explain.abi import BoundedStream
    from binfmt_setup.model.targets import ByteOrder, Target


ELF = b"\x7fELF"
_TABLE_BYTES = 65536  # of program headers that the kernel takes; QEMU takes more
_MOST_BYTES = 1 << 20  # that are read
_PATH_BYTES = 4096  # PATH_MAX, the limit for PT_INTERP
_PT_LOAD, _PT_INTERP, _PT_GNU_STACK = 1, 3, 0x6474E551
_ET_EXEC, _ET_DYN = 2, 3
_EV_CURRENT = 1
_HEADER = {32: 52, 64: 64}
_ROW = {32: 32, 64: 56}
_LOOK_AT_CLASS = frozenset((8, 15, 22, 243))
"""Machines whose kernel looks at EI_CLASS after all (elf_check_arch in arch/*/include/asm/elf.h):
MIPS, PA-RISC, s390, RISC-V."""
_TAKEN_TOO = {3: (6,)}
"""What a kernel takes for its own beside its machine: EM_486 (arch/x86/include/asm/elf.h)."""


class Refusal(Record):
    """Why a loader does not take a file; `errno` is empty where a program starts and fails."""

    words: str
    errno: str = "ENOEXEC"
    cut: bool = False


_ROWS_CUT = Refusal("its program headers are cut off", cut=True)


class Segment(Record):
    """What a program header wants loaded: `size` bytes of the file, in `memory` bytes."""

    kind: int
    flags: int
    offset: int
    size: int
    address: int
    memory: int
    align: int


class Loading(Record):
    """What a loader reads of a file when it takes it for one of this class and byte order.

    `loader` is PT_INTERP without its NUL, None for a static program. `ends` is the byte behind
    the last that a loadable segment wants from the file, `loaded` are those segments, `stack`
    whether there is a word on the stack. `sections` is the byte behind the table of sections, which
    ends most files, 0 without one. `problem` stands in the way of all.
    """

    bits: int
    order: ByteOrder
    ident: bytes
    elf_type: int
    machine: int
    entry: int
    header_size: int
    row_size: int
    rows: int
    sections: int = 0
    loader: str | None = None
    ends: int = 0
    loaded: tuple[Segment, ...] = ()
    stack: bool = False
    problem: Refusal | None = None

    @property
    def starts(self) -> bool:
        """Whether it starts at an address that it has."""
        return bool(self.entry) and any(
            s.address <= self.entry < s.address + s.memory for s in self.loaded
        )

    @property
    def is_program(self) -> bool:
        """Whether its type is one that is executed."""
        return self.elf_type in (_ET_EXEC, _ET_DYN)

    @property
    def has_rows(self) -> bool:
        """Whether it has program headers of a number and size that a loader takes."""
        fits = self.plausible and 0 < self.rows * self.row_size <= _TABLE_BYTES
        return fits and self.problem != _ROWS_CUT

    @property
    def plausible(self) -> bool:
        """Whether its program headers have the size that they have in this class."""
        return self.row_size == _ROW[self.bits]


def load(file: BoundedStream, head: bytes, bits: int, order: ByteOrder) -> Loading:
    """Read a file as loaders do; raises OSError."""
    end, word = ("<" if order == "little" else ">"), ("Q" if bits == 64 else "I")
    whole = head[: _HEADER[bits]].ljust(_HEADER[bits], b"\0")
    fields = struct.unpack_from(f"{end}HHI3{word}I5H", whole, 16)
    elf_type, machine, _, entry, table, sections, _, header_size, row_size, rows, *section = fields
    seen = Loading(
        bits, order, head[:16], elf_type, machine, entry, header_size, row_size, rows,
        sections=sections + section[0] * section[1] if sections else 0,
    )  # fmt: skip
    if row_size != _ROW[bits] or not 0 < rows * row_size <= _MOST_BYTES:
        return seen
    return _with_segments(seen, file, end, table)


def _with_segments(seen: Loading, file: BoundedStream, end: str, table: int) -> Loading:
    """The first PT_INTERP, which is the one that loaders take, and what is loaded where."""
    length = seen.rows * _ROW[seen.bits]
    data = _read(file, table, length)
    if len(data) < length:
        return replace(seen, problem=_ROWS_CUT)
    rows = tuple(_rows(data, end, seen.bits))
    named = next((row for row in rows if row.kind == _PT_INTERP), None)
    loader, problem = _named_loader(file, named.offset, named.size) if named else (None, None)
    loaded = tuple(row for row in rows if row.kind == _PT_LOAD)
    return replace(
        seen, loader=loader, problem=problem, loaded=loaded,
        ends=max((row.offset + row.size for row in loaded if row.size), default=0),
        stack=any(row.kind == _PT_GNU_STACK for row in rows),
    )  # fmt: skip


def _rows(data: bytes, end: str, bits: int) -> Iterator[Segment]:
    """Each program header; p_flags stands elsewhere in each class."""
    layout = f"{end}IIQQQQQQ" if bits == 64 else f"{end}8I"
    for row in struct.iter_unpack(layout, data):
        kind, flags, offset, address, _, size, memory, align = (
            row if bits == 64 else (row[0], row[6], *row[1:6], row[7])
        )
        yield Segment(kind, flags, offset, size, address, memory, align)


def _named_loader(file: BoundedStream, offset: int, size: int) -> tuple[str | None, Refusal | None]:
    if not 2 <= size <= _PATH_BYTES:
        return None, Refusal(f"the name of its loader is {size} bytes long")
    raw = _read(file, offset, size)
    if len(raw) < size:
        return None, Refusal("the name of its loader is cut off", "EIO", cut=True)
    if raw[-1:] != b"\0":
        return None, Refusal("the name of its loader has no end")
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape"), None


def _read(file: BoundedStream, offset: int, size: int) -> bytes:
    """So many bytes from a place, fewer at the end; offsets lead anywhere."""
    if offset >= 1 << 63:
        return b""
    file.seek(offset)
    return file.read(size) or b""


def is_for(loading: Loading, native: Target) -> bool:
    """Whether a kernel of this machine takes a file for one of its own programs."""
    if loading.machine not in (native.machine, *_TAKEN_TOO.get(native.machine, ())):
        return False
    wanted = native.magic[4:6]
    return native.machine not in _LOOK_AT_CLASS or loading.ident[4:6] == wanted


def kernel_refusal(loading: Loading, rows: int = _TABLE_BYTES) -> Refusal | None:
    """Why the kernel's own loader turns a file of its machine down; None if it does not.

    It takes so many bytes of program headers.
    """
    if not loading.is_program:
        return Refusal(f"it is no program but {type_words(loading.elf_type)}")
    if loading.row_size != _ROW[loading.bits]:
        return Refusal(
            f"its program headers are {loading.row_size} bytes each where {_ROW[loading.bits]} "
            "are right"
        )
    if not 0 < loading.rows * loading.row_size <= rows:
        return Refusal(f"it has {loading.rows} program headers")
    return loading.problem


def qemu_refusal(loading: Loading) -> Refusal | None:
    """Why QEMU ends at once when an entry gives it a file; None if it does not."""
    if loading.ident[6:7] != bytes([_EV_CURRENT]):
        return Refusal("its header's version is none that QEMU takes", "")
    if loading.header_size != _HEADER[loading.bits]:
        return Refusal(
            f"its header says that it is {loading.header_size} bytes long: QEMU does not take it",
            "",
        )
    refused = kernel_refusal(loading, rows=_MOST_BYTES)
    return None if refused is None else Refusal(refused.words, "", refused.cut)


def type_words(elf_type: int) -> str:
    """An ELF file that is no program, with its article."""
    words = {0: "a file of no type", 1: "an object file or kernel module", 4: "a core dump"}
    return words.get(elf_type, f"a file of type {elf_type:#x}")
