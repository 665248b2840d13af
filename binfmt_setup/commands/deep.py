"""`check --deep`: what emulators can do, those of the host or candidates that nobody registered.

The same exercises run natively are the control; what this host cannot do is no emulator's fault.
"""

from __future__ import annotations

import marshal
import os

from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit, UsageProblem
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import target_of_machine
from binfmt_setup.workout.judging import best, judged, speed_factors, unfit
from binfmt_setup.workout.results import ANSWERS, Done, Session, WorkoutReport
from binfmt_setup.workout.running import run_workouts

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.report.result import CheckResult, DeepResult
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.trial import Candidate


_SECONDS = 600.0  # for all candidates of one source; each exercise has a limit of its own
_REFUSED = "the kernel did not register it"
_NO_REGISTRY = (
    "no registry of one's own is to be had here: it takes Linux 6.7, and root or user namespaces"
)
_NO_PROBE = "not even its probe was run"


class Emulator(Record):
    """A candidate for a platform: what would be registered, or why nothing can be."""

    platform: Platform
    registration: Registration | None = None
    version: str = ""
    why_not: str = ""


def deep_check(host: Host, shallow: CheckResult) -> DeepResult:
    """The same check, with the workout of each emulator that serves a platform of it."""
    from binfmt_setup.report.result import DeepResult

    states = [s for s in shallow.verdict.platforms if s.ran and s.how == "emulated"]
    programs = [state.platform.probe for state in states]
    errors = shallow.errors
    reports: list[WorkoutReport] = []
    if programs:
        try:
            control = native_control(host)
            sessions = _exercised(host, programs)
        except EnvironmentUnfit as error:
            errors = (*errors, error)
        else:
            reports = [
                _report(s.platform, sessions[s.platform.probe], control,
                        emulator=s.handler.interpreter if s.handler else "",
                        version=s.pinned_version or s.disk_version)
                for s in states
            ]  # fmt: skip
            errors = (*errors, *_nothing_ran(reports))
    reports += [
        WorkoutReport(s.platform.name, s.platform.target.name, s.handler.interpreter,
                      s.pinned_version or s.disk_version, not_run=_NO_PROBE)
        for s in shallow.verdict.platforms
        if s.handler and not s.ran
    ]  # fmt: skip
    return DeepResult(
        shallow.facts, shallow.verdict, errors, strict=shallow.strict, engines=shallow.engines,
        workouts=tuple(reports),
    )  # fmt: skip


def compare(
    host: Host, platforms: Sequence[Platform], sources: Sequence[str], sha256: str = ""
) -> DeepResult:
    """What candidates can do, each in a registry that nobody else sees, and which one to take."""
    from binfmt_setup.inspect.snapshot import snapshot
    from binfmt_setup.report.result import DeepResult

    facts = snapshot(host)
    native = facts.kernel.native
    wished = [platform for platform in platforms if platform.target != native]
    if not wished:
        raise UsageProblem("no platform that is emulated is named", hint="name one: linux/arm64")
    # Before anything is exercised, which takes seconds: a source may not be there.
    emulators = {source: emulators_of(host, wished, source, sha256) for source in sources}
    control = native_control(host)
    reports = [
        report
        for source, found in emulators.items()
        for report in of_source(host, found, source, control)
    ]
    errors = _nothing_ran(reports)
    return DeepResult(facts, errors=errors, workouts=tuple(_with_best(reports)), compared=True)


def native_control(host: Host, *, measure: bool = True) -> Session:
    """The exercises run natively; where there is no program for it, there is no control."""
    target = target_of_machine(os.uname().machine)
    name = target.platforms[0].probe if target else ""
    return _exercised(host, [name], measure=measure)[name]


def unfit_candidates(
    host: Host, candidates: Sequence[Candidate], serving: Sequence[str]
) -> Mapping[str, str]:
    """Why candidates may not be put into service, by their probes: what `install --deep` asks.

    `serving` are the probes that run today: what programs have, they keep.
    """
    control = native_control(host, measure=False)
    today = _exercised(host, serving, measure=False) if serving else {}
    sessions = _private(host, candidates, measure=False)
    if sessions is None:
        raise EnvironmentUnfit(
            f"--deep cannot try candidates: {_NO_REGISTRY}", hint="install without --deep"
        )
    found = {}
    for name, session in sessions.items():
        report = WorkoutReport("", "", judged=judged(session, control), not_run=session.not_run)
        before = today.get(name)
        known = WorkoutReport("", "", judged=judged(before, control)) if before else None
        if failing := unfit(report, known):
            found[name] = f"{name} fails at {', '.join(failing)}"
    return found


def _with_best(reports: Sequence[WorkoutReport]) -> list[WorkoutReport]:
    """The same by platforms, the one to take of several marked."""
    chosen: list[WorkoutReport] = []
    for platform in dict.fromkeys(report.platform for report in reports):
        own = [report for report in reports if report.platform == platform]
        chosen += [replace(r, best=len(own) > 1 and r is best(own)) for r in own]
    return chosen


