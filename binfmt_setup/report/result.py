"""What a command has to say, one type a command, whatever the format it is said in."""

from __future__ import annotations

from binfmt_setup.diagnosis.verdict import Verdict
from binfmt_setup.model.errors import BinfmtSetupError, ExitCode
from binfmt_setup.model.records import NOTHING, Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping

    from binfmt_setup.changes.steps import Outcome
    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.engines.answers import EngineReport
    from binfmt_setup.explain.explanation import Explanation
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.workout.results import WorkoutReport


class Result(Record):
    """The answer of a command that reports what it read; `command` is its name in JSON."""

    command = ""
    facts: HostFacts
    verdict: Verdict = Verdict()
    errors: tuple[BinfmtSetupError, ...] = ()

    def speaks_against(self, finding: Finding) -> bool:
        """Whether a finding makes the answer a no."""
        return finding.severity == "error"

    @property
    def exit_code(self) -> int:
        """The answer as an exit status."""
        return self.errors[0].exit_code if self.errors else self._reached()

    def _reached(self) -> int:
        """The exit status where nothing stopped the command."""
        return ExitCode.OK


class CheckResult(Result):
    """Whether platforms work."""

    command = "check"
    strict: bool = False
    engines: tuple[EngineReport, ...] = ()

    def speaks_against(self, finding: Finding) -> bool:
        """An error, and with --strict a warning."""
        return finding.severity in (("error", "warning") if self.strict else ("error",))

    def _reached(self) -> int:
        good = self.verdict.good(strict=self.strict)
        return ExitCode.OK if good else ExitCode.ANSWER_IS_NO


class SecurityResult(CheckResult):
    """Whether the entries of a host can be trusted: `check --security`."""

    def speaks_against(self, finding: Finding) -> bool:
        """A risk is all that it asks about."""
        return finding.severity != "info"

    def _reached(self) -> int:
        return ExitCode.OK if self.verdict.clean(strict=True) else ExitCode.ANSWER_IS_NO


class DeepResult(CheckResult):
    """What emulators can do of what builds ask: `check --deep`.

    `compared` says that they were candidates, which nobody registered: then they are all that
    the answer is about.
    """

    workouts: tuple[WorkoutReport, ...] = ()
    compared: bool = False

    def _reached(self) -> int:
        platforms: dict[str, list[bool]] = {}
        for report in self.workouts:
            platforms.setdefault(report.platform, []).append(report.failed)
        # Of several candidates one is enough; without any there is one report a platform.
        fit = all(not all(failed) for failed in platforms.values())
        if self.compared:
            return ExitCode.OK if fit and platforms else ExitCode.ANSWER_IS_NO
        return super()._reached() if fit else ExitCode.ANSWER_IS_NO


class StatusResult(Result):
    """Every entry of a host."""

    command = "status"


class UnitResult(Result):
    """What install would write for the boot: the unit, and all other files by their paths."""

    command = "unit"
    text: str = ""
    files: Mapping[str, str] = NOTHING


class ExplainResult(Result):
    """What becomes of a file; nothing was seen where the command was stopped."""

    command = "explain"
    seen: Explanation | None = None

    def _reached(self) -> int:
        return ExitCode.OK if self.seen is None or self.seen.runs else ExitCode.ANSWER_IS_NO


class RunResult(Result):
    """A command that could not be started; otherwise there is nothing to report."""

    command = "run"


class ChangeResult(Result):
    """What a command changed, or under `check` would change."""

    outcomes: tuple[Outcome, ...] = ()
    check: bool = False

    @property
    def changed(self) -> bool:
        """Whether something was changed, or would be."""
        return any(outcome.result in ("done", "planned") for outcome in self.outcomes)


class InstallResult(ChangeResult):
    """Whether the wished state was reached; the names of all entries that shall be there now."""

    entries: tuple[str, ...] = ()
    command = "install"

    def _reached(self) -> int:
        # What was planned could not be proven.
        if self.check or self.verdict.good():
            return ExitCode.OK
        return ExitCode.ANSWER_IS_NO


class UninstallResult(ChangeResult):
    """What was removed."""

    command = "uninstall"


TYPES: dict[str, type[Result]] = {
    kind.command: kind
    for kind in (
        CheckResult, StatusResult, UnitResult, ExplainResult, RunResult, InstallResult,
        UninstallResult,
    )
}  # fmt: skip
"""The result's type by the name of the command."""


def stopped(command: str, facts: HostFacts, verdict: Verdict, error: BinfmtSetupError, *,
            check: bool) -> Result:  # fmt: skip
    """The result of a command that an error stopped: the host as it is, and what is wrong."""
    kind = TYPES.get(command, Result)
    if issubclass(kind, ChangeResult):
        return kind(facts, verdict, (error,), check=check)
    return kind(facts, verdict, (error,))
