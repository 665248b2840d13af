"""What container engines answer to: would a build for these platforms work here, now.

The question is answered by doing it. This module asks the engines and changes the verdict by
their answers; `interface` says which there are and what each offers, `call` how they are called,
`answers` what their builds prove, and `findings` has the words.
"""

from __future__ import annotations

from binfmt_setup.diagnosis.finding import Finding
from binfmt_setup.diagnosis.verdict import Verdict
from binfmt_setup.engines import catalogue as known
from binfmt_setup.engines import findings
from binfmt_setup.engines.answers import EngineReport
from binfmt_setup.engines.build_log import buildable
from binfmt_setup.engines.interface import ENGINES, Engine, engine_named
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.records import Record, replace
from binfmt_setup.system.programs import SAFE_PATH

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.diagnosis.verdict import PlatformState
    from binfmt_setup.engines.answers import Question
    from binfmt_setup.engines.call import Caller


class EngineCalls(Record):
    """Which engines to ask, and by whom."""

    caller: Caller
    names: tuple[str, ...]


def asked_engines(words: str) -> tuple[str, ...]:
    """Read --engine; `auto` stays as it is. Raises UsageProblem for an unknown engine."""
    names = tuple(dict.fromkeys(word for word in words.lower().split(",") if word))
    for name in names:
        if name != "auto":
            engine_named(name)
    return names


def ask_engines(calls: EngineCalls, question: Question) -> tuple[EngineReport, ...]:
    """Ask each engine; one that fails does not keep the others from answering."""
    named = {name: engine_named(name) for name in calls.names if name != "auto"}
    wanted = [named[name] for name in ENGINES if name in named]
    if "auto" in calls.names:
        every = map(engine_named, ENGINES)
        wanted = [e for e in every if e.name in named or e.installed(calls.caller.host)]
    if not wanted:
        return (
            EngineReport("auto", findings=(Finding(known.NoEngine(SAFE_PATH, tuple(ENGINES))),)),
        )
    return ask_with(wanted, calls, question)


def ask_with(
    engines: Sequence[Engine], calls: EngineCalls, question: Question
) -> tuple[EngineReport, ...]:
    """Ask these engines about the platforms that there is something to build for."""
    question = replace(question, platforms=buildable(question.platforms))
    return tuple(_ask(engine, calls.caller, question) for engine in engines)


def _ask(engine: Engine, caller: Caller, question: Question) -> EngineReport:
    if not engine.installed(caller.host):
        missing = Finding(known.EngineMissing(SAFE_PATH, (engine.program or engine.name,)))
        return EngineReport(engine.name, findings=(missing,))
    try:
        return engine.ask(caller, question)
    except BinfmtSetupError as error:
        return EngineReport(engine.name, error=error)
    except OSError as error:
        failure = findings.no_preparation(engine.name, error)
        return EngineReport(engine.name, error=failure)


def with_engines(verdict: Verdict, reports: Sequence[EngineReport]) -> Verdict:
    """The verdict with what engines answered: about builds theirs is the last word.

    A platform is ok when every engine that was asked built it. Where all did, what is wrong
    with this host (another machine built it, or a registry of the engine's own) is no error.
    """
    general = [f for r in reports for f in r.findings if not f.platform]
    states = tuple(_state(state, reports) for state in verdict.platforms)
    served = bool(states) and all(state.ok for state in states)
    host = tuple(_eased(f) if served else f for f in verdict.findings)
    return Verdict(states, (*host, *general))


def _state(state: PlatformState, reports: Sequence[EngineReport]) -> PlatformState:
    name = state.platform.name
    if not buildable([state.platform]):
        return state
    answered = [report for report in reports if report.error is None]
    if not answered:
        return state
    built = all(name in report.built for report in answered)
    own = tuple(_eased(f) if built else f for f in state.findings)
    more = tuple(f for report in reports for f in report.findings if f.platform == name)
    if not built and all(finding.severity != "error" for finding in own + more):
        missing = [report.name for report in answered if name not in report.built]
        own = (Finding(known.NotBuilt(tuple(missing)), state.platform.name), *own)
    how = state.how if state.how != "none" or not built else "emulated"
    return replace(state, built=built, how=how, findings=own + more)


def _eased(finding: Finding) -> Finding:
    """An error that keeps nothing from working here is a piece of information."""
    return replace(finding, eased=True)
