"""Own ELF identification against pyelftools, and against garbage."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from binfmt_setup.model.elf import HEADER_BYTES, bytes_match, identify
from tests.own_namespace import PROBES

PROGRAMS = [path for path in sorted(PROBES.iterdir()) if path.name.islower()]
PROGRAMS += [Path(p) for p in (sys.executable, "/bin/sh", "/usr/bin/env") if Path(p).exists()]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_identify_agrees_with_pyelftools(path: Path) -> None:
    facts = identify(path.read_bytes()[:HEADER_BYTES])
    assert facts is not None
    with path.open("rb") as stream:
        theirs = ELFFile(stream)
        assert facts.bits == theirs.elfclass
        assert (facts.order == "little") == theirs.little_endian
        assert facts.flags == theirs.header.e_flags
        loaders = [s for s in theirs.iter_segments() if s.header.p_type == "PT_INTERP"]
        assert facts.static == (not loaders)


@pytest.mark.parametrize("path", PROGRAMS[:-3], ids=lambda path: path.name)
def test_a_probe_is_told_as_its_target(path: Path) -> None:
    facts = identify(path.read_bytes())
    assert facts is not None
    assert facts.target is not None
    assert facts.target.name == path.name.partition("-")[0]


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    identify(data)
    identify(b"\x7fELF\x02\x01\x01" + data)
    identify(b"\x7fELF\x01\x02\x01" + data)


def test_what_is_no_whole_header_is_nothing() -> None:
    whole = (PROBES / "aarch64").read_bytes()
    assert identify(whole[:64]) is not None
    assert identify(whole[:63]) is None
    assert identify(b"") is None
    assert identify(b"#!/bin/sh\n".ljust(64)) is None
    assert identify(whole[:4] + b"\x03" + whole[5:]) is None


def test_matching_looks_at_the_masked_bits_only() -> None:
    assert bytes_match(b"ab", b"aX", b"\xff\x00")
    assert not bytes_match(b"ab", b"aX", b"")
    assert bytes_match(b"", b"\0", b"\xff")
