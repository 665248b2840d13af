"""Results as text for people, readable at 80 columns and without colour."""

from __future__ import annotations

from binfmt_setup.boot.survival import why_lost
from binfmt_setup.model.escaping import visible
from binfmt_setup.model.targets import parse_platform, target_of_entry
from binfmt_setup.report import words
from binfmt_setup.report.check_rows import host_rows, platform_rows, why_unproven
from binfmt_setup.report.lines import hint, marked, table, wrapped
from binfmt_setup.report.result import (
    ChangeResult,
    CheckResult,
    DeepResult,
    InstallResult,
    Result,
    SecurityResult,
    StatusResult,
)
from binfmt_setup.report.verdict_words import counted, verdict_words

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.diagnosis.verdict import PlatformState, Verdict
    from binfmt_setup.engines.answers import EngineReport
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.report.style import Style


_NOT_PROBED = "not probed"


def text_report(result: Result, style: Style, *, diff: bool = False, quiet: bool = False) -> str:
    """The report for people: facts, findings, remedies, and the verdict in the last line.

    `quiet` leaves the verdict alone.
    """
    if quiet:
        return "\n".join(_verdict_lines(result, style)) + "\n"
    if isinstance(result, StatusResult):
        return "\n".join(_status_lines(result, style)) + "\n"
    lines: list[str] = []
    if isinstance(result, ChangeResult):
        lines += _action_lines(result, style, diff=diff)
    if not isinstance(result, ChangeResult) or _tells_facts(result):
        lines += _fact_lines(result, style)
        engines = result.engines if isinstance(result, CheckResult) else ()
        lines += [line for report in engines for line in _engine_lines(report, style)]
        if isinstance(result, DeepResult):
            from binfmt_setup.report.workout_text import workout_lines

            lines += workout_lines(result, style)
        lines += _finding_lines(result.verdict, style)
    lines += [line for error in result.errors for line in error_lines(error, style)]
    return "\n".join([*lines, *_verdict_lines(result, style)]) + "\n"


def _tells_facts(result: ChangeResult) -> bool:
    """Whether the host is described behind the changes: once something was installed."""
    return isinstance(result, InstallResult) and not result.check


def error_lines(error: BinfmtSetupError, style: Style) -> Iterator[str]:
    """What stopped a command, and what to do about it."""
    first, *rest = error.message.split("\n")
    yield from marked(style, "bad", first)
    for line in rest:  # what another program said, as it said it
        yield f"  {visible(line)}"
    if error.hint:
        yield from hint(style, error.hint)


def _fact_lines(result: Result, style: Style) -> Iterator[str]:
    """One line for each fact; where one platform is asked for, for each of its facts."""
    if isinstance(result, SecurityResult):
        count = len(result.facts.registry.entries)
        seen = "1 entry and its interpreter" if count == 1 else counted(count, "entry")
        unmounted = result.facts.registry.mount.state != "mounted"
        seen = "no entry: binfmt_misc is not mounted" if unmounted else seen
        yield from marked(style, "note", f"looked at {seen}")
        return
    states = result.verdict.platforms
    emulated = any(state.ran and state.how == "emulated" for state in states)
    rows = list(host_rows(result.facts, emulated=emulated))
    if len(states) == 1 and isinstance(result, CheckResult):
        rows += platform_rows(result.facts, states[0])
        for row in rows:
            yield from marked(style, row.mark, f"{row.topic:<9} {row.words}", 14)
        return
    for row in rows:
        yield from marked(style, row.mark, row.words)
    shown: dict[tuple[str, str, str], list[str]] = {}
    for state in states:
        kind = "good" if state.ok else "note" if state.unproven else "bad"
        # What several variants share is one line: they share the entry and QEMU.
        key = (state.platform.target.name, kind, _how(state))
        shown.setdefault(key, []).append(state.platform.name)
    labels = {key: words.in_short(names) for key, names in shown.items()}
    width = max((len(label) for label in labels.values()), default=0)
    for (_, kind, how), label in zip(shown, labels.values(), strict=True):
        yield from marked(style, kind, f"{label:<{width}}  {how}", width + 4)
    if isinstance(result, InstallResult) and (said := _by_package(result)):
        yield from marked(style, "note", said)


