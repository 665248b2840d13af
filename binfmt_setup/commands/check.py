"""`check`: whether platforms work, and what is wrong if not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.commands.request import asked_for, proving, selected
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import container_platforms, targets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.engines.ask import EngineCalls
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.report.result import CheckResult
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


def check(  # noqa: PLR0913 - most of them are options of the command
    host: Host,
    names: Sequence[str],
    *,
    strict: bool = False,
    versions: bool = False,
    engines: EngineCalls | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> CheckResult:
    """Whether the platforms work, and what is wrong if not; changes nothing.

    `meanwhile` is done while the probes run: it imports what shows the result.
    """
    asked = asked_for(names)
    with proving(host, asked.platforms) as results:
        # While the probes run: importing what reads and judges takes as long.
        from binfmt_setup.diagnosis.judge import judge
        from binfmt_setup.inspect.snapshot import snapshot, with_digests, with_versions
        from binfmt_setup.report.result import CheckResult

        facts = snapshot(host, asked.platforms)
        if versions:
            facts = with_versions(host, facts, _handler_paths(facts, asked.platforms))
        meanwhile()
        found = results()
        # While what ran them comes to its end.
        wished = selected(facts, asked, found)
        if versions:
            found = with_pinned_versions(host, facts, wished, found)
        verdict = judge(with_digests(host, facts), wished, found)
    if not wished:
        verdict = replace(verdict, findings=(*verdict.findings, _nothing_to_emulate(facts)))
    result = CheckResult(facts, verdict, strict=strict)
    return _with_engines(result, engines, named=asked.named) if engines else result


def _with_engines(result: CheckResult, calls: EngineCalls, *, named: bool) -> CheckResult:
    """The same check, answered by builds with container engines."""
    from binfmt_setup.engines.answers import Question
    from binfmt_setup.engines.ask import ask_engines, with_engines

    states = result.verdict.platforms
    running = frozenset(state.platform.name for state in states if state.ran)
    question = Question(tuple(state.platform for state in states), named, running)
    reports = ask_engines(calls, question) if states else ()
    errors = tuple(text.error for text in reports if text.error)
    verdict = with_engines(result.verdict, reports)
    return replace(result, verdict=verdict, errors=errors, engines=reports)


def _nothing_to_emulate(facts: HostFacts) -> Finding:
    from binfmt_setup.diagnosis.catalogue import InterpreterMissing
    from binfmt_setup.diagnosis.finding import Finding, Remedy
    from binfmt_setup.emulators.package_managers.interface import package_manager

    manager = package_manager(facts.distribution)
    source = ("--install-qemu",) if manager else ("--qemu", "DIR")
    remedy = Remedy(("binfmt-setup", "install", *source), complete=manager is not None)
    if manager is not None and not manager.runs:
        targets = targets_of(container_platforms())
        remedy = Remedy(first=manager.remedy(facts.distribution, targets))
    return Finding(InterpreterMissing(), remedy=remedy)


def _handler_paths(facts: HostFacts, platforms: Sequence[Platform]) -> list[str]:
    handlers = (facts.registry.handler(platform.header) for platform in platforms)
    return [handler.interpreter for handler in handlers if handler]


def with_pinned_versions(
    host: Host, facts: HostFacts, platforms: Sequence[Platform], found: Mapping[str, ProbeResult]
) -> Mapping[str, ProbeResult]:
    """Ask those interpreters for their version that are not the file on disk any more."""
    stale = []
    for platform in platforms:
        handler, result = facts.registry.handler(platform.header), found.get(platform.probe)
        if handler is None or result is None or not (result.ok and result.pinned):
            continue
        if result.pinned != facts.emulators.identity_at(handler.interpreter):
            stale.append(platform.probe)
    return host.ask_pinned(found, stale) if stale else found
