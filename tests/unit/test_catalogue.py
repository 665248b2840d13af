"""The catalogue of findings: each code once, and with everything that belongs to a finding.

A new finding is a class in the catalogue, a rule that makes it, its words, a host case and a
paragraph; each test here names what is missing.
"""

from __future__ import annotations

import ast
import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis import catalogue as host_catalogue
from binfmt_setup.diagnosis.finding import Fact
from binfmt_setup.engines import catalogue as engine_catalogue
from binfmt_setup.report import words
from tests import recorded
from tests.own_sources import PACKAGE, parsed
from tests.remedies import CURED_IN, NO_COMMAND_CURES
from tests.sandbox.test_remedies import SITUATIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

TOP = Path(__file__).parents[2]
MODULES = sorted(PACKAGE.rglob("*.py"))
TOPICS = [import_module(f"{host_catalogue.__name__}.{topic}") for topic in host_catalogue.TOPICS]
CATALOGUES = (*TOPICS, engine_catalogue)
CODE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
PAGES = ("engines", "run")


def facts_of(catalogue: ModuleType) -> list[type[Fact]]:
    """The classes of a catalogue that a rule may make: those with a code."""
    found = (value for value in vars(catalogue).values() if isinstance(value, type))
    own = [kind for kind in found if issubclass(kind, Fact)]
    return [kind for kind in own if kind.code and kind.__module__.startswith(catalogue.__name__)]


FACTS = [kind for catalogue in CATALOGUES for kind in facts_of(catalogue)]
DERIVED_ONLY = {engine_catalogue.BuilderUnsuitable, host_catalogue.EntryNotTrusted}
"""Those that are made in no form but that of a class derived from them."""


def made() -> set[str]:
    """The names of the classes that some rule makes."""
    calls = (node for path in MODULES for node in ast.walk(parsed(path)))
    functions = (node.func for node in calls if isinstance(node, ast.Call))
    return {
        function.attr if isinstance(function, ast.Attribute) else function.id
        for function in functions
        if isinstance(function, ast.Attribute | ast.Name)
    }


def error_codes() -> set[str]:
    """What errors carry: `code=…` where they are raised, and their classes' own."""
    found: set[str] = set()
    for node in (node for path in MODULES for node in ast.walk(parsed(path))):
        if isinstance(node, ast.keyword) and node.arg == "code":
            found |= set(texts(node.value))
        if (
            isinstance(node, ast.Assign)
            and getattr(node.targets[0], "id", "").strip("_").lower() == "code"
        ):
            found |= set(texts(node.value))
    return {word for word in found if CODE.fullmatch(word)}


def texts(node: ast.AST) -> Iterator[str]:
    """The strings that an expression can come to."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from texts(node.body)
        yield from texts(node.orelse)


def paragraphs() -> dict[str, str]:
    text = (TOP / "docs" / "findings.md").read_text(encoding="utf-8")
    pieces = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(pieces[::2], pieces[1::2], strict=True))


def elsewhere() -> set[str]:
    """The codes of container engines and of `run`, whose pages explain them."""
    pages = [(TOP / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in PAGES]
    return set(re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", "".join(pages)))


def test_each_code_is_written_once_in_a_catalogue() -> None:
    modules = [path for path in MODULES if "catalogue" in path.as_posix()]
    sources = "".join(path.read_text() for path in modules)
    written = re.findall(r'^    code = "(.+)"$', sources, re.MULTILINE)
    assert len(written) == len(set(written))
    assert set(written) == {kind.code for kind in FACTS}
    assert all(CODE.fullmatch(code) for code in written)


def test_every_fact_has_words_and_no_words_are_left_over() -> None:
    modules = [import_module(f"{words.__name__}.{topic}") for topic in words.TOPICS]
    told = {kind for module in modules for kind in module.SENTENCES}
    assert sorted(kind.__name__ for kind in FACTS if kind not in told | DERIVED_ONLY) == []
    assert sorted(kind.__name__ for kind in told if kind not in FACTS) == []


def test_each_remedy_is_carried_out_by_a_test_or_is_said_to_cure_nothing_alone() -> None:
    tried = {code for codes in SITUATIONS.values() for code in codes.split()} | CURED_IN.keys()
    codes = {kind.code for topic in TOPICS for kind in facts_of(topic)}
    assert sorted(codes - tried - NO_COMMAND_CURES.keys()) == []
    assert sorted(tried & NO_COMMAND_CURES.keys()) == []
    assert sorted((tried | NO_COMMAND_CURES.keys()) - codes) == []
    for where in CURED_IN.values():
        path, _, name = where.partition("::")
        assert f"\ndef {name}(" in (TOP / path).read_text(encoding="utf-8"), where


def test_every_fact_is_made_by_some_rule() -> None:
    rules = made() | {kind.__name__ for kind in DERIVED_ONLY}
    assert sorted(kind.__name__ for kind in FACTS if kind.__name__ not in rules) == []


def test_every_code_has_a_paragraph_with_cause_detection_and_remedy() -> None:
    codes = {kind.code for kind in FACTS} | error_codes()
    written = paragraphs()
    assert sorted(codes - set(written) - elsewhere()) == []
    for code, text in written.items():
        for part in ("**Cause:**", "**Detected:**", "**Remedy:**"):
            assert part in text, (code, part)


def test_no_paragraph_is_about_a_code_that_does_not_exist() -> None:
    assert sorted(set(paragraphs()) - {kind.code for kind in FACTS} - error_codes()) == []


def test_every_finding_about_hosts_has_a_host_case() -> None:
    said: set[str] = set()
    for path in recorded.case_files():
        expect = recorded.load(path).expect
        lines = json.dumps([expect["findings"], expect["security"], expect["install"]])
        said |= set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", lines))
    missing = {kind.code for topic in TOPICS for kind in facts_of(topic)} - said
    assert sorted(missing) == []
