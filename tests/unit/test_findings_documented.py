"""Every code has its paragraph in docs/findings.md, and every finding a host case."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from tests import recorded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOP = Path(__file__).parents[2]
MODULES = sorted((TOP / "binfmt_setup").rglob("*.py"))
PAGES = ("engines", "run")
# Those that judge a host from its facts; engines have cases of their own.
HOST_JUDGES = ("diagnosis", "commands", "emulators")
CODE_WORDS = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def words(node: ast.AST) -> Iterator[str]:
    """The strings that an expression can come to."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from words(node.body)
        yield from words(node.orelse)


def nodes(modules: Sequence[Path] = MODULES) -> Iterator[ast.AST]:
    for module in modules:
        yield from ast.walk(ast.parse(module.read_text(encoding="utf-8")))


def finding_codes(modules: Sequence[Path] = MODULES) -> set[str]:
    """The first argument of every `Finding(…)`, and the codes that refusals give."""
    found: set[str] = set()
    for node in nodes(modules):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
            found |= set(words(node.args[0]))
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            first = {word for part in node.value.elts[:1] for word in words(part)}
            found |= {word for word in first if word.startswith("interpreter-")}
    return found


def error_codes() -> set[str]:
    """What errors carry: `code=…` where they are raised, and their classes' own."""
    found: set[str] = set()
    for node in nodes():
        named = isinstance(node, ast.keyword) and node.arg == "code"
        own = isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "code"
        if isinstance(node, ast.keyword | ast.Assign) and (named or own):
            found |= set(words(node.value))
    return {word for word in found if CODE.fullmatch(word)}


def paragraphs() -> dict[str, str]:
    text = (TOP / "docs" / "findings.md").read_text(encoding="utf-8")
    pieces = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def elsewhere() -> set[str]:
    """The codes of container engines and of `run`, whose pages explain them."""
    pages = [(TOP / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES]
    return set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", "".join(pages)))


def test_every_code_has_a_paragraph_with_cause_detection_and_remedy() -> None:
    codes = finding_codes() | error_codes()
    assert len(codes) > 35
    written = paragraphs()
    assert sorted(codes - set(written) - elsewhere()) == []
    for code, text in written.items():
        for part in ("**Cause:**", "**Detected:**", "**Remedy:**"):
            assert part in text, (code, part)


def test_no_paragraph_is_about_a_code_that_does_not_exist() -> None:
    assert sorted(set(paragraphs()) - finding_codes() - error_codes()) == []


def test_every_finding_has_a_host_case() -> None:
    said: set[str] = set()
    for path in recorded.case_files():
        expect = recorded.load(path).expect
        lines = json.dumps([expect["findings"], expect["security"], expect["install"]])
        said |= set(CODE_WORDS.findall(lines))
    judging = [module for module in MODULES if module.parent.name in HOST_JUDGES]
    assert {module.parent.name for module in judging} == set(HOST_JUDGES)
    assert sorted(finding_codes(judging) - said) == []
