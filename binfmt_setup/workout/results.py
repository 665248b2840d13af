"""What became of exercises, natively and emulated. Pure."""

from __future__ import annotations

from binfmt_setup.model.records import NOTHING, Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    Answer = Literal["ok", "fail", "unsupported"]

    Outcome = Literal["ok", "fail", "unsupported", "host"]
    """`unsupported`: refused in a way that programs know. `host`: the control cannot do it
    either."""


ANSWERS: Mapping[str, Answer] = {"ok": "ok", "fail": "fail", "unsupported": "unsupported"}
"""By the word that a program prints."""


class Done(Record):
    """What became of one exercise; `detail` is what it said, or how it ended."""

    exercise: str
    answer: Answer
    detail: str = ""


class Session(Record):
    """All that one program did; `not_run` is why it did nothing."""

    program: str
    done: tuple[Done, ...] = ()
    not_run: str = ""
    isolation: tuple[str, ...] = ()


class Judged(Record):
    """One exercise beside its control."""

    exercise: str
    outcome: Outcome
    detail: str = ""
    native: str = ""


class WorkoutReport(Record):
    """What one emulator can do for one platform, and how much slower it is.

    `speed` has a factor for each kind of work: 4.0 is four times slower than native. `source` is
    what --qemu said, where this was a candidate, and `best` the one to take of several.
    """

    platform: str
    target: str
    emulator: str = ""
    version: str = ""
    source: str = ""
    not_run: str = ""
    judged: tuple[Judged, ...] = ()
    speed: Mapping[str, float] = NOTHING
    isolation: tuple[str, ...] = ()
    best: bool = False

    def those(self, outcome: Outcome) -> tuple[Judged, ...]:
        """The exercises with this outcome."""
        return tuple(each for each in self.judged if each.outcome == outcome)

    @property
    def failed(self) -> bool:
        """Whether it fails at something that this host can do."""
        return bool(self.those("fail"))
