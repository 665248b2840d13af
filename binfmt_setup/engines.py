"""What container engines answer to: would a build for these platforms work here, now.

The question is answered by doing it. This room has what all engines share: which there
are, how they are called, and how their answers change the verdict. `docker` and `podman`
know their engines.
"""

from __future__ import annotations

import json
import secrets
import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING

from binfmt_setup.builds import ProbeFailure, as_object, buildable, probe_failure, targets_that_ran
from binfmt_setup.errors import BinfmtSetupError, OtherProgramFailed, TookTooLong, UsageProblem
from binfmt_setup.findings import Finding, PlatformState, Verdict
from binfmt_setup.programs import SAFE_PATH, Completed
from binfmt_setup.records import Record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.host import Host
    from binfmt_setup.targets import Platform

ENGINES = ("docker", "podman", "buildah")
PASSED_VARIABLES = (
    # Where the user's settings, contexts, builders and stores are.
    *("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
    # Which daemon, and how to be let in.
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH"),
    *("DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "DOCKER_CLI_EXPERIMENTAL", "SSH_AUTH_SOCK"),
    # Which builder, with its settings.
    *("BUILDX_BUILDER", "BUILDX_CONFIG"),
    # The same for podman and buildah.
    *("CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
    *("STORAGE_DRIVER", "BUILDAH_ISOLATION"),
)
"""What engines get to see of the caller's environment: without it they would answer for
another daemon, builder or store than the user's own. PATH is not among them."""


_UNPRINTABLE = {code: "" for code in (*range(32), 127) if chr(code) not in "\t\n"}


class Limits(Record):
    """Seconds that a question and a build may take; a build gets more for each platform."""

    question: float = 20.0
    build: float = 60.0
    platform: float = 20.0

    def for_build(self, platforms: Sequence[Platform]) -> float:
        """The time for one build."""
        return self.build + self.platform * len(platforms)


class EngineReport(Record):
    """What one engine answered.

    `built` are the platforms whose probe ran in a build; `index` those that one result
    held together, empty where none did; `elsewhere` those that another machine built;
    `output` what the engine printed in the builds that failed.
    """

    name: str
    version: str = ""
    details: str = ""
    built: frozenset[str] = frozenset()
    index: frozenset[str] = frozenset()
    elsewhere: frozenset[str] = frozenset()
    output: str = ""
    findings: tuple[Finding, ...] = ()
    error: BinfmtSetupError | None = None


class Question(Record):
    """What engines are asked: platforms, whether the user named them, and what already runs.

    `running` are the platforms whose probes ran on this host without an engine.
    """

    platforms: tuple[Platform, ...]
    named: bool = False
    running: frozenset[str] = frozenset()


class Caller(Record):
    """Calls engines: with the variables they need, a time limit, and a word for the user."""

    host: Host
    environment: Mapping[str, str]
    limits: Limits = Limits()
    progress: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()

    def ask(
        self, argv: Sequence[str], *, seconds: float = 0.0, also: Mapping[str, str] | None = None
    ) -> Completed:
        """Run an engine; its status is the caller's business. Raises OtherProgramFailed."""
        passed = {k: v for k in PASSED_VARIABLES if (v := self.environment.get(k))}
        settings = [f"{key}={value}" for key, value in {**passed, **(also or {})}.items()]
        command = ("env", *settings, *argv)
        self.host.log(f"+ {shlex.join(command)}")
        try:
            done = self.host.run(command, seconds or self.limits.question)
            return Completed(done.status, _printable(done.output), _printable(done.errors))
        except TookTooLong as error:
            raise OtherProgramFailed(
                _printable(error.message), hint=f"see what keeps {argv[0]} busy, and try again",
                code="engine-timeout",
            ) from error  # fmt: skip

    def ask_for_json(self, argv: Sequence[str]) -> Mapping[str, object]:
        """Run an engine that answers with a JSON object; raises OtherProgramFailed if not."""
        done = self.ask(argv)
        try:
            answer = as_object(json.loads(done.output))
        except ValueError:
            answer = {}
        if not answer:
            raise engine_failed(argv, done, "gave no JSON object")
        return answer


def _printable(text: str) -> str:
    """Text that can be shown on any terminal and written into any report."""
    return text.translate(_UNPRINTABLE)


class EngineCalls(Record):
    """Which engines to ask, and by whom."""

    caller: Caller
    names: tuple[str, ...]


def engine_failed(argv: Sequence[str], done: Completed, what: str = "") -> OtherProgramFailed:
    """An engine that failed by itself, with everything it printed."""
    said = "\n".join(part for part in (done.output.strip(), done.errors.strip()) if part)
    return OtherProgramFailed(
        f"`{shlex.join(argv)}` {what or f'failed with status {done.status}'}; it said:\n"
        f"{said or 'nothing'}",
        hint=f"repair {argv[0]}, or leave it out of --engine", code="engine-failed",
    )  # fmt: skip


def new_token() -> str:
    """A name that no other build has."""
    return f"binfmt-setup-{secrets.token_hex(6)}"


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
            from binfmt_setup.docker import ask_docker

            return ask_docker(caller, question)
        from binfmt_setup.podman import ask_podman

        return ask_podman(caller, name, question)
    except BinfmtSetupError as error:
        return EngineReport(name, error=error)
    except OSError as error:
        failure = OtherProgramFailed(
            f"cannot prepare a build for {name}: {error.filename or name}: {error.strerror}",
            hint="make room there, or leave it out of --engine", code="engine-failed",
        )  # fmt: skip
        return EngineReport(name, error=failure)


# -- judging builds -----------------------------------------------------------------------

Build = tuple[Completed, frozenset[str] | None]
"""How a build ended, and the platforms its index holds (None where there is no index)."""


def try_builds(
    engine: str,
    platforms: Sequence[Platform],
    build: Callable[[Sequence[Platform], str], Build],
    *,
    together: bool,
) -> EngineReport:
    """Build for all platforms in one call, and for each alone where that does not succeed.

    One failing platform ends a build for all, so only single builds tell which it is.
    Raises OtherProgramFailed when the engine fails without the probe being the cause.
    """
    if together and len(platforms) > 1:
        report = _judged(engine, platforms, build)
        if report is not None and not report.findings:
            return report
    single = [_judged(engine, [platform], build, final=True) for platform in platforms]
    reports = [report for report in single if report is not None]
    return EngineReport(
        engine,
        built=frozenset(name for report in reports for name in report.built),
        index=reports[0].index if len(reports) == 1 else frozenset(),
        output="\n".join(report.output for report in reports if report.output),
        findings=tuple(finding for report in reports for finding in report.findings),
    )


def _judged(
    engine: str,
    platforms: Sequence[Platform],
    build: Callable[[Sequence[Platform], str], Build],
    *,
    final: bool = False,
) -> EngineReport | None:
    """One build and what it proves; None when another one has to tell more."""
    token = new_token()
    done, index = build(platforms, token)
    log = f"{done.output}\n{done.errors}"
    if done.status:
        failure = probe_failure(log, token)
        if failure is None:
            raise engine_failed((engine, "build"), done)
        if not final:
            return None
        finding = _did_not_run(engine, platforms[0], failure)
        return EngineReport(engine, output=log.strip(), findings=(finding,))
    ran = targets_that_ran(log, token)
    if not ran:
        raise engine_failed((engine, "build"), done, "showed no output of the build")
    wrong = [_built_natively(engine, p, ran) for p in platforms if p.probe not in ran]
    good = frozenset(p.name for p in platforms if p.probe in ran)
    if index is not None:
        wrong += [_not_in_index(engine, p, index) for p in platforms if p.name not in index]
        good &= index
    return EngineReport(engine, built=good, index=index or frozenset(), findings=tuple(wrong))


def _did_not_run(engine: str, platform: Platform, failure: ProbeFailure) -> Finding:
    name = platform.name
    hints = {
        "ENOEXEC": f"run: binfmt-setup install {name}",
        "ENOENT": f"run: binfmt-setup install {name}",
        "EACCES": "look for SELinux or AppArmor denials: journalctl -k -g denied",
        "EPERM": "the engine's seccomp profile or security options forbid it",
    }
    hint = hints.get(failure.errno, f"run the same build by hand: {engine} build --platform {name}")
    if failure.blocked_call:
        hint = "the engine's seccomp profile refuses a system call that the emulator makes"
    return Finding(
        "engine-build-failed", "error",
        f"{name}: {engine} cannot run its programs in a build: {failure}", hint, name,
    )  # fmt: skip


def _built_natively(engine: str, platform: Platform, ran: frozenset[str]) -> Finding:
    return Finding(
        "built-natively", "error",
        f"{platform.name}: {engine} built for {', '.join(sorted(ran))} instead and said nothing",
        f"see what {engine} makes of --platform: it may be too old, or the builder fixed to one",
        platform.name,
    )  # fmt: skip


def _not_in_index(engine: str, platform: Platform, index: frozenset[str]) -> Finding:
    holds = ", ".join(sorted(index)) or "no platform at all"
    return Finding(
        "index-incomplete", "error",
        f"{platform.name}: the index that {engine} wrote holds {holds}",
        f"update {engine}", platform.name,
    )  # fmt: skip


# -- the verdict --------------------------------------------------------------------------


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
    ok = all(name in report.built for report in answered)
    own = tuple(_eased(f) if ok else f for f in state.findings)
    more = tuple(f for report in reports for f in report.findings if f.platform == name)
    if not ok and all(finding.severity != "error" for finding in own + more):
        missing = ", ".join(report.name for report in answered if name not in report.built)
        own = (Finding("not-built", "error", f"{name}: not built by {missing}", "", name), *own)
    how = state.how if state.how != "none" or not ok else "emulated"
    return replace(state, ok=ok, how=how, findings=own + more)


def _eased(finding: Finding) -> Finding:
    """An error that keeps nothing from working here is a piece of information."""
    return replace(finding, severity="info") if finding.severity == "error" else finding
