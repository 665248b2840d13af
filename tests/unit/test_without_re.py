"""What the usual path does by itself, as the library takes long to load, does what that does."""

from __future__ import annotations

import re
import shlex
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binfmt_setup.model.registration import BadRegistration, parse_line
from binfmt_setup.model.shell import typed
from binfmt_setup.report.lines import wrapped

WORDS = st.text(st.sampled_from("ab-/é "), max_size=60)
ESCAPED = st.text(st.sampled_from("\\xXab09:é").filter(lambda c: c != ":"), min_size=1, max_size=12)


@given(st.lists(WORDS, max_size=12), st.sampled_from(["", "  ", "· "]))
def test_lines_are_wrapped_as_textwrap_does(words: list[str], first: str) -> None:
    text = " ".join(words).strip()
    library = textwrap.wrap(
        text, 80, initial_indent=first, subsequent_indent="    ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    assert list(wrapped(text, first, "    ")) == library


@given(st.lists(st.text(max_size=8), max_size=5))
def test_a_command_is_quoted_as_shlex_does(argv: list[str]) -> None:
    assert typed(argv) == shlex.join(argv)


@given(ESCAPED)
def test_a_magic_is_unescaped_as_a_pattern_does(text: str) -> None:
    if any(not re.match("[0-9a-fA-F]{2}", pair) for pair in text.split("\\x")[1:]):
        with pytest.raises(BadRegistration):
            parse_line(f":x:M::{text}::/q:")
        return
    raw = text.encode()
    escape = re.compile(rb"\\x([0-9a-fA-F]{2})|\\(.)", re.DOTALL)
    bytes_ = escape.sub(lambda m: bytes([int(m[1], 16)]) if m[1] else m[0], raw)
    assert parse_line(f":x:M::{text}::/q:").magic == bytes_
