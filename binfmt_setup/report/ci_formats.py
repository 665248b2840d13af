"""Results for CI systems: GitHub's annotations and step summary, JUnit's XML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.model.escaping import visible
from binfmt_setup.report import words
from binfmt_setup.report.result import CheckResult, Result
from binfmt_setup.report.text_report import verdict_words

if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.diagnosis.verdict import PlatformState
    from binfmt_setup.model.errors import BinfmtSetupError

_LEVELS = {"error": "error", "warning": "warning", "info": "notice"}


def github_report(result: Result) -> str:
    """One workflow command a finding (`::error title=…::message`), then the verdict.

    Source: GitHub's "Workflow commands", which also gives the escapes.
    """
    lines = [_annotation(finding) for finding in result.verdict.all_findings]
    lines += [github_error(error) for error in result.errors]
    return "\n".join([*lines, verdict_words(result)[0], ""])


def _annotation(finding: Finding) -> str:
    return _command(_LEVELS[finding.severity], finding.code, _told(finding, ""))


def github_error(error: BinfmtSetupError) -> str:
    """What stopped a command, as an annotation."""
    return _command("error", error.code, f"{error.message}\n{error.hint}".strip())


def _command(level: str, code: str, text: str) -> str:
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{level} title=binfmt-setup {code}::{escaped}"


def github_summary(result: Result) -> str:
    """The step summary, in Markdown: a table of the platforms, the findings, the remedies."""
    lines = [f"### binfmt-setup: {_cell(verdict_words(result)[0])}", ""]
    if result.verdict.platforms:
        lines += ["| platform | result | how | entry |", "| --- | --- | --- | --- |"]
        lines += [_summary_row(state) for state in result.verdict.platforms]
        lines.append("")
    findings = result.verdict.all_findings
    lines += [f"- **{f.severity}** `{f.code}`: {_cell(words.message(f))}" for f in findings]
    lines += [f"- **error** `{e.code}`: {_cell(e.message)}" for e in result.errors]
    for hint in words.remedies(findings):
        # Indented: no run of backticks in a name ends this kind of code block.
        lines += ["", f"    {visible(hint.removeprefix('run: '))}"]
    return "\n".join([*lines, ""])


def _summary_row(state: PlatformState) -> str:
    broken = "❌ not built" if state.ran else "❌ does not run"
    result = "✅ runs" if state.ok else "❔ not proven" if state.unproven else broken
    entry = state.handler.name if state.handler else ""
    return f"| {state.platform.name} | {result} | {state.how} | {_cell(entry)} |"


def _cell(text: str) -> str:
    """Text that stays one table cell, and plain, whatever an entry was named."""
    return "".join(f"\\{c}" if c in "\\|*_`<>[]" else c for c in " ".join(text.split()))


def junit_report(result: Result) -> str:
    """A test case for each platform, and one for the host, as CI systems read it."""
    from xml.etree import ElementTree as ET

    states = result.verdict.platforms
    suite = ET.Element("testsuite", name="binfmt-setup")
    failed = [state for state in states if not (state.ok or state.unproven)]
    suite.set("tests", "")  # counted at the end, shown first
    suite.set("failures", str(len(failed)))
    suite.set("skipped", str(sum(state.unproven for state in states)))
    suite.set("errors", str(len(result.errors)))
    for state in states:
        case = ET.SubElement(
            suite, "testcase", classname="binfmt-setup.check", name=state.platform.name
        )
        errors = [f for f in state.findings if f.severity == "error"] or result.verdict.findings
        if state.unproven:
            ET.SubElement(case, "skipped", message=words.message(state.findings[0]))
        elif not state.ok:
            message = words.message(errors[0]) if errors else "does not run"
            failure = ET.SubElement(case, "failure", message=_xml(message))
            failure.text = _xml("\n".join(_told(f, f" [{f.code}]") for f in errors))
    engines = result.engines if isinstance(result, CheckResult) else ()
    for report in engines:
        case = ET.SubElement(suite, "testcase", classname="binfmt-setup.engine", name=report.name)
        if report.error:
            problem = ET.SubElement(case, "error", message=report.error.code)
            problem.text = _xml(report.error.message)
        elif report.output:
            ET.SubElement(case, "system-out").text = _xml(report.output)
    broken = {report.error for report in engines}
    for error in result.errors:
        if error not in broken:
            case = ET.SubElement(suite, "testcase", classname="binfmt-setup.check", name=error.code)
            ET.SubElement(case, "error", message=_xml(error.message)).text = _xml(error.hint)
    suite.set("tests", str(len(suite.findall("testcase"))))
    notes = [f"{f.severity}: {_told(f, f' [{f.code}]')}" for f in result.verdict.all_findings]
    if notes:
        ET.SubElement(suite, "system-out").text = _xml("\n".join(notes))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def junit_error(error: BinfmtSetupError) -> str:
    """A suite of one test case: what stopped a command before it knew the host."""
    from xml.etree import ElementTree as ET

    suite = ET.Element("testsuite", name="binfmt-setup", tests="1", failures="0", errors="1")
    case = ET.SubElement(suite, "testcase", classname="binfmt-setup.check", name=error.code)
    ET.SubElement(case, "error", message=_xml(error.message)).text = _xml(error.hint)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True)


def _told(finding: Finding, code: str) -> str:
    """All of a finding in lines; its code, where it is wanted, behind the first."""
    evidence = words.evidence(finding)
    seen = f"seen: {evidence}" if evidence else ""
    lines = [words.message(finding) + code, seen, words.hint(finding)]
    return "\n".join(line for line in lines if line)


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold; an entry's name may have any."""
    return "".join(c if c in "\t\n" or (c >= " " and c.isprintable()) else "\ufffd" for c in text)
