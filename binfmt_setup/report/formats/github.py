"""Annotations and a step summary for GitHub Actions."""

from __future__ import annotations

from binfmt_setup.model.escaping import visible
from binfmt_setup.report import words
from binfmt_setup.report.formats.interface import OutputFormat
from binfmt_setup.report.verdict_words import verdict_words

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.diagnosis.verdict import PlatformState
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.formats.interface import Showing
    from binfmt_setup.report.result import Result


_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


class GitHub(OutputFormat):
    """One workflow command a finding (`::error title=…::message`), then the verdict.

    Source: GitHub's "Workflow commands", which also gives the escapes. There is an error among
    them exactly where the exit code is not 0.
    """

    name = "github"
    commands = True

    def report(self, result: Result, showing: Showing) -> str:  # noqa: ARG002 - a log has no style
        """Every finding and every error, and the verdict as plain words."""
        verdict, _ = verdict_words(result)
        lines = [_annotation(result, found) for found in _alike(result.verdict.all_findings)]
        lines += [_error(error) for error in result.errors]
        lines += [_command("warning", "workout", "\n".join(told)) for told in _failing(result)]
        if result.exit_code and not any(line.startswith("::error ") for line in lines):
            lines.append(_command("error", "verdict", verdict))
        return "\n".join([*lines, _one_line(verdict), ""])

    def failure(self, command: str, error: BinfmtSetupError) -> str:  # noqa: ARG002 - its log says
        """The error alone."""
        return _error(error) + "\n"

    def summary(self, result: Result) -> str:
        """The step summary, in Markdown: a table of the platforms, the findings, the remedies."""
        lines = [f"### binfmt-setup: {_cell(verdict_words(result)[0])}", ""]
        if result.verdict.platforms:
            lines += ["| platform | result | how | entry |", "| --- | --- | --- | --- |"]
            lines += [_row(state) for state in result.verdict.platforms]
            lines.append("")
        findings = result.verdict.all_findings
        lines += [f"- **{f.severity}** `{f.code}`: {_cell(words.message(f))}" for f in findings]
        lines += [f"- **error** `{e.code}`: {_cell(e.message)}" for e in result.errors]
        for who, *failed in _failing(result):
            lines += ["", f"{_cell(who)}:", "", *(f"- {_cell(each)}" for each in failed)]
        for hint in words.remedies(findings):
            # Indented: no run of backticks in a name ends this kind of code block.
            lines += ["", f"    {visible(hint.removeprefix('run: '))}"]
        return "\n".join([*lines, ""])


def _failing(result: Result) -> Iterable[list[str]]:
    """Each emulator whose exercises fail, and who meets what."""
    from binfmt_setup.report.result import DeepResult
    from binfmt_setup.report.words.exercises import meaning

    for report in result.workouts if isinstance(result, DeepResult) else ():
        if failed := report.those("fail"):
            version = report.version.partition(" ")[0]
            told = [f"{each.exercise}: {meaning(each.exercise)}" for each in failed]
            yield [f"{report.platform} with QEMU {version} fails at {len(failed)} exercises", *told]


def _alike(findings: Iterable[Finding]) -> Iterable[list[Finding]]:
    """Findings together that differ in the variant of a platform alone: they have one cause."""
    grouped: dict[tuple[object, ...], list[Finding]] = {}
    for finding in findings:
        several = finding.platform.count("/") > 1  # linux/arm/v7
        stem = finding.platform.rpartition("/")[0] if several else finding.platform
        grouped.setdefault((stem, finding.fact, finding.severity), []).append(finding)
    return grouped.values()


def _annotation(result: Result, found: Sequence[Finding]) -> str:
    """One annotation for what one cause does to the variants of a platform."""
    finding, variants = found[0], [one.platform for one in found if one.platform]
    level = "error" if result.speaks_against(finding) else _LEVELS[finding.severity]
    if level == "error" and not result.exit_code:
        level = "warning"
    return _command(level, finding.code, words.in_lines(finding, variants=variants))


def _error(error: BinfmtSetupError) -> str:
    return _command("error", error.code, f"{error.message}\n{error.hint}".strip())


def _command(level: str, code: str, text: str) -> str:
    lines = text.replace("%", "%25").split("\n")
    return f"::{level} title=binfmt-setup {code}::{'%0A'.join(map(visible, lines))}"


def _one_line(text: str) -> str:
    """Words that are no command, whatever they begin with."""
    return visible(text).lstrip(":#")


def _row(state: PlatformState) -> str:
    broken = "❌ not built" if state.ran else "❌ does not run"
    result = "✅ runs" if state.ok else "❔ not proven" if state.unproven else broken
    entry = state.handler.name if state.handler else ""
    return f"| {state.platform.name} | {result} | {state.how} | {_cell(entry)} |"


def _cell(text: str) -> str:
    """Text that stays one table cell, and plain, whatever an entry was named."""
    words_of_it = visible(" ".join(text.split()))
    return "".join(f"\\{c}" if c in "\\|*_`<>[]" else c for c in words_of_it)


FORMAT = GitHub()
