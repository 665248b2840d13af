"""Results as text for people, as annotations and tables for CI systems, as JSON."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from binfmt_setup.document import described, document, owner_words
from binfmt_setup.persistence import persistence_problem
from binfmt_setup.steps import ChangeEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from binfmt_setup.commands import Result
    from binfmt_setup.engines import EngineReport
    from binfmt_setup.errors import BinfmtSetupError
    from binfmt_setup.facts import HostFacts
    from binfmt_setup.findings import Finding, PlatformState

_COLOURS = {"good": "32", "bad": "31", "warn": "33", "dim": "2"}


@dataclass(frozen=True)
class Style:
    """How text may look on a stream: with colours, and with signs beyond ASCII."""

    colour: bool = False
    unicode: bool = True

    def paint(self, text: str, kind: str) -> str:
        """Text in the colour of a kind, on a stream that shows colours."""
        return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if self.colour else text

    def mark(self, kind: str) -> str:
        """The sign in front of a line."""
        signs = {"good": "✓", "bad": "✗", "warn": "!", "note": "·", "hint": "→"}
        plain = {"good": "ok", "bad": "XX", "warn": "!!", "note": "--", "hint": "->"}
        sign = (signs if self.unicode else plain)[kind]
        return self.paint(sign, kind) if kind in _COLOURS else sign


def text_report(result: Result, style: Style, *, diff: bool = False) -> str:
    """The report for people: facts, remedies, and the verdict in the last line."""
    if result.command == "status":
        return "\n".join(_status_lines(result, style)) + "\n"
    lines: list[str] = []
    if result.command in ("install", "uninstall"):
        lines += _action_lines(result, style, diff=diff)
    if not (result.check or result.command == "uninstall"):
        lines += [*_host_lines(result.facts, style), *_platform_lines(result, style)]
        lines += [line for report in result.engines for line in _engine_lines(report, style)]
        lines += _finding_lines(result.verdict.all_findings, style)
    lines += [line for error in result.errors for line in error_lines(error, style)]
    return "\n".join([*lines, _verdict_line(result, style)]) + "\n"


def error_lines(error: BinfmtSetupError, style: Style) -> Iterator[str]:
    """What stopped a command, and what to do about it."""
    yield f"{style.mark('bad')} {error.message}"
    if error.hint:
        yield f"  {style.mark('hint')} {error.hint}"


def _host_lines(facts: HostFacts, style: Style) -> Iterator[str]:
    if not facts.kernel:
        yield f"{style.mark('note')} an offline tree at {facts.root}: no kernel to ask"
        return
    where = f", in a {facts.container} container" if facts.container else ""
    yield f"{style.mark('good')} Linux {facts.kernel} on {facts.machine}{where}"
    if facts.mount.state == "mounted":
        how = "read-only" if facts.mount.read_only else "read-write"
        count = len(facts.entries)
        plural = "entry" if count == 1 else "entries"
        yield f"{style.mark('good')} binfmt_misc mounted {how}, {count} {plural}"


def _platform_lines(result: Result, style: Style) -> Iterator[str]:
    states = result.verdict.platforms
    width = max((len(state.platform.name) for state in states), default=0)
    for state in states:
        sign = style.mark("good" if state.ok else "note" if state.unproven else "bad")
        yield f"{sign} {state.platform.name:<{width}}  {_how(state)}"


def _engine_lines(report: EngineReport, style: Style) -> Iterator[str]:
    """What an engine built; its failures have their own lines."""
    for line in report.output.splitlines():
        yield style.paint(f"    {report.name}| {line}", "dim")
    for finding in report.findings:
        if finding.platform:
            yield f"{style.mark('bad')} {finding.message} [{finding.code}]"
    if not report.built:
        return
    who = f"{report.name} {report.version}" + (f" ({report.details})" if report.details else "")
    one = ", in one index" if len(report.index) > 1 and report.index >= report.built else ""
    yield f"{style.mark('good')} {who} built {', '.join(sorted(report.built))}{one}"


def _how(state: PlatformState) -> str:
    """How a platform's programs run, in a few words that fit a line of 80 columns."""
    if state.ok and state.how == "native":
        return "native: its probe ran without an emulator"
    if state.ok and state.handler is None:
        return "emulated, by an entry that is not to be seen here"
    if state.ok and state.handler:
        return f"emulated by {state.handler.name} ({state.handler.flags}), its probe ran"
    if state.unproven:
        by = f"registered as {state.handler.name} " if state.handler else ""
        return f"{by}not proven: {state.findings[0].message.partition(': ')[2]}"
    words = (finding.message for finding in state.findings)
    return next(words, "does not run").removeprefix(f"{state.platform.name}: ")


