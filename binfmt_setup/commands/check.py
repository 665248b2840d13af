"""`check`: whether platforms work, and what is wrong if not."""

from __future__ import annotations

from binfmt_setup.commands.request import present, probe, proving, selected
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import container_platforms, targets_of

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.diagnosis.verdict import Verdict
    from binfmt_setup.engines.ask import EngineCalls
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Request
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.report.result import CheckResult
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


def check(
    host: Host,
    request: Request,
    *,
    versions: bool = False,
    engines: EngineCalls | None = None,
    meanwhile: Callable[[], object] = lambda: None,
) -> CheckResult:
    """Whether the platforms work, and what is wrong if not; changes nothing.

    With `versions` QEMU's version is among what is read. `meanwhile` is done while the probes run:
    it imports what shows the result.
    """
    usual = request.scope == "usual"
    with proving(host, request.platforms) as results:
        # While the probes run: importing what reads and judges takes as long.
        from binfmt_setup.diagnosis.judge import judge
        from binfmt_setup.inspect.natives import with_natives
        from binfmt_setup.inspect.snapshot import snapshot, with_digests, with_versions
        from binfmt_setup.report.result import CheckResult

        facts = snapshot(host, request.platforms)
        wished = present(facts) if usual else ()
        more = [platform for platform in wished if platform not in request.platforms]
        if more:  # registered here, though no container image comes for it
            facts = snapshot(host, (*request.platforms, *more))
        if versions:
            facts = with_versions(host, facts, _handler_paths(facts, wished or request.platforms))
        meanwhile()
        found = results()
        # While what ran them comes to its end.
        if more:
            found = {**found, **probe(host, more)}
        facts = with_natives(host, facts, found)
        wished = wished or selected(facts, request, found)
        if versions:
            found = with_pinned_versions(host, facts, wished, found)
        verdict = judge(with_digests(host, facts), wished, found, named=request.named)
    if request.credentials:
        verdict = _without_wished_credentials(verdict)
    if request.keep:
        from binfmt_setup.diagnosis.next_boot import not_kept

        verdict = replace(verdict, findings=(*verdict.findings, *not_kept(facts)))
    if not wished:
        verdict = replace(verdict, findings=(*verdict.findings, _nothing_to_emulate(facts)))
    result = CheckResult(facts, verdict, strict=request.strict)
    return _with_engines(result, engines, named=request.named) if engines else result


def _without_wished_credentials(verdict: Verdict) -> Verdict:
    """The verdict where the wish list asks for the C flag: that it is there is no warning."""
    from binfmt_setup.diagnosis.catalogue import CredentialsFlag, CredentialsWished

    def told(finding: Finding) -> Finding:
        if not isinstance(finding.fact, CredentialsFlag):
            return finding
        wished = CredentialsWished(finding.fact.by_distribution)
        return replace(finding, fact=wished, remedy=None)

    states = (replace(s, findings=tuple(map(told, s.findings))) for s in verdict.platforms)
    return replace(verdict, platforms=tuple(states))


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
    from binfmt_setup.diagnosis.failed_probes import install, install_with
    from binfmt_setup.diagnosis.finding import Finding, Remedy, for_user
    from binfmt_setup.emulators.choice import foreign
    from binfmt_setup.emulators.package_managers.interface import install_hint, package_manager

    manager = package_manager(facts.distribution)
    targets = foreign(facts, targets_of(container_platforms()))
    source = ("--install-qemu",) if manager else ("--qemu", "DIR")
    remedy = Remedy(install_with(facts, *source), complete=manager is not None)
    if not facts.live:
        remedy = Remedy(install(facts), first=install_hint(facts, targets))
    elif manager is not None and not manager.runs:
        remedy = Remedy(
            first=manager.remedy(facts.distribution, targets, sudo=not facts.process.is_root)
        )
    return for_user(Finding(InterpreterMissing(), remedy=remedy), facts.process.effective_uid)


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