def _by_package(result: InstallResult) -> str:
    """What the package that was just installed has registered by itself; empty for nothing."""
    if not any(o.step.kind == "install-package" and o.result == "done" for o in result.outcomes):
        return ""
    from binfmt_setup.diagnosis.ownership import owner_of
    from binfmt_setup.emulators.package_managers.interface import package_manager

    facts, manager = result.facts, package_manager(result.facts.distribution)
    theirs = {
        entry.name: target
        for entry in facts.registry.entries
        if owner_of(facts, entry).by_distribution and (target := target_of_entry(entry.name))
    }
    handlers = dict.fromkeys(s.handler.name for s in result.verdict.platforms if s.handler)
    asked = [name for name in handlers if name in theirs]
    if manager is None or not asked:
        return ""
    package = manager.packages(facts.distribution, [theirs[name] for name in asked])[-1]
    others = len(theirs) - len(asked)
    also = f", which also registered {counted(others, 'other')}" if others else ""
    return f"{', '.join(asked)} registered by the package {package}{also}"


def _engine_lines(report: EngineReport, style: Style) -> Iterator[str]:
    """What an engine printed where it failed, and what it built."""
    for line in report.output.splitlines():
        yield style.paint(f"    {report.name}| {visible(line)}", "dim")
    if not report.built:
        return
    who = f"{report.name} {report.version}" + (f" ({report.details})" if report.details else "")
    one = ", in one index" if len(report.index) > 1 and report.index >= report.built else ""
    yield from marked(style, "good", f"{who} built {', '.join(sorted(report.built))}{one}")


def _how(state: PlatformState) -> str:
    """How a platform's programs run, in a few words that fit a line of 80 columns."""
    if state.unproven:
        by = f"registered as {state.handler.name} " if state.handler else ""
        return f"{by}not proven: {why_unproven(state)}"
    if state.ok and not state.ran:
        return "built by the engine, does not run on the host itself"
    if not state.ok:
        no = "does not run" if state.prepared is None else "not prepared"
        return "its probe ran, but not every engine built it" if state.ran else no
    if state.how == "native":
        return "native: its probe ran without an emulator"
    if state.handler is None:
        return "emulated by an entry not visible from here"
    return f"emulated by {state.handler.name} ({state.handler.flags}), its probe ran"


def _finding_lines(verdict: Verdict, style: Style) -> Iterator[str]:
    """What was found, the worst first, equal findings of several platforms as one."""
    kinds = {"error": "bad", "warning": "warn", "info": "note"}
    grouped: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in verdict.all_findings:
        if finding.code != "not-probed":
            key = (finding.severity, finding.code, _template(finding))
            grouped.setdefault(key, []).append(finding)
    order = ("info", "warning", "error")
    rows = sorted(grouped.items(), key=lambda group: order.index(group[0][0]))
    for (severity, code, template), found in rows:
        names = words.in_short([finding.platform for finding in found if finding.platform])
        messages = {words.words_of(finding.fact).message for finding in found}
        said = template if len(messages) > 1 else messages.pop()
        line = f"{names}: {said}" if names else said
        yield from marked(style, kinds[severity], f"{line} [{code}]")
        seen = words.evidence(found[0])
        if seen and severity != "info":
            more = f" (and {len(found) - 1} like it)" if len(found) > 1 else ""
            yield from (
                style.paint(line, "dim")
                for line in wrapped(f"seen: {seen}{more}", "    ", "      ")
            )
    for remedy in words.remedies(verdict.all_findings):
        yield from hint(style, remedy)


def _template(finding: Finding) -> str:
    """The words of a finding with its target's name as `*`, equal for several platforms."""
    said = words.words_of(finding.fact).message
    if not finding.platform:
        return said
    return said.replace(parse_platform(finding.platform).target.name, "*")


def _action_lines(result: ChangeResult, style: Style, *, diff: bool) -> Iterator[str]:
    from binfmt_setup.changes.steps import ChangeEntry
    from binfmt_setup.report.document import described

    verbs = {"done": "good", "planned": "note", "failed": "bad", "rolled-back": "bad"}
    for outcome in result.outcomes:
        if outcome.result not in verbs:
            continue
        target, before, after = described(outcome.step)
        sign = style.mark(verbs[outcome.result])
        word = "" if outcome.result in ("done", "planned") else f" ({outcome.result})"
        yield f"{sign} {outcome.step.kind.replace('-', ' ')} {visible(target)}{word}"
        if isinstance(outcome.step, ChangeEntry) and outcome.step.after:
            registration = outcome.step.after
            yield f"    {visible(registration.interpreter)}, flags {registration.flags}"
        if diff and (before or after):
            yield from _diff(target, before, after)


def _diff(target: str, before: str | None, after: str | None) -> Iterable[str]:
    import difflib

    old, new = (text.splitlines() if text else [] for text in (before, after))
    return (
        f"    {visible(line)}"
        for line in difflib.unified_diff(old, new, f"{target} now", f"{target} then", lineterm="")
    )


