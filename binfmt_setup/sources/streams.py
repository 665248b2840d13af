"""Reading what strangers packed: decompression and tar, forward only and within bounds.

Archives are read as root, so nothing in them decides how much memory, disk or time that
takes: every byte that comes out of a decompressor is counted, no header may be larger than
_READ_MOST, and no name in an archive ever becomes a path on the host.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import struct
import tarfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Protocol, cast

from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK = 65536  # bytes read at a time
_READ_MOST = 1024 * 1024  # bytes; no sane tar header (long names, pax records) is larger
_READS_AT_END = 64  # tarfile asks again and again at the end of a broken sparse map
_XZ_MEMORY = 256 * 1024 * 1024  # bytes; `xz -9` needs 65 MiB to unpack
_BLOCK = 512
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60


class Readable(Protocol):
    """Whatever one can read bytes from."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; empty at the end."""
        ...


class Limits(Record):
    """How much an archive may be: bytes (unpacked), bytes of one file, members, layers.

    `document` and `documents` are bytes of one JSON file, and of all of them.
    """

    total: int = 2 * 1024**3
    file: int = 256 * 1024**2
    members: int = 50_000
    layers: int = 64
    document: int = 4 * 1024**2
    documents: int = 32 * 1024**2


@dataclass
class Budget:
    """What of the limits has been used up."""

    limits: Limits
    unpacked: int = 0
    members: int = 0

    def spend(self, size: int) -> None:
        """Count unpacked bytes; raises NoEmulator beyond the limit."""
        self.unpacked += size
        if self.unpacked > self.limits.total:
            raise too_large(f"it unpacks to more than {self.limits.total >> 20} MiB")

    def count_member(self) -> None:
        """Count one member; raises NoEmulator beyond the limit."""
        self.members += 1
        if self.members > self.limits.members:
            raise too_large(f"it holds more than {self.limits.members} files")


def too_large(why: str) -> NoEmulator:
    """The error for an archive out of all proportion."""
    return NoEmulator(f"the archive is refused: {why}", code="archive-too-large",
                      hint="take an archive that holds QEMU user mode only")  # fmt: skip


def corrupt(why: str) -> NoEmulator:
    """The error for an archive that is not what it says."""
    return NoEmulator(
        f"the archive is broken: {why}", code="archive-corrupt",
        hint="get it again, and compare its SHA-256 with the one published",
    )  # fmt: skip


@contextmanager
def broken_is_corrupt() -> Iterator[None]:
    """Turn what readers of formats raise on bad input into the typed error.

    Their OSErrors carry no errno; those that do come from the kernel and pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise corrupt(str(error)) from error
    except (
        tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError,
        IndexError, struct.error, RecursionError,
    ) as error:  # fmt: skip
        raise corrupt(str(error) or type(error).__name__) from error


class Piece(io.RawIOBase):
    """The next `size` bytes of a stream as a stream of its own, hashed as they pass."""

    def __init__(
        self, source: Readable, size: int | None = None, algorithm: str = "sha256"
    ) -> None:
        self._source = source
        self._left = size
        self._hash = hashlib.new(algorithm)

    def readable(self) -> bool:
        """True, for io.BufferedReader."""
        return True

    def readinto(self, buffer: object, /) -> int:
        """Fill a buffer; fewer bytes than announced are a broken archive."""
        view = memoryview(cast("bytearray", buffer))
        wanted = min(len(view), CHUNK if self._left is None else min(self._left, CHUNK))
        data = self._source.read(wanted) if wanted else b""
        if wanted and not data and self._left is not None:
            raise EOFError("it ends in the middle of a file")
        view[: len(data)] = data
        self._hash.update(data)
        if self._left is not None:
            self._left -= len(data)
        return len(data)

    def hexdigest(self) -> str:
        """The digest of everything, what nobody has read so far included."""
        while self.read(CHUNK):
            pass
        return self._hash.hexdigest()


class _Xz(io.RawIOBase):
    """An .xz or .lzma stream, with a limit on memory, which lzma.LZMAFile does not have."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._decoder = self._new()
        self._input = b""

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=_XZ_MEMORY)

    def readable(self) -> bool:
        """True, for io.BufferedReader."""
        return True

    def readinto(self, buffer: object, /) -> int:
        """Fill a buffer with what comes out next."""
        view = memoryview(cast("bytearray", buffer))
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\0") or self._source.read(CHUNK)
                if not rest.lstrip(b"\0"):
                    return 0
                self._decoder, self._input = self._new(), rest
            elif self._decoder.needs_input and not self._input:
                self._input = self._source.read(CHUNK)
                if not self._input:
                    raise EOFError("the compressed data end too early")
            data = self._decoder.decompress(self._input, len(view))
            self._input = b""
            if data:
                view[: len(data)] = data
                return len(data)


_GZIP, _BZIP2, _ZSTD = b"\x1f\x8b", b"BZh", b"\x28\xb5\x2f\xfd"
_XZ = (b"\xfd7zXZ\0", b"]\0\0")


def is_compressed(start: bytes) -> bool:
    """Whether a file that begins so is one that `decompressed` unpacks."""
    return start.startswith((_GZIP, _BZIP2, _ZSTD, *_XZ))


