"""What users of other tools reported: each report has its kind, and something that holds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import cast

import pytest
import tomli

from tests import recorded
from tests.own_sources import parsed

TESTS = Path(__file__).parents[1]
KINDS = {
    "next-boot", "native", "not-read", "remedy", "explain", "masks", "levels", "offline",
    "provenance",
}  # fmt: skip
Report = dict[str, "str | list[str]"]
REPORTS = cast("list[Report]", tomli.loads((TESTS / "reports.toml").read_text())["report"])
CASES = {path.stem: recorded.load(path).words for path in recorded.case_files()}


def held_by(report: Report, what: str) -> list[str]:
    return cast("list[str]", report.get(what, []))


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: str(report["about"]))
def test_each_report_is_held_by_a_host_or_a_test(report: Report) -> None:
    assert report["kind"] in KINDS
    assert report["seen"]
    assert held_by(report, "case") or held_by(report, "test")
    for name in held_by(report, "case"):
        assert CASES[name]["kind"] == report["kind"]
    for where in held_by(report, "test"):
        path, _, name = where.partition("::")
        functions = (node for node in ast.walk(parsed(TESTS / path)))
        assert name in {f.name for f in functions if isinstance(f, ast.FunctionDef)}


def test_each_host_of_a_report_names_its_kind() -> None:
    of_reports = {name for report in REPORTS for name in held_by(report, "case")}
    for name, words in CASES.items():
        reported = re.search(r"issue \d|#\d|PR \d", words["source"])
        assert ("kind" in words) is (name in of_reports), name
        assert not reported or "kind" in words, name
