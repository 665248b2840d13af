"""Hostile archives: names that lead out, bombs, claims of exabytes, and damage anywhere."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import struct
import sys
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.sources import streams
from tests.packing import (
    Item,
    deb,
    docker_save,
    emulators,
    image,
    program,
    tar,
)
from tests.unpacked import refused, taken, zstd

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "name", ["/usr/bin/qemu-arm", "../qemu-arm", "usr/../../qemu-arm", "x/..", "a" * 5000]
)
def test_names_that_lead_out_refuse_the_whole_archive(name: str) -> None:
    error = refused(tar(Item("usr/bin/qemu-arm", program()), Item(name, program())))
    assert error.code == "archive-unsafe"


def test_a_name_in_a_pax_header_counts_too() -> None:
    data = tar(Item("x" * 200 + "/../../../etc/qemu-arm", program()), format_=tarfile.PAX_FORMAT)
    assert refused(data).code == "archive-unsafe"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_bombs_end_at_the_limit(pack: Callable[[bytes], bytes]) -> None:
    bomb = tar(Item("zeros", bytes(9 << 20)))
    assert refused(pack(bomb)).code == "archive-too-large"


def test_a_bomb_behind_the_last_file_of_a_layer() -> None:
    layer = emulators("arm") + bytes(9 << 20)
    assert refused(docker_save(layer)).code == "archive-too-large"


def test_a_single_file_beyond_its_limit() -> None:
    data = tar(Item("usr/bin/qemu-arm", program() + bytes(2 << 20)))
    assert refused(data).code == "archive-too-large"


def test_too_many_members_and_too_many_layers() -> None:
    assert refused(tar(*(Item(f"f{n}") for n in range(501)))).code == "archive-too-large"
    assert refused(image(*[emulators("arm")] * 5).layout()).code == "archive-too-large"


def header(name: bytes, size: bytes, kind: bytes) -> bytes:
    """A tar header with a right checksum and any size."""
    block = bytearray(name.ljust(100, b"\0") + b"0000644\0" + bytes(16) + size.ljust(12, b"\0"))
    block += b"00000000000\0" + b" " * 8 + kind
    block = block.ljust(257, b"\0") + b"ustar  \0"
    block = block.ljust(512, b"\0")
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


HUGE = b"\x80" + struct.pack(">11s", (1 << 60).to_bytes(11, "big"))


@pytest.mark.parametrize("kind", [b"L", b"K", b"x", b"g"])
def test_a_header_that_claims_exabytes_costs_no_memory(kind: bytes) -> None:
    assert refused(header(b"long", HUGE, kind) + bytes(4096)).code == "archive-too-large"


@pytest.mark.parametrize("kind", [b"0", b"5", b"S"])
def test_a_member_that_claims_exabytes(kind: bytes) -> None:
    error = refused(header(b"usr/bin/qemu-arm", HUGE, kind) + bytes(4096))
    nothing = "image-without-match" if kind == b"5" else "archive-corrupt"
    assert error.code in (nothing, "archive-too-large")


def test_sparse_files_are_not_taken() -> None:
    block = header(b"usr/bin/qemu-arm", b"00000001000", b"S")
    archive = block + program()[:512] + bytes(1024)
    assert refused(archive).code in ("image-without-match", "archive-corrupt")


def test_a_sparse_map_without_end_does_not_hang() -> None:
    records = b"".join(
        f"{len(text) + 3} {text}\n".encode()
        for text in ("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=qemu-arm",
                     "GNU.sparse.realsize=99")
    )  # fmt: skip
    pax = header(b"p", f"{len(records):011o}".encode(), b"x") + records.ljust(512, b"\0")
    body = b"999999999\n".ljust(512, b"1")
    data = pax + header(b"usr/bin/qemu-arm", b"00000001000", b"0") + body
    assert refused(data).code == "archive-corrupt"


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstd, deb])
def test_cut_anywhere_it_is_broken_and_not_half_taken(pack: Callable[[bytes], bytes]) -> None:
    padded = emulators("arm", "mips")
    end = -(-len(padded.rstrip(b"\0")) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    whole = pack(padded[: end + 2 * tarfile.BLOCKSIZE])
    assert set(taken(whole)) == {"arm", "mips"}
    for part in (
        1,
        20,
        len(whole) // 3,
        len(whole) // 2,
        len(whole) - 1100 if pack is bytes else len(whole) - 9,
    ):
        assert refused(whole[:part]).code in ("archive-corrupt", "image-without-match")


def test_a_broken_header_in_the_middle_is_not_taken_for_the_end() -> None:
    data = bytearray(emulators("arm", "mips"))
    at = data.index(b"usr/bin/qemu-mips")
    data[at] ^= 1
    assert refused(bytes(data)).code == "archive-corrupt"


def test_random_damage_never_surprises() -> None:
    """Whatever bytes are flipped: it is taken whole, or refused with the typed error."""
    chance = random.Random(7)  # noqa: S311 - repeatable, not secret
    originals = [
        gzip.compress(emulators("arm"), 1), deb(lzma.compress(emulators("arm"))),
        image(emulators("arm")).layout(), docker_save(emulators("arm")), emulators("arm"),
    ]  # fmt: skip
    for _ in range(300):
        data = bytearray(chance.choice(originals))
        for _ in range(chance.choice((1, 1, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        with suppress(NoEmulator):
            taken(bytes(data))


def test_without_zstandard_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "backports.zstd", None)
    error = refused(b"\x28\xb5\x2f\xfd" + bytes(100))
    assert "binfmt-setup[zstd]" in error.hint


def test_xz_that_wants_gigabytes_of_memory() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
    data = lzma.compress(b"x", filters=filters)
    assert streams._XZ_MEMORY < 1 << 30
    assert refused(data).code == "archive-corrupt"
