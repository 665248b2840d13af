"""What builds with an engine prove: the question, the answers, and how they are judged."""

from __future__ import annotations

import secrets

from binfmt_setup.engines import findings
from binfmt_setup.engines.build_log import probe_failure, targets_that_ran
from binfmt_setup.model.records import Record
from binfmt_setup.system.programs import Completed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.targets import Platform


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
            raise findings.engine_failed((engine, "build"), done)
        if not final:
            return None
        finding = findings.did_not_run(engine, platforms[0], failure)
        return EngineReport(engine, output=log.strip(), findings=(finding,))
    ran = targets_that_ran(log, token)
    if not ran:
        raise findings.engine_failed((engine, "build"), done, "showed no output of the build")
    wrong = [findings.built_natively(engine, p, ran) for p in platforms if p.probe not in ran]
    good = frozenset(p.name for p in platforms if p.probe in ran)
    if index is not None:
        wrong += [findings.not_in_index(engine, p, index) for p in platforms if p.name not in index]
        good &= index
    return EngineReport(engine, built=good, index=index or frozenset(), findings=tuple(wrong))


def new_token() -> str:
    """A name that no other build has."""
    return f"binfmt-setup-{secrets.token_hex(6)}"
