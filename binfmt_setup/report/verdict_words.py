"""What a result comes to, in the words of its last line."""

from __future__ import annotations

from binfmt_setup.model.reading import Unreadable
from binfmt_setup.report.result import (
    ChangeResult,
    DeepResult,
    InstallResult,
    Result,
    SecurityResult,
    StatusResult,
    UninstallResult,
)

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.diagnosis.finding import Finding


def counted(number: int, thing: str) -> str:
    """So many of a thing."""
    plural = f"{thing[:-1]}ies" if thing.endswith("y") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def verdict_words(result: Result) -> tuple[str, bool]:
    """What a result comes to, and whether that is good."""
    if isinstance(result, StatusResult):
        return _status_verdict(result), True
    if not isinstance(result, ChangeResult):
        return platform_verdict(result)
    kinds = [each.step.kind for each in result.outcomes if each.result in ("done", "planned")]
    if isinstance(result, UninstallResult):
        verb = "would remove" if result.check else "removed"
        gone = sum(kind == "replace" or kind.startswith("remove-") for kind in kinds)
        back = sum(kind in ("replace", "register") for kind in kinds)
        text = f"{verb} {counted(gone, 'item')}" if kinds else "nothing to remove"
        text += f", {back} put back" if back else ""
    elif result.check:
        text = f"would make {counted(len(kinds), 'change')}" if kinds else "nothing would change"
    else:
        return platform_verdict(result)
    return text, not result.errors


def _why_failed(result: Result) -> str:
    """Every platform works, and yet the answer is no: how many findings make it so."""
    severities = [finding.severity for finding in result.verdict.all_findings]
    errors, warnings = severities.count("error"), severities.count("warning")
    if errors:
        return f"failed: {counted(errors, 'error')}"
    if result.errors:
        return f"failed: {counted(len(result.errors), 'error')}"
    return f"failed: {counted(warnings, 'warning')} (--strict)"


def platform_verdict(result: Result) -> tuple[str, bool]:
    """What the platforms come to, in one line, and whether that is good."""
    if isinstance(result, SecurityResult):
        found = [f for f in result.verdict.findings if f.severity != "info"]
        return _security_words(found), not found
    if isinstance(result, DeepResult) and not result.errors:
        return _workout_words(result), result.exit_code == 0
    states = result.verdict.platforms
    working = [state.platform.name for state in states if state.ok]
    failing = [state.platform.name for state in states if not (state.ok or state.unproven)]
    good = result.exit_code == 0
    install = result if isinstance(result, InstallResult) else None
    if states and not result.facts.live and good:
        text = f"prepared: {', '.join(state.platform.name for state in states)}"
    elif result.errors and not states:
        text = f"stopped: {result.errors[0].message}"
    elif failing or not working:
        text = f"does not work: {', '.join(failing) or 'nothing is proven'}"
    elif not good:
        text = _why_failed(result)
    else:
        text = f"works: {', '.join(working)}"
    if install:
        text += "; changed" if install.changed else "; nothing changed"
    return text, good


def _workout_words(result: DeepResult) -> str:
    """What emulators can do, as far as they were asked; a platform that does not run at all."""
    dead = [s.platform.name for s in result.verdict.platforms if not (s.ok or s.unproven)]
    if dead:
        return f"does not work: {', '.join(dead)}"
    done = [report for report in result.workouts if not report.not_run]
    if not done:
        return "nothing was exercised"
    failing = [report for report in done if report.failed]
    if not failing:
        names = dict.fromkeys(report.platform for report in done)
        return f"nothing that this host can do fails: {', '.join(names)}"
    return "; ".join(
        f"{r.platform}{f' with {r.source}' if r.source else ''} fails at "
        f"{len(r.those('fail'))} of {len(r.judged)} exercises"
        for r in failing
    )


def _security_words(found: Sequence[Finding]) -> str:
    """Whether the entries can be trusted; what was not read is no reason for trust."""
    if not found:
        return "no security problems found"
    return f"{counted(len(found), 'security problem')} found"


def _status_verdict(result: StatusResult) -> str:
    working = sum(state.ok for state in result.verdict.platforms)
    if not result.facts.live:
        from binfmt_setup.boot.next_registry import next_registry

        return f"{counted(len(next_registry(result.facts).lines), 'entry')} at the first boot"
    if result.facts.registry.mount.state != "mounted":
        return "binfmt_misc is not visible here"
    entries = counted(len(result.facts.registry.entries), "entry")
    if unread := result.facts.registry.unread:
        entries += f" and {len(unread)} not read"
    if isinstance(result.facts.registry.listing, Unreadable):
        entries = "entries not known"
    return f"{entries}, {counted(working, 'platform')} emulated"
