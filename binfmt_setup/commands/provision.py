"""What `install` does once it may: read, plan, carry out, and tell what came of it."""

from __future__ import annotations

from functools import partial

from binfmt_setup.changes import conditions, plan, recovery
from binfmt_setup.changes.steps import ChangeEntry, Outcome, Plan, Prepare, Unpack
from binfmt_setup.changes.transaction import Transaction
from binfmt_setup.commands.request import probe, selected
from binfmt_setup.emulators import choice
from binfmt_setup.inspect.natives import with_natives
from binfmt_setup.inspect.snapshot import looked_again, snapshot, with_versions
from binfmt_setup.model.errors import EnvironmentUnfit, NoEmulator
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.targets import targets_of

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.changes.transaction import Examiner
    from binfmt_setup.commands.ground import Ground
    from binfmt_setup.diagnosis.verdict import Verdict
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Request
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.report.result import InstallResult
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


class Reading(Record):
    """The host, what its probes said, the platforms that are meant, and what is to change."""

    facts: HostFacts
    found: Mapping[str, ProbeResult]
    platforms: tuple[Platform, ...]
    plan: Plan
    recovered: tuple[Outcome, ...] = ()


class Done(Record):
    """What was read, what was done around the plan, and the transaction; none under --check."""

    reading: Reading
    request: Request
    around: tuple[Outcome, ...]
    transaction: Transaction | None


def provide(
    host: Host,
    request: Request,
    results: Callable[[], Mapping[str, ProbeResult]],
    ground: Ground,
) -> Done:
    """Read and plan; unless only the plan is wanted, carry it out.

    `results` waits for the probes, which run already. Raises the typed error for whatever makes
    it pointless to try.
    """
    reading = _read(host, request, results, ground)
    if request.keep:
        conditions.require_watch(reading.facts, request)
    around = [*ground.outcomes, *reading.recovered]
    lacking = _without_emulator(reading, request)
    if lacking and request.install_qemu:
        step = _package_step(host, reading.facts, lacking, request)
        if request.check:
            around.append(Outcome(step, "planned"))
            return Done(_without_no_emulator(reading), request, tuple(around), None)
        before, again = reading.facts, probe(host, request.platforms)
        reading = _read(host, request, lambda: again, ground)
        # To the manager all was there already, or its package has not what is lacking.
        in_vain = before.emulators == reading.facts.emulators
        around.append(Outcome(step, "unchanged" if in_vain else "done"))
        if in_vain:
            _not_once_more(reading, step.target)
    if not reading.platforms:
        raise choice.missing(reading.facts, targets_of(request.platforms), request.source)
    if request.check:
        _require_f(reading.facts, reading.found)
        return Done(reading, request, tuple(around), None)
    from binfmt_setup.report.words.emulators import choice_explained

    for change in reading.plan.targets:
        if change.entry is not None and change.entry.after is not None:
            host.say(choice_explained(reading.facts, change.target))
    work = Transaction(
        host,
        reading.plan,
        reading.facts,
        reading.found,
        partial(next, _imports_of_what_judges(), None),
        examine=_examiner(host) if request.deep else None,
    )
    work.carry_out()
    return Done(reading, request, tuple(around), work)


def _examiner(host: Host) -> Examiner:
    """What exercises new emulators before they serve anybody."""
    from binfmt_setup.commands.deep import unfit_candidates

    return partial(unfit_candidates, host)


def _read(
    host: Host, request: Request,
    results: Callable[[], Mapping[str, ProbeResult]], ground: Ground,
) -> Reading:  # fmt: skip
    """Read the host and plan; what a killed run left is brought to an end first."""
    seen = snapshot(
        host, request.platforms, qemu_directory=ground.qemu_directory, emulator=request.emulator
    )
    facts = ground.seen(seen)
    if not (request.check and ground.outcomes):
        conditions.require_registry(facts)
    found = results()
    ended: list[Outcome] = []
    ending = recovery.steps(facts) if facts.live else ()
    if ending and request.check:
        ended = [Outcome(step, "planned") for step in ending]
        found = recovery.still_known(facts, dict(found), ending)
        facts = recovery.foreseen(facts, ending)
    elif ending:
        ended = recovery.finish(host, facts, ending)
        facts, found = looked_again(host, facts), probe(host, request.platforms)
    facts = with_natives(host, facts, found)
    wished = selected(facts, request, found)
    facts = _with_needed_versions(host, facts, wished)
    todo = plan.plan_install(facts, wished, found, request)
    return Reading(facts, found, wished, todo, tuple(ended))


def _with_needed_versions(host: Host, facts: HostFacts, wished: Sequence[Platform]) -> HostFacts:
    """QEMU is asked for its version only where the P flag depends on it."""
    chosen = (choice.choose(facts, target) for target in targets_of(wished))
    unsure = [c.path for c in chosen if c is not None and not c.needs_binfmt_flags]
    return with_versions(host, facts, unsure) if facts.live else facts