def _finding_lines(findings: Sequence[Finding], style: Style) -> Iterator[str]:
    """Warnings and notes with their words, then every remedy once."""
    kinds = {"error": "bad", "warning": "warn", "info": "note"}
    for finding in findings:
        told = finding.severity == "error" or finding.code == "not-probed"
        if told and finding.platform:
            continue  # its platform's line says it already
        yield f"{style.mark(kinds[finding.severity])} {finding.message} [{finding.code}]"
    for hint in remedies(findings):
        yield f"  {style.mark('hint')} {hint}"


def remedies(findings: Sequence[Finding]) -> list[str]:
    """Every remedy once; those that differ in the platform alone become one command."""
    merged: dict[str, list[str]] = {}
    for finding in findings:
        if finding.severity == "info" or not finding.hint:
            continue
        command, space, last = finding.hint.rpartition(" ")
        names = merged.setdefault(command if last == finding.platform else finding.hint, [])
        if last == finding.platform and space and last not in names:
            names.append(last)
    return [" ".join([command, *names]) for command, names in merged.items()]


def _action_lines(result: Result, style: Style, *, diff: bool) -> Iterator[str]:
    verbs = {"done": "good", "planned": "note", "failed": "bad", "rolled-back": "bad"}
    for outcome in result.outcomes:
        if outcome.result not in verbs:
            continue
        target, before, after = described(outcome.step)
        sign = style.mark(verbs[outcome.result])
        word = "" if outcome.result in ("done", "planned") else f" ({outcome.result})"
        yield f"{sign} {outcome.step.kind.replace('-', ' ')} {target}{word}"
        if isinstance(outcome.step, ChangeEntry) and outcome.step.after:
            registration = outcome.step.after
            yield f"    {registration.interpreter}, flags {registration.flags}"
        if diff and (before or after):
            yield from _diff(target, before, after)


def _diff(target: str, before: str | None, after: str | None) -> Iterable[str]:
    old, new = (text.splitlines() if text else [] for text in (before, after))
    return (
        f"    {line}"
        for line in difflib.unified_diff(old, new, f"{target} now", f"{target} then", lineterm="")
    )


def _verdict_line(result: Result, style: Style) -> str:
    if result.command == "uninstall":
        words = "would be removed" if result.check else "removed"
        done = [o for o in result.outcomes if o.result in ("done", "planned")]
        good = not result.errors
        text = f"{len(done)} things {words}" if done else "nothing of binfmt-setup's is here"
    elif result.check:
        good = not result.errors
        text = "would change this host" if result.changed else "nothing would change"
    else:
        text, good = _platform_verdict(result)
    return style.paint(text, "good" if good else "bad")


def _platform_verdict(result: Result) -> tuple[str, bool]:
    states = result.verdict.platforms
    working = [state.platform.name for state in states if state.ok]
    failing = [state.platform.name for state in states if not (state.ok or state.unproven)]
    good = result.exit_code == 0
    if result.command == "install" and not result.facts.live and good:
        text = f"prepared: {', '.join(state.platform.name for state in states)}"
    elif failing or not working:
        text = f"does not work: {', '.join(failing) or 'nothing is proven'}"
    elif not good:
        text = "works, but not everything is as it should be"
    else:
        text = f"works: {', '.join(working)}"
    if result.command == "install":
        text += "; changed" if result.changed else "; nothing changed"
    return text, good


