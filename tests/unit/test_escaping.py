"""What others wrote is shown by this tool, and does nothing: on any stream, in any format."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binfmt_setup.model.escaping import safe, visible
from tests.own_sources import PACKAGE, parsed

EVIL = {
    "a title for the terminal": "\x1b]0;owned\x07",
    "a line that is cleared": "x\x1b[2Ky",
    "C1": "\x9b31m",
    "a right-to-left mark": "\u202etxt.exe",
    "a line that starts anew": "x\ry",
    "bytes that are no UTF-8": os.fsdecode(b"\xff\xfe"),
    "backspaces": "x\x08\x08y",
}
OURS = "\x1b[31m\r\x1b[K"
"""What this tool sends to a terminal itself, said by somebody else."""
SPEAKERS = {"cli/streams.py", "system/host_access.py", "system/progress.py", "__main__.py"}
"""Who may write to standard output or error; each escapes."""


@pytest.mark.parametrize("evil", EVIL.values(), ids=list(EVIL))
def test_nothing_that_works_on_a_terminal_gets_out(evil: str) -> None:
    for text in (safe(evil), visible(evil)):
        assert text.isprintable()
        assert text.isascii()
        text.encode("utf-8")


@pytest.mark.parametrize(
    "line", ["::error::x", "  ::set-output name=a::b", "x ##[error]y", "\t::a"]
)
def test_no_line_is_a_command_to_a_runner(line: str) -> None:
    for text in (line, f"before\n{line}\nafter"):
        for said in safe(text).split("\n"):
            assert not said.strip().startswith("::")
            assert "##[" not in said
    assert safe("::error title=x::y", commands=True) == "::error title=x::y"


def test_colours_lines_and_words_of_all_languages_stay() -> None:
    for text in ("✓ a\n  → b\n", "\x1b[32mworks\x1b[0m: Größe 中文", "a::b", "# x", "\r\x1b[Kwait"):
        assert safe(text) == text


@given(st.text())
def test_what_left_once_leaves_unchanged(text: str) -> None:
    once = safe(text)
    assert safe(once) == once
    assert all(line.isprintable() for line in once.replace("\x1b[", "").split("\n"))


def test_only_the_door_and_the_border_speak() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).as_posix() in SPEAKERS:
            continue
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "sys.stdout.write", "sys.stderr.write"), path


@pytest.mark.parametrize("format_", ["text", "json", "github", "junit"])
@pytest.mark.parametrize("evil", [*EVIL.values(), OURS], ids=[*EVIL, "as this tool writes"])
def test_a_mistake_is_told_without_obeying_it(evil: str, format_: str) -> None:
    words = ["check", f"--format={format_}", f"\n::error::{evil}"]
    done = subprocess.run(
        [sys.executable, "-m", "binfmt_setup", *words],
        capture_output=True, check=False, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 2
    for stream in (done.stdout.decode("utf-8"), done.stderr.decode("utf-8")):
        assert all(line.isprintable() for line in stream.split("\n"))
        commands = [line for line in stream.split("\n") if line.strip().startswith("::")]
        assert all(re.match(r"::(error|notice) title=binfmt-setup [a-z-]+::", c) for c in commands)
    assert b"Traceback" not in done.stderr