def _imports_of_what_judges() -> Iterator[None]:
    """Load what comes next in the time that probes take, in pieces.

    The last one is for findings about the host: it is loaded while new entries are proven, when
    nothing else is left to do.
    """
    from binfmt_setup.diagnosis import judge  # noqa: F401 - for those who need them next

    yield
    from binfmt_setup.report import text_report  # noqa: F401

    yield
    from binfmt_setup.diagnosis.catalogue import registry  # noqa: F401
    from binfmt_setup.report.words import registry as words  # noqa: F401

    yield


def _without_emulator(reading: Reading, request: Request) -> tuple[Platform, ...]:
    """The platforms that wait for a package: without names, all container platforms."""
    if not reading.platforms:
        targets = choice.foreign(reading.facts, targets_of(request.platforms))
        return tuple(p for p in request.platforms if p.target in targets)
    problems = reading.plan.problems
    lacking = {target for target, error in problems if isinstance(error, NoEmulator)}
    return tuple(platform for platform in reading.platforms if platform.target in lacking)


def _without_no_emulator(reading: Reading) -> Reading:
    """The same once a package has brought the emulators."""
    problems = tuple(p for p in reading.plan.problems if not isinstance(p[1], NoEmulator))
    return replace(reading, plan=replace(reading.plan, problems=problems))


def _package_step(
    host: Host, facts: HostFacts, lacking: Sequence[Platform], request: Request
) -> Prepare:
    """Install the package that brings what these platforms lack, or only name it."""
    from binfmt_setup.emulators.packages import install_packages, lost_emulators, package_command

    targets = targets_of(lacking)
    again = bool(lost_emulators(host, facts, targets))
    if not request.check:
        install_packages(host, facts, targets, again=again)
    return Prepare("install-package", package_command(facts, targets, again=again))


def _not_once_more(reading: Reading, command: str) -> None:
    """Who had the package manager run in vain is not told to run it."""
    from binfmt_setup.emulators.words import ran_in_vain

    for _, error in reading.plan.problems:
        if isinstance(error, NoEmulator):
            error.hint = ran_in_vain(command)


def _require_f(facts: HostFacts, found: Mapping[str, ProbeResult]) -> None:
    """What --check can foresee of a kernel without F; install itself tries, and sees."""
    from binfmt_setup.diagnosis.judge import knows_f

    emulated = any(probe.ok and not probe.native for probe in found.values())
    if facts.live and facts.kernel.release and not knows_f(facts, emulated=emulated):
        raise EnvironmentUnfit(
            f"Linux {facts.kernel.release} has no F flag: nothing works in containers",
            hint="update the kernel: Linux 4.8 or newer is needed", code="kernel-too-old",
        )  # fmt: skip


def concluded(host: Host, done: Done) -> InstallResult:
    """Start what is to run from now on, look at the host again, and judge it."""
    from binfmt_setup.boot.survival import nothing_lasts
    from binfmt_setup.diagnosis.judge import judge
    from binfmt_setup.report.result import InstallResult

    facts, todo, work = done.reading.facts, done.reading.plan, done.transaction
    # What is in the way of several is one error.
    problems = tuple(dict.fromkeys(error for _, error in todo.problems))
    named = done.request.named
    if work is None:
        verdict = judge(facts, done.reading.platforms, done.reading.found, named=named)
        outcomes = (*done.around, *(Outcome(step, "planned") for step in todo.steps))
        return InstallResult(facts, verdict, problems, outcomes, check=True)
    work.start_units()
    outcomes = (*(_as_it_stayed(host, outcome) for outcome in done.around), *work.outcomes)
    if outcomes:
        facts = looked_again(host, facts)
    verdict = judge(facts, done.reading.platforms, work.probes, named=named)
    errors = (*work.errors, *problems)
    emulated = any(state.how == "emulated" for state in verdict.platforms)
    if done.request.persist and emulated and not errors and (why := nothing_lasts(facts)):
        verdict = _lost_at_reboot(verdict, why)
    return InstallResult(facts, verdict, errors, outcomes, entries=_entries(done, outcomes))


def _as_it_stayed(host: Host, outcome: Outcome) -> Outcome:
    """Emulators that nothing came to use are removed again: then nothing has changed."""
    gone = isinstance(outcome.step, Unpack) and not host.exists(outcome.step.directory)
    return replace(outcome, result="rolled-back") if gone else outcome


def _entries(done: Done, outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """The names of the entries that stayed or came; another program may have dropped one by now."""
    there = {entry.name for entry in done.reading.facts.registry.entries}
    for outcome in outcomes:
        if isinstance(outcome.step, ChangeEntry) and outcome.result == "done":
            there -= {outcome.step.name}
            there |= {outcome.step.name} if outcome.step.after else set()
    return tuple(sorted(there))


def _lost_at_reboot(verdict: Verdict, why: Lost) -> Verdict:
    """Everything was done but for what was asked: that it lasts. Said once, for all."""
    from binfmt_setup.diagnosis.catalogue import NothingPersists, NotPersistent
    from binfmt_setup.diagnosis.finding import Finding

    states = tuple(
        replace(
            state,
            findings=tuple(f for f in state.findings if not isinstance(f.fact, NotPersistent)),
        )
        for state in verdict.platforms
    )
    lost = Finding(NothingPersists(why))
    return replace(verdict, platforms=states, findings=(*verdict.findings, lost))
