"""What is taken out of an archive made for a test, or why it is refused."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.errors import ExitCode, NoEmulator
from binfmt_setup.sources.archives import read_archive
from binfmt_setup.sources.streams import Limits
from tests.packing import AMD64

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = Limits(total=8 << 20, file=1 << 20, members=500, layers=4)


def taken(data: bytes, limits: Limits = SMALL) -> dict[str, bytes]:
    """The emulators in an archive, by target, as they were written."""
    written: dict[str, bytes] = {}

    def sink(path: str, name: str, pieces: Iterator[bytes]) -> None:
        del name
        written[path] = b"".join(pieces)

    found = read_archive(io.BytesIO(data), AMD64, sink, limits).emulators()
    return {target: written[emulator.path] for target, emulator in found.items()}


def refused(data: bytes, limits: Limits = SMALL) -> NoEmulator:
    with pytest.raises(NoEmulator) as caught:
        taken(data, limits)
    assert caught.value.exit_code == ExitCode.NO_EMULATOR
    return caught.value


def zstd(data: bytes) -> bytes:
    try:
        from compression.zstd import compress  # type: ignore[import-not-found]  # from 3.14
    except ImportError:
        from backports.zstd import compress
    return bytes(compress(data))
