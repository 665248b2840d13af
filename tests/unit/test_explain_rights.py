"""What explain says of a set-user-ID bit: whether it counts, and for whom."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.explain.explanation import Candidate, Step
from binfmt_setup.explain.rights import rights_words
from binfmt_setup.explain.specimen import SetId, Specimen, look_at
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.system.host import Host

if TYPE_CHECKING:
    from pathlib import Path

    from binfmt_setup.explain.explanation import By

ROOTS = SetId(0, None)


def step(by: By, flags: str = "", *, nosuid: bool = False, rights: SetId | None = ROOTS) -> Step:
    found = Specimen("/x", rights=rights, nosuid=nosuid)
    entry = Entry(Registration("arm64", "/usr/bin/qemu", flags, b"x"), enabled=True)
    return Step(found, by, (Candidate(entry, "handler"),) if by == "entry" else ())


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (step("kernel"), "counts: it has the rights of user 0"),
        (step("kernel", nosuid=True), "is ignored: it lies on a mount with the option nosuid"),
        (step("script"), "is ignored, as for every script"),
        (step("entry", "OF"), "is ignored: entry arm64 has no flag C"),
        (step("entry", "OCF"), "QEMU does what QEMU_LD_PREFIX says"),
        (
            step("entry", "OCF", nosuid=True),
            "is ignored: it lies on a mount with the option nosuid",
        ),
    ],
)
def test_what_the_bit_does(seen: Step, words: str) -> None:
    (said,) = rights_words([seen])
    assert said.startswith("its set-user-ID bit ")
    assert words in said


def test_each_bit_is_told_and_a_program_without_says_nothing() -> None:
    both = step("entry", "OC", rights=SetId(4, 5))
    user, group = rights_words([both])
    assert "rights of user 4" in user
    assert group.startswith("its set-group-ID bit")
    assert "rights of group 5" in group
    assert not list(rights_words([step("entry", "OC", rights=None)]))


def test_a_native_interpreter_on_the_way_is_not_told_of() -> None:
    """A script's interpreter may be set-user-ID: that is no affair of entries."""
    assert not list(rights_words([step("script", rights=None), step("kernel")]))


def test_the_bits_are_read_as_the_kernel_reads_them(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"#!/bin/sh\n")
    me = (os.geteuid(), program.stat().st_gid)
    found = {}
    for mode in (0o755, 0o4755, 0o2755, 0o2745, 0o6755):
        program.chmod(mode)
        found[mode] = look_at(Host(), str(program)).rights
    assert found == {
        0o755: None, 0o4755: SetId(me[0], None), 0o2755: SetId(None, me[1]),
        0o2745: None, 0o6755: SetId(*me),
    }  # fmt: skip
