"""What emulators can do, for people: by kinds of programs, then what failed and who meets it."""

from __future__ import annotations

from binfmt_setup.model.escaping import visible
from binfmt_setup.report.lines import marked, table, wrapped
from binfmt_setup.report.words.exercises import meaning
from binfmt_setup.workout.exercises import KINDS, kind_of

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_setup.report.result import DeepResult
    from binfmt_setup.report.style import Style
    from binfmt_setup.workout.results import WorkoutReport


_CELLS = {"ok": "ok", "fail": "FAILS", "unsupported": "refused", "host": "(host)", "": ""}
_SPEED = {
    "integers": "computing", "floats": "floating point", "calls": "system calls",
    "starts": "starting programs", "memory": "memory",
}  # fmt: skip
_NOTICEABLE = 1.5


def workout_lines(result: DeepResult, style: Style) -> Iterator[str]:
    """Each emulator by kinds; a table where there are several; who meets what failed."""
    reports = result.workouts
    for report in reports:
        yield from _report_lines(report, style)
    failed = list(dict.fromkeys(e.exercise for r in reports for e in r.those("fail")))
    for platform in dict.fromkeys(report.platform for report in reports):
        own = [report for report in reports if report.platform == platform and report.judged]
        if len(own) > 1:
            yield ""
            yield from _table(own, [n for n in failed if any(_at(r, n) == "fail" for r in own)])
    if failed:
        yield ""
        yield "who meets it:"
        for name in failed:
            yield from wrapped(f"{name}: {meaning(name)}", "  ", "      ")
    for report in reports:
        if report.best:
            yield f"{style.mark('hint')} for {report.platform} take {visible(report.source)}"


def _title(report: WorkoutReport) -> str:
    version = report.version.partition(" ")[0]
    named = " ".join(part for part in ("QEMU", version) if part)
    source = f" of {report.source}" if report.source else ""
    return f"{report.platform} by {named}{source}"


def _report_lines(report: WorkoutReport, style: Style) -> Iterator[str]:
    yield ""
    yield visible(_title(report)) + (f" ({visible(report.emulator)})" if report.emulator else "")
    if report.not_run:
        yield f"{style.mark('note')} not exercised: {visible(report.not_run)}"
        return
    fine = [kind for kind in KINDS if not _failed_of(report, kind)]
    if fine:
        yield from marked(style, "good", f"{', '.join(fine)}: fine", 4)
    for kind in KINDS:
        for name, detail in _failed_of(report, kind):
            yield from marked(style, "bad", f"{kind}: {name}: {detail}", 4)
    refused = [each.exercise for each in report.those("unsupported")]
    if refused:
        yield from marked(style, "note", f"refused, as programs know it: {', '.join(refused)}", 4)
    if report.speed:
        factors = ", ".join(f"{_SPEED[k]} {_factor(f)}" for k, f in report.speed.items())
        yield from wrapped(f"speed beside native: {factors}", "  ", "    ")


def _failed_of(report: WorkoutReport, kind: str) -> list[tuple[str, str]]:
    return [(e.exercise, e.detail) for e in report.those("fail") if kind_of(e.exercise) == kind]


def _factor(factor: float) -> str:
    """How much slower, as people say it."""
    if factor < _NOTICEABLE:
        return "as fast"
    return f"{factor:.0f}x slower" if factor >= 10 else f"{factor:g}x slower"


def _table(reports: Sequence[WorkoutReport], failed: Sequence[str]) -> Iterator[str]:
    """Exercises by emulators: those that fail somewhere."""
    head = [reports[0].platform, *(visible(_column(report)) for report in reports)]
    rows = [(name, *(_CELLS[_at(report, name)] for report in reports)) for name in failed]
    yield from table([tuple(head), *rows])


def _at(report: WorkoutReport, exercise: str) -> str:
    """What became of an exercise; empty where there is none."""
    return next((e.outcome for e in report.judged if e.exercise == exercise), "")


def _column(report: WorkoutReport) -> str:
    return report.version.partition(" ")[0] or report.source or "?"
