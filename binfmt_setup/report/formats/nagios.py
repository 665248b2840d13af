"""One line and the exit codes of a plugin for Nagios, Icinga, Checkmk and their like.

Source: "Monitoring Plugins Development Guidelines": 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, and
performance data behind a bar as 'label'=value;warn;crit;min;max.
"""

from __future__ import annotations

from binfmt_setup.model.escaping import visible
from binfmt_setup.report import words
from binfmt_setup.report.formats.interface import OutputFormat
from binfmt_setup.report.verdict_words import verdict_words

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.formats.interface import Showing
    from binfmt_setup.report.result import Result

_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
_OK, _WARNING, _CRITICAL, _UNKNOWN = range(4)


class Nagios(OutputFormat):
    """UNKNOWN where the question could not be put, CRITICAL where the answer is no."""

    name = "nagios"

    def report(self, result: Result, showing: Showing) -> str:  # noqa: ARG002 - one line, always
        """The state, the verdict and its first reason, and a number for each platform."""
        findings = sorted(result.verdict.all_findings, key=lambda f: f.severity != "error")
        reasons = [words.message(f) for f in findings if f.severity != "info"]
        told = [verdict_words(result)[0], *reasons[:1]]
        severities = [finding.severity for finding in findings]
        numbers = [f"'{s.platform.name}'={int(s.ok)};;1:;0;1" for s in result.verdict.platforms]
        numbers += [f"{name}s={severities.count(name)};;;0" for name in ("error", "warning")]
        return _line(self.status(result), "; ".join(told), " ".join(numbers))

    def failure(self, command: str, error: BinfmtSetupError) -> str:  # noqa: ARG002 - one line
        """What kept the question from being put, and what to do."""
        return _line(_UNKNOWN, f"{error.message}; {error.hint}" if error.hint else error.message)

    def status(self, result: Result) -> int:
        """The plugin's exit code."""
        if result.errors:
            return _UNKNOWN
        if result.exit_code:
            return _CRITICAL
        return _OK if result.verdict.clean(strict=True) else _WARNING

    def failure_status(self, error: BinfmtSetupError) -> int:  # noqa: ARG002 - all alike
        """A plugin that could not ask says so."""
        return _UNKNOWN


def _line(status: int, text: str, numbers: str = "") -> str:
    """What others named neither ends the line nor begins the numbers."""
    said = f"BINFMT {_WORDS[status]} - {visible(' '.join(text.split()))}".replace("|", "/")
    return f"{said} | {numbers}\n" if numbers else f"{said}\n"


FORMAT = Nagios()