def _verdict_lines(result: Result, style: Style) -> Iterator[str]:
    """What it comes to, in the last line; a long list of platforms goes on in the next."""
    text, good = verdict_words(result)
    return (style.paint(line, "good" if good else "bad") for line in wrapped(text, "", "  "))


def _status_lines(result: StatusResult, style: Style) -> Iterator[str]:
    from binfmt_setup.diagnosis.ownership import owner_of

    facts = result.facts
    for row in host_rows(facts, emulated=any(s.ok for s in result.verdict.platforms)):
        yield from marked(style, row.mark, row.words)
    probed = {s.handler.name: s for s in result.verdict.platforms if s.handler}
    rows = [("ENTRY", "FLAGS", "QEMU", "REBOOT", "OWNER", "PROBE")]
    for entry in facts.registry.entries:
        state = probed.get(entry.name)
        unprobed = state is not None and any(f.code == "not-probed" for f in state.findings)
        said = facts.emulators.version_at(entry.interpreter)
        version = said.partition(" ")[0].partition("(")[0]
        stale = state is not None and any(f.code == "interpreter-stale" for f in state.findings)
        rows.append((
            visible(entry.name) + ("" if entry.enabled else " (disabled)"),
            entry.flags or "-",
            _versions(state, version) if stale and state else version or "-",
            _after_reboot(facts, entry.name),
            owner_of(facts, entry).shown,
            _probe_word(state, unprobed=unprobed),
        ))  # fmt: skip
    if not facts.live:
        yield from _first_boot_lines(facts)
    elif facts.registry.entries:
        yield from table(rows)
        yield from _interpreter_lines(facts.registry.entries)
        yield from _source_lines(facts)
        yield from _unprobed_lines(rows, style)
    yield from _finding_lines(result.verdict, style)
    yield from _verdict_lines(result, style)


def _first_boot_lines(facts: HostFacts) -> Iterator[str]:
    """The entries that an offline tree's first boot will make, and what makes each."""
    from binfmt_setup.boot.next_registry import next_registry
    from binfmt_setup.diagnosis.ownership import owner_of

    after = next_registry(facts)
    if not after.lines:
        return
    rows = [("ENTRY", "FLAGS", "OWNER", "REGISTERED BY")]
    for line, entry in zip(after.lines, after.entries, strict=True):
        owner = owner_of(facts, entry).shown
        rows.append((visible(entry.name), entry.flags or "-", owner, visible(line.place)))
    yield from table(rows)
    yield from _interpreter_lines(after.entries)


def _interpreter_lines(entries: Sequence[Entry]) -> Iterator[str]:
    """The interpreters' paths, those alike but for the target's name as one."""
    alike: dict[str, list[str]] = {}
    for entry in entries:
        target = target_of_entry(entry.name)
        path = entry.interpreter
        pattern = path.replace(target.name, "TARGET") if target else path
        alike.setdefault(pattern, []).append(path)
    for pattern, paths in alike.items():
        many = len(paths) > 1
        yield visible(f"{len(paths)} x {pattern}" if many else f"interpreter {paths[0]}")


def _after_reboot(facts: HostFacts, name: str) -> str:
    if not facts.process.sees_files:
        return "unknown"
    return "lost" if why_lost(facts, name) else "stays"


def _versions(state: PlatformState, disk: str) -> str:
    """What the kernel runs, and what it would run were it registered today."""
    pinned = state.pinned_version.split(" ")[0] or "older"
    return f"{pinned} (disk: {disk or 'gone'})"


def _probe_word(state: PlatformState | None, *, unprobed: bool) -> str:
    """What a probe said of an entry; entries of other tools than QEMU have none."""
    if state is None:
        return "-"
    if unprobed:
        return _NOT_PROBED
    return "ran" if state.ok else "failed"


def _unprobed_lines(rows: Sequence[tuple[str, ...]], style: Style) -> Iterator[str]:
    """The entries that nobody can prove, as there is no probe for them."""
    names = [row[0] for row in rows if row[-1] == _NOT_PROBED]
    if names:
        yield from marked(style, "note", f"registered, not probed: {', '.join(names)}")


def _source_lines(facts: HostFacts) -> Iterator[str]:
    """Where the emulators that --qemu brought come from, and what they are now."""
    paths = {entry.interpreter for entry in facts.registry.entries}
    for path in sorted(paths):
        file = facts.emulators.file_at(path)
        if file and file.source:
            yield visible(path)
            yield f"    from {visible(file.source)}"
            yield f"    sha256 {file.digest or 'unknown: cannot be read'}"
