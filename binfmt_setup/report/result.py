"""What a command has to say, whatever the format it is said in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.verdict import Verdict
from binfmt_setup.model.errors import BinfmtSetupError, ExitCode
from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from binfmt_setup.changes.transaction import Outcome
    from binfmt_setup.engines.answers import EngineReport
    from binfmt_setup.model.facts import HostFacts


class Result(Record):
    """The answer; `outcomes` are planned steps under --check."""

    command: str
    facts: HostFacts
    verdict: Verdict = Verdict()
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