def decompressed(source: Readable) -> Readable:
    """The content of a stream in any compression this Python reads, or as it is.

    Raises NoEmulator where Python cannot (Zstandard before 3.14, without backports.zstd).
    """
    buffered = io.BufferedReader(Piece(source), CHUNK)
    start = buffered.peek(6)[:6]
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=buffered)
    if start.startswith(_BZIP2):
        return bz2.BZ2File(buffered)
    if start.startswith(_XZ):
        return io.BufferedReader(_Xz(buffered), CHUNK)
    if start.startswith(_ZSTD):
        return _zstandard(buffered)
    return buffered


def _zstandard(source: Readable) -> Readable:
    """Zstandard: part of Python from 3.14 on, before that the same module on its own."""
    try:
        # The types that the checker knows are those of the oldest Python, without this module.
        from compression.zstd import ZstdError, ZstdFile  # type: ignore[import-not-found]
    except ImportError:
        try:
            from backports.zstd import ZstdError, ZstdFile
        except ImportError:
            raise NoEmulator(
                "it is compressed with Zstandard, which this Python cannot read",
                hint="run: pip install 'binfmt-setup[zstd]'   (or unpack it first: zstd -d FILE)",
                code="archive-unreadable",
            ) from None
    opened = ZstdFile(cast("IO[bytes]", source))

    class Translated(io.RawIOBase):
        def read(self, size: int = -1, /) -> bytes:
            try:
                return cast("bytes", opened.read(size))
            except ZstdError as error:
                raise corrupt(str(error)) from error

    return cast("Readable", Translated())


class Forward:
    """A stream as tarfile wants it: seek and tell, but forward only and within bounds."""

    def __init__(self, source: Readable, budget: Budget) -> None:
        self._source = source
        self._budget = budget
        self._at = 0
        self._last = b""
        self._replay = 0  # how much of `_last` is to be read again
        self._empty = 0

    def tell(self) -> int:
        """How many bytes have been passed."""
        return self._at - self._replay

    def read(self, size: int = -1, /) -> bytes:
        """Read; a header that wants a megabyte or more is no sane one."""
        if size < 0 or size > _READ_MOST:
            raise too_large(f"a header in it says that it is {size} bytes long")
        if self._replay:
            data = self._last[len(self._last) - self._replay :][:size]
            self._replay -= len(data)
            return data + (self.read(size - len(data)) if len(data) < size else b"")
        data = self._source.read(size)
        while len(data) < size and (more := self._source.read(size - len(data))):
            data += more
        self._budget.spend(len(data))
        self._empty = 0 if data or not size else self._empty + 1
        if self._empty > _READS_AT_END:
            raise EOFError("it ends in the middle of a header")
        self._at += len(data)
        self._last = data
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Skip to an offset from the start: ahead, or back into what was read last."""
        back = self._at - offset
        if whence != os.SEEK_SET or back > len(self._last):
            raise ValueError("its parts overlap")
        self._replay = max(back, 0)
        while self._at < offset and self.read(min(offset - self._at, CHUNK)):
            pass
        return self.tell()

    @property
    def ended_well(self) -> bool:
        """Whether reading stopped at the block of zeros that ends every whole tar."""
        return self._last == bytes(_BLOCK)


def tar_members(source: Readable, budget: Budget) -> Iterator[tuple[tarfile.TarInfo, Readable]]:
    """Every member of a tar with its content, which must be read before the next one.

    Raises NoEmulator for a broken one, and for names that would lead out of a directory.
    """
    with broken_is_corrupt():
        forward = Forward(source, budget)
        archive = tarfile.TarFile(fileobj=cast("IO[bytes]", forward))
        while (member := archive.next()) is not None:
            budget.count_member()
            _refuse_escape(member)
            content: Readable = io.BytesIO()
            if is_plain_file(member):
                content = cast("Readable", archive.extractfile(member))
            yield member, content
        if not forward.ended_well:
            # tarfile takes a header it does not understand for the end.
            raise corrupt("it ends in the middle, or with something that is no tar header")
        while rest := source.read(CHUNK):  # up to the checksum of the compressed stream
            budget.spend(len(rest))


def is_plain_file(member: tarfile.TarInfo) -> bool:
    """Whether a member is a regular file with all its bytes: no link, device or sparse file."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and member.sparse is None


def _refuse_escape(member: tarfile.TarInfo) -> None:
    if member.name.startswith("/") or ".." in member.name.split("/") or len(member.name) > 4096:
        raise NoEmulator(
            f"the archive is refused: it wants to write to {member.name[:200]!r}",
            hint="such names lead out of the directory they are unpacked in: do not trust it",
            code="archive-unsafe",
        )


def debian_data(source: Readable) -> Readable | None:
    """The data.tar of a .deb as it is compressed there (deb(5)); None when it is no .deb."""
    with broken_is_corrupt():
        if source.read(len(_AR_MAGIC)) != _AR_MAGIC:
            return None
        while len(header := source.read(_AR_HEADER)) == _AR_HEADER:
            if header[58:] != b"`\n":
                raise corrupt("a header in the .deb makes no sense")
            name, size = header[:16].decode("ascii").strip(" /"), int(header[48:58])
            if size < 0:
                raise corrupt("a part of the .deb has no size")
            part = Piece(source, size)
            if name.startswith("data.tar"):
                return io.BufferedReader(part, CHUNK)
            part.hexdigest()
            if size % 2:
                source.read(1)
        raise corrupt("the .deb has no data.tar")
