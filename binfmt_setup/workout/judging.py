"""What exercises come to, beside the same ones run natively. Pure."""

from __future__ import annotations

from binfmt_setup.workout.exercises import SPEEDS, VITAL
from binfmt_setup.workout.results import Judged

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from binfmt_setup.workout.results import Done, Outcome, Session, WorkoutReport


def judged(session: Session, control: Session) -> tuple[Judged, ...]:
    """Each exercise beside its control; a level of the processor has none, and needs none."""
    # A control that could do nothing at all never ran, and excuses nobody.
    ran = any(done.answer == "ok" for done in control.done)
    native = {done.exercise: done for done in control.done} if ran else {}
    return tuple(
        _judged(done, native.get(done.exercise))
        for done in session.done
        if not done.exercise.startswith("speed-")
    )


def _judged(done: Done, control: Done | None) -> Judged:
    own = done.exercise.startswith("level-")
    outcome: Outcome = done.answer
    if control is not None and not own and done.answer != "ok" and control.answer != "ok":
        outcome = "host"
    said = "" if control is None or own else f"{control.answer} {control.detail}".strip()
    return Judged(done.exercise, outcome, done.detail, said)


def speed_factors(session: Session, control: Session) -> Mapping[str, float]:
    """How many times slower than native, by kind of work."""
    emulated, native = _times(session), _times(control)
    return {
        kind: round(emulated[kind] / native[kind], 1)
        for kind in SPEEDS
        if native.get(kind) and kind in emulated
    }


def _times(session: Session) -> dict[str, int]:
    """Microseconds by kind of work, as the program measured them itself."""
    found = {}
    for done in session.done:
        _, _, kind = done.exercise.partition("speed-")
        number = done.detail.rpartition(" ")[2]
        if kind and done.answer == "ok" and number.isdigit():
            found[kind] = max(1, int(number))
    return found


def unfit(report: WorkoutReport, serving: WorkoutReport | None) -> tuple[str, ...]:
    """What keeps an emulator from being put into service.

    Everybody needs it, or programs have it today: with the emulator that serves.
    """
    today = {each.exercise for each in serving.those("ok")} if serving else set()
    return tuple(
        each.exercise
        for each in report.those("fail")
        if each.exercise in VITAL or each.exercise in today
    )


def best(reports: Sequence[WorkoutReport]) -> WorkoutReport | None:
    """The emulator to take of several for one platform.

    It fails least, refuses least, and is the fastest of those.
    """
    able = [report for report in reports if not report.not_run]
    return min(able, key=_cost, default=None)


def _cost(report: WorkoutReport) -> tuple[int, int, int, float]:
    failed = report.those("fail")
    vital = sum(each.exercise in VITAL for each in failed)
    return vital, len(failed), len(report.those("unsupported")), sum(report.speed.values())
