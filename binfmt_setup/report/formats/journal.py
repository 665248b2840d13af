"""Entries with fields for systemd's journal: the verdict, each platform, each finding.

Source: "Native Journal Protocol" and "Journal Export Formats" in systemd's documentation: a line
for each field, an empty line behind each entry.
"""

from __future__ import annotations

from binfmt_setup.model.escaping import visible
from binfmt_setup.report import words
from binfmt_setup.report.formats.interface import OutputFormat
from binfmt_setup.report.verdict_words import verdict_words

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.diagnosis.verdict import PlatformState
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.formats.interface import Showing
    from binfmt_setup.report.result import Result

_PRIORITIES = {"error": 3, "warning": 4, "info": 6}
_VERDICT = "bd6b3cc6295b40dcaaf9a0a9f3d6f74c"
_PLATFORM = "f847df8489934158995843846cfa4f83"
_FINDING = "4f6e45160b964227890b1fe23d39ba0c"
_ERROR = "f067ddd29170458fa6bb2b1a4897b207"
"""Identifiers of the four kinds of entries, for `journalctl MESSAGE_ID=…`; they never change."""


class Journal(OutputFormat):
    """The most important entry is the last one, as in a log."""

    name = "journal"
    journal = True

    def report(self, result: Result, showing: Showing) -> str:  # noqa: ARG002 - fields have no style
        """An entry for each platform, finding and error, then the verdict."""
        entries = [_of_platform(state) for state in result.verdict.platforms]
        entries += [_of_finding(finding) for finding in result.verdict.all_findings]
        entries += [_of_error(error) for error in result.errors]
        status = result.exit_code
        verdict = {"MESSAGE": verdict_words(result)[0], "BINFMT_EXIT_CODE": str(status)}
        return "".join([*entries, _entry(_VERDICT, 3 if status else 6, verdict)])

    def failure(self, command: str, error: BinfmtSetupError) -> str:  # noqa: ARG002 - one entry
        """The error alone."""
        return _of_error(error)


def _of_platform(state: PlatformState) -> str:
    handler, name = state.handler, state.platform.name
    fields = {
        "MESSAGE": f"{name} {'works' if state.ok else 'does not work'}",
        "BINFMT_PLATFORM": name,
        "BINFMT_OK": str(int(state.ok)),
        "BINFMT_HOW": state.how,
        "BINFMT_ENTRY": handler.name if handler else "",
        "BINFMT_INTERPRETER": handler.interpreter if handler else "",
        "BINFMT_PINNED_VERSION": state.pinned_version,
        "BINFMT_PERSISTENT": "" if state.persistent is None else str(int(state.persistent)),
    }
    return _entry(_PLATFORM, 6 if state.ok else 3, fields)


def _of_finding(finding: Finding) -> str:
    fields = {
        "MESSAGE": words.message(finding),
        "BINFMT_PLATFORM": finding.platform,
        "BINFMT_CODE": finding.code,
        "BINFMT_SEVERITY": finding.severity,
        "BINFMT_HINT": words.hint(finding),
    }
    return _entry(_FINDING, _PRIORITIES[finding.severity], fields)


def _of_error(error: BinfmtSetupError) -> str:
    fields = {
        "MESSAGE": error.message,
        "BINFMT_CODE": error.code,
        "BINFMT_HINT": error.hint,
        "BINFMT_EXIT_CODE": str(error.exit_code),
    }
    return _entry(_ERROR, 3, fields)


def _entry(kind: str, priority: int, fields: dict[str, str]) -> str:
    """One entry; what others named stays one line, so that it can add no field of its own."""
    all_fields = {
        **fields,
        "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": "binfmt-setup", "MESSAGE_ID": kind,
    }  # fmt: skip
    lines = (f"{key}={visible(value)}\n" for key, value in all_fields.items() if value)
    return "".join([*lines, "\n"])


FORMAT = Journal()