def _status_lines(result: Result, style: Style) -> Iterator[str]:
    facts = result.facts
    yield from _host_lines(facts, style)
    probed = {s.handler.name: s for s in result.verdict.platforms if s.handler}
    rows = [("ENTRY", "FLAGS", "QEMU", "REBOOT", "OWNER", "PROBE", "INTERPRETER")]
    for entry in facts.entries:
        state = probed.get(entry.name)
        unprobed = state is not None and any(f.code == "not-probed" for f in state.findings)
        version = facts.interpreter(entry.interpreter).version.split(" ")[0]
        stale = state is not None and any(f.code == "interpreter-stale" for f in state.findings)
        rows.append((
            entry.name + ("" if entry.enabled else " (disabled)"),
            entry.flags or "-",
            _versions(state, version) if stale and state else version or "-",
            "lost" if persistence_problem(facts, entry.name) else "stays",
            owner_words(facts, entry),
            _probe_word(state, unprobed=unprobed),
            entry.interpreter,
        ))  # fmt: skip
    if facts.entries:
        yield from _table(rows)
        yield from _source_lines(facts)
    yield from _finding_lines(result.verdict.all_findings, style)
    yield style.paint(_status_verdict(result), "good")


def _versions(state: PlatformState, disk: str) -> str:
    """What the kernel runs, and what it would run were it registered today."""
    pinned = state.pinned_version.split(" ")[0] or "older"
    return f"{pinned} (disk: {disk or 'gone'})"


def _probe_word(state: PlatformState | None, *, unprobed: bool) -> str:
    """What a probe said of an entry; entries of other tools than QEMU have none."""
    if state is None:
        return "-"
    if unprobed:
        return "registered, not probed"
    return "ran" if state.ok else "failed"


def _source_lines(facts: HostFacts) -> Iterator[str]:
    """Where the emulators that --qemu brought come from, and what they are now."""
    paths = {entry.interpreter for entry in facts.entries}
    for path in sorted(paths):
        file = facts.interpreter(path)
        if file.source:
            yield f"{path}"
            yield f"    from {file.source}"
            yield f"    sha256 {file.digest or 'unknown: cannot be read'}"


def _status_verdict(result: Result) -> str:
    working = sum(state.ok for state in result.verdict.platforms)
    if result.facts.mount.state != "mounted":
        return "no registry to see here"
    return f"{len(result.facts.entries)} entries, {working} platforms emulated"


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns aligned to their widest cell, the last one left as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()


def json_report(result: Result) -> str:
    """The JSON document."""
    import json

    return json.dumps(document(result), indent=2) + "\n"


def github_report(result: Result) -> str:
    """One workflow command a finding (GitHub's `::error title=…::message`)."""
    lines = [
        _annotation(f.severity, f.code, f.message, f.hint) for f in result.verdict.all_findings
    ]
    lines += [_annotation("error", e.code, e.message, e.hint) for e in result.errors]
    return "\n".join([*lines, _verdict_line(result, Style())]) + "\n"


def _annotation(severity: str, code: str, message: str, hint: str) -> str:
    level = {"error": "error", "warning": "warning"}.get(severity, "notice")
    words = f"{message}\n{hint}" if hint else message
    escaped = words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::{level} title=binfmt-setup {code}::{escaped}"


def junit_report(result: Result) -> str:
    """A test case for each platform, as CI systems read it."""
    from xml.etree import ElementTree as ET

    states = result.verdict.platforms
    suite = ET.Element("testsuite", name="binfmt-setup")
    suite.set("tests", str(len(states) + len(result.engines)))
    suite.set("errors", str(len(result.errors)))
    suite.set("failures", str(sum(not state.ok for state in states)))
    for state in states:
        case = ET.SubElement(
            suite, "testcase", classname="binfmt-setup.check", name=state.platform.name
        )
        if not state.ok:
            failure = ET.SubElement(case, "failure", message=_how(state))
            failure.text = "\n".join(f"{f.message}\n{f.hint}".strip() for f in state.findings)
    for report in result.engines:
        case = ET.SubElement(suite, "testcase", classname="binfmt-setup.engine", name=report.name)
        if report.error:
            ET.SubElement(case, "error", message=report.error.code).text = report.error.message
        elif report.output:
            ET.SubElement(case, "system-out").text = report.output
    notes = [f"{f.severity}: {f.message}" for f in result.verdict.findings]
    if notes:
        ET.SubElement(suite, "system-out").text = "\n".join(notes)
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
