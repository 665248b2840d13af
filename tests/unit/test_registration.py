"""Registrations in their three spellings; what the kernel rejects is rejected here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binfmt_setup.model.registration import (
    MAX_LINE,
    BadRegistration,
    Registration,
    canonical_flags,
    parse_entry,
    parse_line,
)

NAMES = st.text(
    st.characters(codec="ascii", min_codepoint=33, exclude_characters="/"), min_size=3, max_size=20
)
PATHS = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\0", exclude_categories=("Cs", "Cc")),
    min_size=1,
    max_size=60,
)


@st.composite
def registrations(draw: st.DrawFn) -> Registration:
    magic = draw(st.binary(min_size=1, max_size=60))
    mask = draw(st.one_of(st.just(b""), st.binary(min_size=len(magic), max_size=len(magic))))
    flags = canonical_flags("".join(draw(st.sets(st.sampled_from("POCF")))))
    offset = draw(st.integers(0, 256 - len(magic)))
    name = draw(NAMES.filter(lambda n: n not in ("register", "status", "...", "..")))
    return Registration(name, "/" + draw(PATHS), flags, magic, mask, offset)


@given(registrations())
def test_a_line_reads_back_as_the_registration(registration: Registration) -> None:
    assert parse_line(registration.line) == registration


@given(registrations(), st.booleans())
def test_an_entry_reads_back_as_the_registration(registration: Registration, enabled: bool) -> None:  # noqa: FBT001 - hypothesis passes it
    text = _as_the_kernel_shows_it(registration, enabled=enabled)
    entry = parse_entry(registration.name, text)
    assert entry.enabled == enabled
    assert entry.registration == registration


def _as_the_kernel_shows_it(registration: Registration, *, enabled: bool) -> str:
    """fs/binfmt_misc.c, entry_status()."""
    lines = ["enabled" if enabled else "disabled", f"interpreter {registration.interpreter}"]
    lines.append(f"flags: {registration.flags}")
    lines.append(f"offset {registration.offset}")
    lines.append(f"magic {registration.magic.hex()}")
    if registration.mask:
        lines.append(f"mask {registration.mask.hex()}")
    return "\n".join(lines) + "\n"


def test_extension_entries() -> None:
    line = ":jar:E::jar::/usr/bin/jexec:"
    registration = parse_line(line)
    assert registration.line == line
    assert registration.matches(b"", "a.jar")
    assert not registration.matches(b"", "jar")
    shown = "enabled\ninterpreter /usr/bin/jexec\nflags: \nextension .jar\n"
    assert parse_entry("jar", shown).registration == registration


def test_c_implies_o_as_the_kernel_reads_it_back() -> None:
    assert parse_line(":x:M::a::/i:FC").flags == "OCF"


def test_keys_of_newer_kernels_are_kept_and_do_no_harm() -> None:
    entry = parse_entry("x", "enabled\ninterpreter /i\nflags: FZ\noffset 0\nmagic 61\nnew thing\n")
    assert entry.flags == "FZ"
    assert entry.unknown == ("new thing",)


@pytest.mark.parametrize(
    "line",
    [
        "", ":", "no delimiters", ":a:M::61:/i:", ":a:X::a::/i:", ":a:M::::/i:", ":a:M::a:::",
        ":register:M::a::/i:", ":status:M::a::/i:", ":.:M::a::/i:", ":..:M::a::/i:",
        ":a/b:M::a::/i:", "::M::a::/i:", ":a:M:-1:a::/i:", ":a:M:x:a::/i:", ":a:M:256:a::/i:",
        ":a:M::ab:a:/i:", ":a:M::a::/i:Q", ":a:E::::/i:", ":a:E::x/y::/i:",
        f":{'n' * 256}:M::a::/i:", f":a:M::a::/{'i' * MAX_LINE}:",
    ],
)  # fmt: skip
def test_what_the_kernel_rejects_is_no_registration(line: str) -> None:
    with pytest.raises(BadRegistration):
        parse_line(line)


@pytest.mark.parametrize(
    "text",
    ["", "maybe\n", "enabled\n", "enabled\ninterpreter /i\n", "enabled\nmagic zz\ninterpreter /i\n",
     "enabled\ninterpreter /i\nmagic 6162\nmask ff\n",
     "enabled\ninterpreter /i\noffset x\nmagic 61\n"],
)  # fmt: skip
def test_garbage_in_an_entry_is_no_registration(text: str) -> None:
    with pytest.raises(BadRegistration):
        parse_entry("x", text)


def test_patterns_are_equal_when_they_take_the_same_programs() -> None:
    plain = Registration("a", "/i", magic=b"\x7fELF", mask=b"\xff\xff\xff\xff")
    unmasked = Registration("b", "/j", magic=b"\x7fELF")
    longer = Registration("c", "/k", magic=b"\x7fELF\x99", mask=b"\xff\xff\xff\xff\x00")
    narrower = Registration("d", "/l", magic=b"\x7fELF\x02", mask=b"\xff\xff\xff\xff\xff")
    assert plain.pattern == unmasked.pattern == longer.pattern != narrower.pattern


def test_a_delimiter_is_chosen_that_no_field_holds() -> None:
    registration = Registration("a", "/odd:pa|th", magic=b"a")
    assert registration.line.startswith(",")
    assert parse_line(registration.line) == registration


def test_short_programs_are_padded_with_zeros_for_matching() -> None:
    assert Registration("a", "/i", magic=b"ab\0", mask=b"\xff\xff\xff").matches(b"ab")
    assert not Registration("a", "/i", magic=b"abc").matches(b"ab")


def test_offsets_count_for_matching() -> None:
    assert Registration("a", "/i", magic=b"cd", offset=2).matches(b"abcd")
    assert not Registration("a", "/i", magic=b"cd", offset=1).matches(b"abcd")