def of_source(
    host: Host, emulators: Sequence[Emulator], source: str, control: Session,
    *, measure: bool = True,
) -> list[WorkoutReport]:  # fmt: skip
    """What the emulators of one source can do."""
    from binfmt_setup.system.trial import Candidate

    probes: dict[Registration, list[str]] = {}
    for each in emulators:
        if each.registration:
            probes.setdefault(each.registration, []).append(each.platform.probe)
    candidates = [Candidate(entry, tuple(names)) for entry, names in probes.items()]
    sessions = _private(host, candidates, measure=measure) if candidates else {}
    reports = []
    for each in emulators:
        probe = each.platform.probe
        why = each.why_not or (_NO_REGISTRY if sessions is None else "")
        session = (
            Session(probe, not_run=why)
            if why or sessions is None
            else sessions.get(probe, Session(probe, not_run=_REFUSED))
        )
        path = each.registration.interpreter if each.registration else ""
        reports.append(
            _report(each.platform, session, control, emulator=path, version=each.version,
                    source=source)
        )  # fmt: skip
    return reports


def emulators_of(
    host: Host, platforms: Sequence[Platform], source: str, sha256: str = ""
) -> list[Emulator]:
    """What would be registered from a source, for each platform."""
    from binfmt_setup.changes.registrations import wished_registration
    from binfmt_setup.commands.run import callers_qemu
    from binfmt_setup.emulators import choice
    from binfmt_setup.inspect import snapshot
    from binfmt_setup.model.targets import targets_of

    targets = targets_of(platforms)
    directory = callers_qemu(host, source, sha256, targets)
    facts = snapshot.emulation_facts(host, targets, qemu_directory=directory)
    chosen = {target: choice.choose(facts, target) for target in targets}
    facts = snapshot.with_versions(host, facts, [c.path for c in chosen.values() if c])
    found = []
    for platform in platforms:
        emulator = chosen[platform.target]
        if emulator is None:
            why = choice.missing(facts, [platform.target], source).message
            found.append(Emulator(platform, why_not=why))
            continue
        file = facts.emulators.file_at(emulator.path) or emulator
        wish = wished_registration(facts, platform.target, file, Request())
        found.append(Emulator(platform, wish, facts.emulators.version_at(emulator.path)))
    return found


def _private(
    host: Host, candidates: Sequence[Candidate], *, measure: bool = True
) -> dict[str, Session] | None:
    """What candidates' programs can do; None without a registry of one's own.

    One after the other, each in a registry and a time of its own: one that hangs stops no other.
    """
    found: dict[str, Session] = {}
    for candidate in candidates:
        try:
            sessions = _in_own_registry(host, candidate, measure=measure)
        except EnvironmentUnfit as error:
            sessions = {name: Session(name, not_run=error.message) for name in candidate.probes}
        if sessions is None:
            return None
        found |= sessions
    return found


def _in_own_registry(
    host: Host, candidate: Candidate, *, measure: bool
) -> dict[str, Session] | None:
    from binfmt_setup.system.pipes import say
    from binfmt_setup.system.trial import in_private_registry

    def work(programs: Sequence[str], tell: int) -> NoReturn:
        try:
            sessions = _exercised(host, programs, measure=measure)
        except BinfmtSetupError as error:
            sessions = {name: Session(name, not_run=error.message) for name in programs}
        say(tell, marshal.dumps([_plain(session) for session in sessions.values()]))
        os._exit(0)

    said = in_private_registry(host, [candidate], work, _SECONDS)
    if said is None:
        return None
    rows = marshal.loads(said)  # noqa: S302 - a fork of this very process wrote it
    return {row[0]: _session(*row) for row in rows}


Plain = tuple[str, list[tuple[str, str, str]], str, tuple[str, ...]]


def _plain(session: Session) -> Plain:
    """A session as values that can be sent from one process to another."""
    done = [(each.exercise, str(each.answer), each.detail) for each in session.done]
    return session.program, done, session.not_run, session.isolation


def _session(
    program: str, done: Sequence[tuple[str, str, str]], not_run: str, isolation: tuple[str, ...]
) -> Session:
    """What `_plain` made of a session."""
    return Session(
        program,
        tuple(Done(name, ANSWERS[said], detail) for name, said, detail in done),
        not_run,
        isolation,
    )


def _exercised(host: Host, programs: Sequence[str], *, measure: bool = True) -> dict[str, Session]:
    """Run the workouts of these programs, showing on a terminal how far they are."""
    show: Callable[[str], None] = host.show_progress
    try:
        return run_workouts(programs, environment=dict(os.environ), measure=measure, progress=show)
    finally:
        show("")


def _report(  # noqa: PLR0913 - a report is about all of them
    platform: Platform, session: Session, control: Session, *, emulator: str, version: str,
    source: str = "",
) -> WorkoutReport:  # fmt: skip
    return WorkoutReport(
        platform.name, platform.target.name, emulator, version, source, session.not_run,
        judged(session, control), speed_factors(session, control), session.isolation,
    )  # fmt: skip


def _nothing_ran(reports: Sequence[WorkoutReport]) -> tuple[BinfmtSetupError, ...]:
    """The question could not be put at all: nothing was exercised."""
    if not reports or any(not report.not_run for report in reports):
        return ()
    hint = "run it as root, or where user namespaces are allowed, and with space: TMPDIR=DIR"
    if not reports[0].emulator:
        hint = "name a source that has an emulator: --qemu SOURCE"
    message = f"the workout could not be run: {reports[0].not_run}"
    return (EnvironmentUnfit(message, code="no-workout", hint=hint),)
