"""What the commands say about a recorded host, in short words that case files hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.commands.check import check
from binfmt_setup.commands.install import install
from binfmt_setup.commands.request import requested
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.request import Request
from binfmt_setup.report.document import described

if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.diagnosis.verdict import PlatformState
    from tests.recorded import Case, RecordedHost


def said(case: Case, host: RecordedHost) -> dict[str, list[str]]:
    """The expectations of a case as they are: the same keys as its [expect] table."""
    checked = check(host, requested(host, case.ask))
    return {
        "platforms": [_state(state) for state in checked.verdict.platforms],
        "findings": sorted(finding(f) for f in checked.verdict.all_findings),
        "install": planned(case, host),
    }


def planned(case: Case, host: RecordedHost) -> list[str]:
    """The steps that `install --check` shows, or what stops it."""
    try:
        result = install(host, requested(host, case.ask, Request(check=True)))
    except BinfmtSetupError as error:
        return [f"stopped: {error.code}"]
    steps = [f"{o.step.kind} {described(o.step)[0]}" for o in result.outcomes]
    return [*steps, *(f"not: {error.code}" for error in result.errors)]


def _state(state: PlatformState) -> str:
    words = [state.platform.name, state.how]
    words += ["persistent"] if state.persistent else []
    words += [] if state.ok else ["NOT OK"]
    return " ".join(words)


def finding(finding: Finding) -> str:
    return " ".join(filter(None, (finding.severity, finding.code, finding.platform)))
