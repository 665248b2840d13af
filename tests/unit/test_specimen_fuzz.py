"""Hostile files: a clear answer to every one, with bounded reading, whatever their headers say."""

from __future__ import annotations

import io
import json
import random
import struct
import tracemalloc
from pathlib import Path

import pytest

from binfmt_setup.explain.abi import BYTES_LIMIT, READS_LIMIT
from binfmt_setup.explain.reasoning import explain
from binfmt_setup.explain.specimen import Specimen, examined
from binfmt_setup.model.facts import HostFacts, KernelFacts
from binfmt_setup.model.mountinfo import BinfmtMount
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import TARGETS
from binfmt_setup.report.explanation_text import explanation_text
from binfmt_setup.report.formats.interface import Showing, format_named
from binfmt_setup.report.result import ExplainResult
from binfmt_setup.report.style import Style
from tests.own_namespace import PROBES
from tests.report_schema import assert_fits

INPUTS = 1500
SEED = 20240229


class Counted(io.BytesIO):
    """A file that remembers how much was read of it, and how often."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.calls = 0
        self.given = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.calls += 1
        self.given += len(data)
        return data


def host() -> HostFacts:
    """An amd64 host with an entry for every target."""
    entries = tuple(
        Entry(Registration(t.entry_name, f"/q/{t.name}", "OF", t.magic, t.mask), enabled=True)
        for t in TARGETS
        if t.name not in ("x86_64", "i386")
    )
    return HostFacts(
        root="/", kernel=KernelFacts("6.1", "x86_64"),
        registry=RegistryFacts(
            BinfmtMount("mounted"), enabled=True, entries=entries, listing=None
        ),
    )  # fmt: skip


def answer(data: bytes, facts: HostFacts, *, validate: bool) -> Counted:
    """Run the whole of explain over a file's content."""
    file = Counted(data)
    found = examined("/x", file, len(data))
    missing = Specimen("", "missing")
    seen = explain(
        facts, "/x", look=lambda path: found if path == "/x" else missing,
        look_on_host=lambda _: missing, prove=lambda _: None,
    )  # fmt: skip
    text = explanation_text(seen, Style())
    *_, verdict = (line for line in text.splitlines() if not line.startswith(" "))
    assert verdict.startswith(("runs: ", "does not run: "))
    assert all(c.isprintable() or c == "\n" for c in text)
    if validate:
        assert_fits(
            json.loads(format_named("json").report(ExplainResult(facts, seen=seen), Showing()))
        )
    return file


def mutated(seed: bytes, chance: random.Random) -> bytes:
    """A probe with a few bytes changed, most of them where headers and tables are."""
    data = bytearray(seed[: chance.choice((20, 52, 64, 200, 4096, len(seed), len(seed)))])
    at_tables = [0, 16, 28, 40, len(data) - 400]
    for _ in range(chance.randint(1, 8)):
        start = max(0, chance.choice(at_tables))
        at = min(len(data) - 1, start + chance.randrange(64))
        width = chance.choice((1, 2, 4, 8))
        value = chance.choice((0, 1, 0x7F, 0xFF, chance.getrandbits(8)))
        data[at : at + width] = bytes([value]) * len(data[at : at + width])
    return bytes(data)


def test_mutated_programs_get_an_answer_within_the_budget() -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same files in every run
    seeds = [path.read_bytes() for path in sorted(PROBES.iterdir()) if path.name.islower()]
    seeds += [with_attributes(), b"#! /bin/sh -e\n" * 20, Path("/bin/sh").read_bytes()[:20000]]
    facts = host()
    for number in range(INPUTS):
        data = mutated(chance.choice(seeds), chance)
        file = answer(data, facts, validate=number % 40 == 0)
        assert file.calls <= READS_LIMIT + 1
        assert file.given <= BYTES_LIMIT + 4096


def header(**fields: int) -> bytearray:
    """A 64-bit little-endian RISC-V header of 64 bytes with these fields."""
    values = {
        "e_type": 2, "e_machine": 243, "e_version": 1, "e_entry": 0x10000, "e_phoff": 64,
        "e_shoff": 0, "e_flags": 0, "e_ehsize": 64, "e_phentsize": 56, "e_phnum": 0,
        "e_shentsize": 64, "e_shnum": 0, "e_shstrndx": 0,
    } | fields  # fmt: skip
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    return bytearray(ident + struct.pack("<HHIQQQIHHHHHH", *values.values()))


def section(kind: int, offset: int = 0, size: int = 0, info: int = 0) -> bytes:
    """A section header."""
    return struct.pack("<IIQQQQIIQQ", 0, kind, 0, 0, offset, size, 0, info, 0, 0)


def with_attributes(body: bytes = b"", size: int | None = None) -> bytes:
    """A RISC-V file with an attributes section."""
    if not body:
        file_part = b"\x05rv64gc\0" + b"\x04\x10"
        part = b"\x01" + struct.pack("<I", 5 + len(file_part)) + file_part
        vendor = b"riscv\0"
        body = b"A" + struct.pack("<I", 4 + len(vendor) + len(part)) + vendor + part
    data = header(e_shoff=64, e_shnum=2)
    at = 64 + 128
    data += section(0) + section(0x70000003, at, len(body) if size is None else size)
    return bytes(data + body)


HOSTILE = {
    "2**64 sections": bytes(header(e_shoff=64)) + section(0, size=2**64 - 1) * 4,
    "2**32 segments": bytes(header(e_shoff=64, e_phnum=0xFFFF, e_phoff=64))
    + section(0, info=2**32 - 1) * 4,
    "sections of no size": bytes(header(e_shoff=64, e_shnum=0xFFFF, e_shentsize=0)) + section(0),
    "names that lead in circles": bytes(header(e_shoff=64, e_shnum=0xFF, e_shstrndx=0))
    + section(3, 64, 2**63) * 300,
    "a table beyond everything": bytes(header(e_phoff=2**64 - 1, e_phnum=9, e_shoff=2**64 - 8,
                                              e_shnum=9)),
    "attributes without an end": with_attributes(b"A" + bytes(4) + b"riscv\0" * 3, 2**63),
    "attributes of no length": with_attributes(b"A" + struct.pack("<I", 0) + b"riscv\0\x01" +
                                               bytes(4000)),
    "a number without an end": with_attributes(b"A" + struct.pack("<I", 90000) + b"riscv\0\x01"
                                               + struct.pack("<I", 90000) + b"\xff" * 90000),
    "a loader of 2**60 bytes": bytes(header(e_phnum=1, e_phoff=64))
    + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, 2**60, 0, 0) + b"/\xff\x1b[2J" * 50,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_cost_no_more_than_the_budget(name: str) -> None:
    facts = host()
    answer(HOSTILE[name], facts, validate=True)  # imports do not count
    tracemalloc.start()
    file = answer(HOSTILE[name], facts, validate=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert file.calls <= READS_LIMIT + 1
    assert peak < 16 * 1024 * 1024


def test_attributes_are_read_where_they_are_sound() -> None:
    data = with_attributes()
    found = examined("/x", io.BytesIO(data), len(data))
    assert found.details is not None
    assert found.details.attributes == (
        ("architecture", "rv64gc"), ("stack alignment", "16-bytes"),
    )  # fmt: skip
