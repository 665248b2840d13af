"""What each command does, from the platforms asked for to the verdict; printing is not here."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from binfmt_setup.errors import (
    BinfmtSetupError,
    ExitCode,
    UsageProblem,
)
from binfmt_setup.targets import (
    TARGETS,
    X86_LEVELS,
    Platform,
    Target,
    container_platforms,
    parse_platform,
)
from binfmt_setup.verdict import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.apply import Outcome
    from binfmt_setup.engines import EngineCalls, EngineReport
    from binfmt_setup.facts import HostFacts
    from binfmt_setup.host import Host
    from binfmt_setup.probes import ProbeResult


@dataclass(frozen=True)
class Result:
    """What a command has to say; `outcomes` are planned steps under --check."""

    command: str
    facts: HostFacts
    verdict: Verdict = field(default_factory=Verdict)
    outcomes: tuple[Outcome, ...] = ()
    errors: tuple[BinfmtSetupError, ...] = ()
    check: bool = False
    strict: bool = False
    engines: tuple[EngineReport, ...] = ()
    security: bool = False

    @property
    def changed(self) -> bool:
        """Whether something was changed, or would be."""
        return any(outcome.result in ("done", "planned") for outcome in self.outcomes)

    @property
    def exit_code(self) -> ExitCode:
        """The answer as an exit status."""
        if self.errors:
            return self.errors[0].exit_code
        prepared = self.command == "install" and not self.facts.live
        if self.check or prepared or self.command in ("status", "uninstall", "unit"):
            return ExitCode.OK
        good = self.verdict.good(strict=self.strict)
        if self.security:
            good = self.verdict.clean(strict=True)
        return ExitCode.OK if good else ExitCode.ANSWER_IS_NO


@dataclass(frozen=True)
class Asked:
    """The platforms a command works on, and whether the user named them."""

    platforms: tuple[Platform, ...]
    named: bool


def asked_for(names: Sequence[str]) -> Asked:
    """Read the platform arguments; raises UsageProblem for an unknown one."""
    words = [word for name in names for word in name.split(",") if word]
    if "all" in (word.lower() for word in words):
        every = tuple(p for t in TARGETS for p in t.platforms if p.variant.suffix not in X86_LEVELS)
        return Asked(every, named=False)
    if words:
        return Asked(tuple(dict.fromkeys(parse_platform(word) for word in words)), named=True)
    return Asked(container_platforms(), named=False)


def check(
    host: Host,
    names: Sequence[str],
    *,
    strict: bool = False,
    versions: bool = False,
    engines: EngineCalls | None = None,
) -> Result:
    """Whether the platforms work, and what is wrong if not; changes nothing."""
    asked = asked_for(names)
    with proving(host, asked.platforms) as results:
        # While the probes run: importing the rooms that judge takes as long as their work.
        from binfmt_setup.findings import judge
        from binfmt_setup.snapshot import snapshot, with_digests, with_versions

        facts = snapshot(host, asked.platforms)
        found = results()
    wished = selected(facts, asked, found)
    if versions:
        facts = with_versions(host, facts, _handler_paths(facts, wished))
        found = _with_pinned_versions(host, facts, wished, found)
    verdict = judge(with_digests(host, facts), wished, found)
    if not wished:
        verdict = replace(verdict, findings=(*verdict.findings, _nothing_to_emulate(facts)))
    result = Result("check", facts, verdict, strict=strict)
    return _with_engines(result, engines, named=asked.named) if engines else result


def _with_engines(result: Result, calls: EngineCalls, *, named: bool) -> Result:
    """The same check, answered by builds with container engines."""
    from binfmt_setup.engines import Question, ask_engines, with_engines

    states = result.verdict.platforms
    running = frozenset(state.platform.name for state in states if state.ok)
    question = Question(tuple(state.platform for state in states), named, running)
    reports = ask_engines(calls, question) if states else ()
    errors = tuple(report.error for report in reports if report.error)
    verdict = with_engines(result.verdict, reports)
    return replace(result, verdict=verdict, errors=errors, engines=reports)


def check_security(host: Host, *, strict: bool = False) -> Result:
    """Whether the entries of a host can be trusted; runs no probe and changes nothing.

    Raises UsageProblem for an offline tree, which has none.
    """
    from binfmt_setup.provenance import with_provenance
    from binfmt_setup.security import security_verdict
    from binfmt_setup.snapshot import snapshot

    if not host.live:
        raise UsageProblem(
            "--security looks at the kernel's entries, and an offline tree has no kernel",
            hint="run it on the live host",
        )
    facts = with_provenance(host, snapshot(host))
    return Result("check", facts, security_verdict(facts), strict=strict, security=True)


def stopped(host: Host, command: str, error: BinfmtSetupError, *, check: bool) -> Result:
    """The result of a command that an error stopped: the host as it is, and what is wrong."""
    from binfmt_setup.findings import judge
    from binfmt_setup.snapshot import snapshot

    facts = snapshot(host)
    return Result(command, facts, judge(facts, (), {}), errors=(error,), check=check)


def _nothing_to_emulate(facts: HostFacts) -> Finding:
    from binfmt_setup import packages

    known = packages.package_manager(facts.distribution)
    return Finding(
        "interpreter-missing", "error", "there is no emulator on this host",
        f"run: binfmt-setup install {'--install-qemu' if known else '--qemu DIR'}",
        evidence="looked for QEMU where distributions put it, for every container platform",
    )  # fmt: skip


def probe(host: Host, platforms: Sequence[Platform]) -> Mapping[str, ProbeResult]:
    """Run the probes of these platforms; none on an offline tree."""
    with proving(host, platforms) as results:
        return results()


def proving(
    host: Host, platforms: Sequence[Platform]
) -> AbstractContextManager[Callable[[], Mapping[str, ProbeResult]]]:
    """The same, beside what is done until the results are asked for: the host can be read."""
    if not host.live:
        return nullcontext(dict)
    return host.prove([p.probe for p in platforms])


def selected(
    facts: HostFacts, asked: Asked, found: Mapping[str, ProbeResult]
) -> tuple[Platform, ...]:
    """The platforms meant: the named ones, else those that need and have an emulator."""
    if asked.named:
        return asked.platforms
    return tuple(
        p
        for p in asked.platforms
        if p.target != facts.native
        and not (p.probe in found and found[p.probe].native)
        and not (not facts.live and facts.native and p.target.name in facts.native.runs_also)
        and (facts.emulators.get(p.target.name) or facts.handler(p.target.magic))
    )


def _handler_paths(facts: HostFacts, platforms: Sequence[Platform]) -> list[str]:
    handlers = (facts.handler(platform.target.magic) for platform in platforms)
    return [handler.interpreter for handler in handlers if handler]


def targets_of(platforms: Sequence[Platform]) -> list[Target]:
    """The targets of these platforms, each once."""
    return list(dict.fromkeys(platform.target for platform in platforms))


def status(host: Host) -> Result:
    """Every entry of the host."""
    from binfmt_setup.findings import judge
    from binfmt_setup.snapshot import snapshot, with_digests, with_versions

    facts = snapshot(host)
    if host.live:
        elf = [e.interpreter for e in facts.entries if e.registration.magic[:1] == b"\x7f"]
        facts = with_versions(host, facts, elf)
        facts = with_digests(host, facts)
    served = [
        platform
        for platform in asked_for(["all"]).platforms
        if (handler := facts.handler(platform.target.magic)) and handler.registration.magic
    ]
    found = _with_pinned_versions(host, facts, served, probe(host, served))
    return Result("status", facts, judge(facts, served, found))


def _with_pinned_versions(
    host: Host, facts: HostFacts, platforms: Sequence[Platform], found: Mapping[str, ProbeResult]
) -> Mapping[str, ProbeResult]:
    """Ask those interpreters for their version that are not the file on disk any more."""
    stale = []
    for platform in platforms:
        handler, result = facts.handler(platform.target.magic), found.get(platform.probe)
        if handler is None or result is None or not (result.ok and result.pinned):
            continue
        if result.pinned != facts.interpreter(handler.interpreter).identity:
            stale.append(platform.probe)
    return host.ask_pinned(found, stale) if stale else found
