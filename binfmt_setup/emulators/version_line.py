"""QEMU's word for its version, read out of the program: nothing has to be run for it.

QEMU's `--version` prints a line that the compiler joins from constants (linux-user/main.c,
`version`), so that the line stands in the program as it is printed. All 105 emulators of
Debian 12, 13 and unstable have it once.
"""

from __future__ import annotations

from binfmt_setup.model.elf import HEADER_BYTES, end_of_code, section_table

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from binfmt_setup.system.host import Host


_SIGN = b" version "
_NAME_BYTES = 40  # "qemu-" and the longest target's name, with space to spare
_VERSION_BYTES = 160  # a version with the package's in parentheses
OVERLAP = _NAME_BYTES + len(_SIGN) + _VERSION_BYTES
"""Bytes of a piece to look at again with the next one: the line may lie across both."""
_PIECE = 256 * 1024
_NEAR = 2 * 1024 * 1024  # bytes behind the code to look at first
_MOST = 96 * 1024 * 1024  # bytes; the largest emulator has 20 MB
_MOST_HEADERS = 64 * 1024  # bytes; an emulator has some 40 sections of 64 bytes


def version_in(text: bytes) -> str:
    """The version, as in `7.2.22 (Debian …)`; empty when the line is not in this text."""
    at = text.find(_SIGN)
    while at >= 0:
        _, sign, name = text[max(0, at - _NAME_BYTES) : at].rpartition(b"qemu-")
        start = at + len(_SIGN)
        said, end, _ = text[start : start + _VERSION_BYTES].partition(b"\n")
        named = sign and name.replace(b"_", b"").isalnum()
        if named and end and said[:1].isdigit() and b"\0" not in said:
            return said.decode("ascii", "replace")
        at = text.find(_SIGN, at + 1)
    return ""


def version_among(pieces: Iterable[bytes]) -> str:
    """The version in a program that is read piece by piece, no further than needed."""
    before = b""
    for piece in pieces:
        if said := version_in(before + piece):
            return said
        before = piece[-OVERLAP:]
    return ""


def version_in_file(host: Host, path: str) -> str:
    """The version of the emulator at a path; empty when it does not tell or may not be read.

    Never by running it: who may write to the file would run as whoever asks.
    """
    try:
        return version_among(_pieces(host, path))
    except OSError:
        return ""


def _pieces(host: Host, path: str) -> Iterator[bytes]:
    """The program from where its code ends, as the line is just behind; then all of it."""
    with host.opened(path) as file:
        head = file.read(HEADER_BYTES)
        start, size = section_table(head)
        sections = b""
        if start < _MOST and file.seek(start):
            sections = file.read(min(size, _MOST_HEADERS))
        behind = end_of_code(head, sections)
        if behind < _MOST and file.seek(behind):
            yield from _up_to(file, _NEAR)
            yield b"\0" * OVERLAP  # what follows is not what comes next in the file
        file.seek(0)
        yield from _up_to(file, _MOST)


def _up_to(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left > 0 and (piece := file.read(_PIECE)):
        left -= len(piece)
        yield piece
