"""What became of each test, written down while the tests run.

`--results FILE` gets one line of JSON for each: first the tests that were found, then which one
begins, and what it came to. So a run that is ended before its time has still told what it did,
where it was, and what it did not come to.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class ResultsFile:
    """The plugin that writes the file."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", buffering=1)

    def _write(self, **what: object) -> None:
        self._file.write(json.dumps(what) + "\n")

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Name all tests of this run."""
        self._write(found=[item.nodeid for item in session.items])

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported fails as a test of its name does."""
        if report.failed:
            self._write(test=report.nodeid, outcome="failed", reason="")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Name the test that begins."""
        self._write(begun=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test passes when its call does; what failed or was skipped may do so at any step."""
        if report.when == "call" or not report.passed:
            self._write(test=report.nodeid, outcome=report.outcome, reason=_reason(report))


def _reason(report: pytest.TestReport) -> str:
    """Why a test was skipped, or is expected to fail."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", ""))
