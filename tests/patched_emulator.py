"""A real QEMU, changed so that it hangs when a guest's argument is a certain word.

What is appended runs first, looks at the arguments, and either waits for ever or goes on to QEMU.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_ENTRY, _TABLE, _SIZE, _COUNT = 24, 32, 54, 56  # places in an ELF header of 64 bits
_LOAD, _NOTE, _READ_RUN, _PAGE = 1, 4, 5, 0x1000


def _stub(word: bytes, back: int) -> bytes:
    """For x86_64: wait in pause() if an argument starts with eight bytes, else jump `back`."""
    code = b"\x48\x8d\x5c\x24\x08"  # lea rbx, [rsp + 8]
    code += b"\x48\x8b\x33\x48\x85\xf6\x74\x1e"  # mov rsi, [rbx]; test rsi, rsi; jz go on
    code += b"\x48\xb8" + word + b"\x48\x3b\x06\x74\x06"  # mov rax, word; cmp [rsi]; je wait
    code += b"\x48\x83\xc3\x08\xeb\xe3"  # add rbx, 8; jmp to the next
    code += b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"  # mov eax, 34; syscall; again
    return code + b"\xe9" + struct.pack("<i", back - len(code) - 5)


def hang_at(word: bytes, original: Path, copy: Path) -> None:
    """Write a copy of a program for x86_64 that hangs at an argument with these eight bytes."""
    data = bytearray(original.read_bytes())
    (entry,) = struct.unpack_from("<Q", data, _ENTRY)
    (table,) = struct.unpack_from("<Q", data, _TABLE)
    size, count = struct.unpack_from("<HH", data, _SIZE)
    rows = {table + i * size: struct.unpack_from("<IIQQQQQQ", data, table + i * size)
            for i in range(count)}  # fmt: skip
    highest = max(row[3] + row[6] for row in rows.values() if row[0] == _LOAD)
    data += bytes(-len(data) % _PAGE)
    place = highest + 16 * _PAGE & -_PAGE
    stub = _stub(word, entry - place)
    note = next(at for at, row in rows.items() if row[0] == _NOTE)
    new = (_LOAD, _READ_RUN, len(data), place, place, len(stub), len(stub), _PAGE)
    struct.pack_into("<IIQQQQQQ", data, note, *new)
    struct.pack_into("<Q", data, _ENTRY, place)
    copy.write_bytes(data + stub)
    copy.chmod(0o755)
