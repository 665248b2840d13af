"""What emulators can do, as plain data."""

from __future__ import annotations

from binfmt_setup.report.words.exercises import meaning
from binfmt_setup.workout.exercises import kind_of

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.workout.results import Judged, WorkoutReport


def workout_row(report: WorkoutReport) -> dict[str, object]:
    """One emulator and one platform."""
    return {
        "platform": report.platform,
        "target": report.target,
        "emulator": report.emulator,
        "version": report.version,
        "source": report.source,
        "not_run": report.not_run,
        "failed": report.failed,
        "best": report.best,
        "isolation": list(report.isolation),
        "exercises": [_exercise(each) for each in report.judged],
        "speed": dict(report.speed),
    }


def _exercise(each: Judged) -> dict[str, str]:
    return {
        "name": each.exercise,
        "kind": kind_of(each.exercise),
        "outcome": each.outcome,
        "detail": each.detail,
        "native": each.native,
        "meaning": "" if each.outcome == "ok" else meaning(each.exercise),
    }
