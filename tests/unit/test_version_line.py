"""The version of an emulator is read out of its file."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from pathlib import Path

import pytest

from binfmt_setup.emulators.version_line import OVERLAP, version_among, version_in, version_in_file
from binfmt_setup.model.elf import end_of_code
from binfmt_setup.system.host import Host

LINE = b"qemu-aarch64_be version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright (c)"
EMULATORS = sorted(Path("/usr/bin").glob("qemu-*-static"))


@pytest.mark.skipif(not EMULATORS, reason="qemu-user-static is not installed")
def test_it_is_what_the_emulator_itself_says() -> None:
    for emulator in EMULATORS:
        said = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True)
        words = said.stdout.partition(" version ")[2].splitlines()[0]
        assert version_in_file(Host(), str(emulator)) == words, emulator


@pytest.mark.parametrize("cut", range(0, len(LINE), 7))
def test_the_line_may_lie_across_two_pieces(cut: int) -> None:
    before, behind = b"\0" * 1000 + LINE[:cut], LINE[cut:] + b"\0" * 1000
    assert version_among([before, behind]) == "10.0.2 (Debian 1:10.0.2+ds-2)"


@pytest.mark.parametrize(
    "text",
    [b"", b"qemu version 1\n", b"qemu-arm version 1.2", b"qemu-arm version %s\n",
     b"qemu-arm version 1\0.2\n", b"qemu-a b version 1.2\n", b" version " * 3],
)  # fmt: skip
def test_other_words_are_no_version(text: bytes) -> None:
    assert not version_in(text)


def test_what_is_said_before_does_not_hide_it() -> None:
    assert version_in(b"a version of\0" + LINE) == "10.0.2 (Debian 1:10.0.2+ds-2)"
    assert len(LINE) < OVERLAP


def test_no_file_makes_it_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    start = time.monotonic()
    for path in (tmp_path / "fifo", tmp_path / "missing", tmp_path, Path("/dev/zero")):
        assert not version_in_file(Host(), str(path))
    assert time.monotonic() - start < 5


@pytest.mark.skipif(not EMULATORS, reason="qemu-user-static is not installed")
def test_little_of_the_file_is_read() -> None:
    for emulator in EMULATORS:
        before = bytes_read()
        assert version_in_file(Host(), str(emulator))
        assert bytes_read() - before < emulator.stat().st_size / 5, emulator


def bytes_read() -> int:
    """What this process has read so far."""
    line = Path("/proc/self/io").read_text(encoding="ascii").splitlines()[0]
    return int(line.removeprefix("rchar: "))


@pytest.mark.parametrize("place", [64, 5_000, 300_000, 3_000_000])
@pytest.mark.parametrize("code_end", [0, 4_096, 2_900_000, 10_000_000, 2**63])
def test_it_is_found_wherever_it_stands(place: int, code_end: int, tmp_path: Path) -> None:
    """Also in front of the code, and where the section header says nonsense."""
    text = program(code_end)
    place = max(place, 64)
    text[place : place + len(LINE)] = LINE
    (tmp_path / "qemu").write_bytes(text)
    assert end_of_code(bytes(text[:4096]), bytes(text[-64:])) == code_end
    assert version_in_file(Host(), str(tmp_path / "qemu")) == "10.0.2 (Debian 1:10.0.2+ds-2)"


def program(code_end: int, size: int = 4_000_000, table: int | None = None) -> bytearray:
    """A program of one section, whose header stands last; it says that the code ends there."""
    start = size - 64 if table is None else table
    text = bytearray(size)
    text[:64] = struct.pack("<4s5B7xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 0, 2, 62, 1, 0, 0,
                            start, 0, 64, 56, 0, 64, 1, 0)  # fmt: skip
    text[-64:] = struct.pack("<IIQQQQIIQQ", 0, 1, 6, 0, 0, code_end, 0, 0, 0, 0)
    return text


def test_where_code_and_words_are_one_segment_little_is_read(tmp_path: Path) -> None:
    """As linkers put it together for arm64, s390x, ppc64el and riscv64."""
    text = program(20_000_000, 40_000_000)
    text[20_200_000 : 20_200_000 + len(LINE)] = LINE
    (tmp_path / "qemu").write_bytes(text)
    before = bytes_read()
    assert version_in_file(Host(), str(tmp_path / "qemu"))
    assert bytes_read() - before < 1024 * 1024


@pytest.mark.parametrize("table", [0, 2**63, 2**64 - 1])
def test_a_section_table_that_is_nowhere_does_not_hide_it(table: int, tmp_path: Path) -> None:
    text = program(2_900_000, table=table)
    text[5_000 : 5_000 + len(LINE)] = LINE
    (tmp_path / "qemu").write_bytes(text)
    assert version_in_file(Host(), str(tmp_path / "qemu"))
