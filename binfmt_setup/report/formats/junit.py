"""JUnit's XML: a test case for each platform, one for the host, one for each engine."""

from __future__ import annotations

from binfmt_setup.report import words
from binfmt_setup.report.formats.interface import OutputFormat
from binfmt_setup.report.result import CheckResult, DeepResult
from binfmt_setup.report.verdict_words import verdict_words

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.diagnosis.verdict import PlatformState
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.formats.interface import Showing
    from binfmt_setup.report.result import Result


class JUnit(OutputFormat):
    """Some case fails, or has an error, exactly where the exit code is not 0."""

    name = "junit"

    def report(self, result: Result, showing: Showing) -> str:  # noqa: ARG002 - XML has no style
        """The suite, with all findings as what it printed."""
        suite = _suite()
        for state in result.verdict.platforms:
            _platform(suite, result, state)
        _engines(suite, result)
        _workouts(suite, result)
        _errors(suite, result)
        _host(suite, result)
        findings = result.verdict.all_findings
        notes = [f"{f.severity}: {words.in_lines(f, code=True)}" for f in findings]
        if notes:
            _add(suite, "system-out").text = _xml("\n".join(notes))
        return _written(suite)

    def failure(self, command: str, error: BinfmtSetupError) -> str:  # noqa: ARG002 - one case
        """A suite of one test case."""
        suite = _suite()
        _error(_case(suite, "check", error.code), error)
        return _written(suite)

    def prepare(self) -> None:
        """The library that writes it."""
        from xml.etree import ElementTree as ET  # noqa: F401 - for what is below


def _suite() -> Element:
    from xml.etree import ElementTree as ET

    counts = dict.fromkeys(("tests", "failures", "skipped", "errors"), "")
    return ET.Element("testsuite", {"name": "binfmt-setup", **counts})  # counted at the end


def _add(parent: Element, tag: str, **attributes: str) -> Element:
    from xml.etree import ElementTree as ET

    return ET.SubElement(parent, tag, {key: _xml(value) for key, value in attributes.items()})


def _case(suite: Element, kind: str, name: str) -> Element:
    return _add(suite, "testcase", classname=f"binfmt-setup.{kind}", name=name)


def _fail(case: Element, message: str, findings: Iterable[Finding]) -> None:
    told = "\n".join(words.in_lines(finding, code=True) for finding in findings)
    _add(case, "failure", message=message).text = _xml(told)


def _error(case: Element, error: BinfmtSetupError) -> None:
    _add(case, "error", message=error.message).text = _xml(error.hint)


def _platform(suite: Element, result: Result, state: PlatformState) -> None:
    """A platform: it fails where it does not work, or where `--strict` lets it fail."""
    case = _case(suite, "check", state.platform.name)
    against = [f for f in state.findings if result.speaks_against(f)]
    if state.unproven:
        _add(case, "skipped", message=words.message(state.findings[0]))
    elif not state.ok or against:
        found = against or list(result.verdict.findings)
        _fail(case, words.message(found[0]) if found else "does not run", found)


def _engines(suite: Element, result: Result) -> None:
    """An engine: what it printed where a build failed, or why it could not be asked."""
    for report in result.engines if isinstance(result, CheckResult) else ():
        case = _case(suite, "engine", report.name)
        if report.error:
            _add(case, "error", message=report.error.code).text = _xml(report.error.message)
        elif report.output:
            _add(case, "system-out").text = _xml(report.output)


def _workouts(suite: Element, result: Result) -> None:
    """An exercise of an emulator; what the host cannot do either, and refusals, are skipped."""
    for report in result.workouts if isinstance(result, DeepResult) else ():
        who = report.platform + (f" with {report.source}" if report.source else "")
        if report.not_run:
            _add(_case(suite, "workout", who), "skipped", message=report.not_run)
        for each in report.judged:
            case = _case(suite, "workout", f"{who}: {each.exercise}")
            # Of several candidates one is enough: then what the others fail at is no failure.
            if each.outcome == "fail" and result.exit_code:
                _add(case, "failure", message=each.detail)
            elif each.outcome != "ok":
                _add(case, "skipped", message=f"{each.outcome}: {each.detail}")


def _errors(suite: Element, result: Result) -> None:
    """What stopped the command; what stopped an engine is told already."""
    engines = result.engines if isinstance(result, CheckResult) else ()
    told = {report.error for report in engines}
    for error in result.errors:
        if error not in told:
            _error(_case(suite, "check", error.code), error)


def _host(suite: Element, result: Result) -> None:
    """The host as a whole: it fails for its own findings, and for what no other case tells."""
    case = _case(suite, "check", "host")
    against = [f for f in result.verdict.findings if result.speaks_against(f)]
    told = any(True for tag in ("failure", "error") for _ in suite.iter(tag))
    if result.exit_code and (against or not told):
        verdict, _ = verdict_words(result)
        _fail(case, words.message(against[0]) if against else verdict, against)


def _written(suite: Element) -> str:
    from xml.etree import ElementTree as ET

    suite.set("tests", str(len(suite.findall("testcase"))))
    for name, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
        suite.set(name, str(len(suite.findall(f"testcase/{tag}"))))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold; an entry's name may have any."""
    return "".join(c if c in "\t\n" or (c >= " " and c.isprintable()) else "\ufffd" for c in text)


FORMAT = JUnit()
