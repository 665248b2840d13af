"""Sentences are made in report/ and never read by code: rules hold facts."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.own_sources import PACKAGE, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OUTSIDE = sorted(path for path in PACKAGE.rglob("*.py") if "report" not in path.parts)
RULES = sorted(path for name in ("diagnosis", "boot") for path in (PACKAGE / name).rglob("*.py"))
READS = {
    "startswith", "endswith", "partition", "rpartition", "split", "rsplit", "splitlines",
    "removeprefix", "removesuffix", "replace", "find", "rfind", "index", "count",
}  # fmt: skip
"""Methods of strings that take a sentence apart, or look for something in it."""
PROSE = {"message", "hint", "words", "advice", "evidence", "seen_words"}
SENTENCE = re.compile(r"[A-Za-z'(]\S*(?: [a-z'(]+){2,}")


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def reads_of(tree: ast.AST) -> Iterator[ast.expr]:
    """What is searched or taken apart: by a method, by `in`, by an equals sign, by `re`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in READS:
                yield node.func.value
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "re":
                yield from node.args
        elif isinstance(node, ast.Compare):
            yield from (node.left, *node.comparators)


def is_prose(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in PROSE


@pytest.mark.parametrize("path", OUTSIDE, ids=named)
def test_nobody_reads_a_sentence(path: Path) -> None:
    tree = parsed(path)
    assert [ast.unparse(node) for node in reads_of(tree) if is_prose(node)] == []


def said_in(tree: ast.Module) -> Iterator[str]:
    """The strings of a module but for docstrings, errors that it raises, and owners' names."""
    left_out = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Origin")
        for part in ast.walk(node)
    }
    strings = (node for node in ast.walk(tree) if id(node) not in left_out)
    for node in strings:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", RULES, ids=named)
def test_rules_hold_no_sentence(path: Path) -> None:
    tree = parsed(path)
    assert [text for text in said_in(tree) if SENTENCE.search(text)] == []


@pytest.mark.parametrize(
    "line",
    [
        'x = "lost" not in finding.message', "finding.hint.partition(' ')",
        're.match("x", error.message)', 'found.message == "gone"',
    ],
)  # fmt: skip
def test_what_reads_a_sentence_is_seen(line: str) -> None:
    assert any(is_prose(node) for node in reads_of(ast.parse(line)))


def test_what_is_a_sentence() -> None:
    for text in ("will not survive a reboot", "no entry for programs", "entry is disabled"):
        assert SENTENCE.search(text)
    for text in ("systemd-binfmt.service", "remount,rw", "echo -1 > ", "name=systemd"):
        assert not SENTENCE.search(text)
