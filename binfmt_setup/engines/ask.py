"""What container engines answer to: would a build for these platforms work here, now.

The question is answered by doing it. This module knows which engines there are, asks them, and
changes the verdict by their answers; `docker` and `podman` know their engines, `callers` how
these are called, and `trials` what their builds prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.verdict import Finding, PlatformState, Verdict
from binfmt_setup.engines.answers import EngineReport
from binfmt_setup.engines.build_log import buildable
from binfmt_setup.model.errors import BinfmtSetupError, OtherProgramFailed, UsageProblem
from binfmt_setup.model.records import Record, replace
from binfmt_setup.system.programs import SAFE_PATH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.engines.answers import Question
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.system.host import Host

ENGINES = ("docker", "podman", "buildah")


class EngineCalls(Record):
    """Which engines to ask, and by whom."""

    caller: Caller
    names: tuple[str, ...]


def asked_engines(words: str) -> tuple[str, ...]:
    """Read --engine; `auto` stays as it is. Raises UsageProblem for an unknown engine."""
    names = tuple(dict.fromkeys(word for word in words.lower().split(",") if word))
    for name in names:
        if name not in (*ENGINES, "auto"):
            raise UsageProblem(
                f"unknown engine {name!r}", hint=f"engines are {', '.join(ENGINES)}, or auto"
            )
    return names


def installed(host: Host, engine: str) -> bool:
    """Whether an engine's program is in one of the directories that programs are run from."""
    return any(host.exists(f"{directory}/{engine}") for directory in SAFE_PATH.split(":"))


def ask_engines(calls: EngineCalls, question: Question) -> tuple[EngineReport, ...]:
    """Ask each engine; one that fails does not keep the others from answering."""
    caller, names = calls.caller, calls.names
    there = [engine for engine in ENGINES if installed(caller.host, engine)]
    if "auto" in names and not (there or set(names) - {"auto"}):
        return (EngineReport("auto", findings=(_missing("no container engine is"),)),)
    wanted = [e for e in ENGINES if e in names or ("auto" in names and e in there)]
    question = replace(question, platforms=buildable(question.platforms))
    return tuple(_ask(caller, name, question, there) for name in wanted)


def _missing(what: str) -> Finding:
    return Finding(
        "engine-missing", "error", f"{what} installed in {SAFE_PATH}",
        f"install one of {', '.join(ENGINES)}",
    )  # fmt: skip


def _ask(caller: Caller, name: str, question: Question, there: Sequence[str]) -> EngineReport:
    if name not in there:
        finding = replace(_missing(f"{name} is not"), hint=f"install {name}")
        return EngineReport(name, findings=(finding,))
    try:
        if name == "docker":
            from binfmt_setup.engines.docker import ask_docker

            return ask_docker(caller, question)
        from binfmt_setup.engines.podman import ask_podman

        return ask_podman(caller, name, question)
    except BinfmtSetupError as error:
        return EngineReport(name, error=error)
    except OSError as error:
        failure = OtherProgramFailed(
            f"cannot prepare a build for {name}: {error.filename or name}: {error.strerror}",
            hint="make room there, or leave it out of --engine", code="engine-failed",
        )  # fmt: skip
        return EngineReport(name, error=failure)


def with_engines(verdict: Verdict, reports: Sequence[EngineReport]) -> Verdict:
    """The verdict with what engines answered: about builds theirs is the last word.

    A platform is ok when every engine that was asked built it. Where all did, what is wrong
    with this host (another machine built it, or a registry of the engine's own) is no error.
    """
    findings = [f for r in reports for f in r.findings if not f.platform]
    states = tuple(_state(state, reports) for state in verdict.platforms)
    served = bool(states) and all(state.ok for state in states)
    host = tuple(_eased(f) if served else f for f in verdict.findings)
    return Verdict(states, (*host, *findings))


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
        missing = ", ".join(report.name for report in answered if name not in report.built)
        own = (Finding("not-built", "error", f"{name}: not built by {missing}", "", name), *own)
    how = state.how if state.how != "none" or not built else "emulated"
    return replace(state, built=built, how=how, findings=own + more)


def _eased(finding: Finding) -> Finding:
    """An error that keeps nothing from working here is a piece of information."""
    return replace(finding, severity="info") if finding.severity == "error" else finding
