"""What is said about a file: data that `explain` makes, `advice` completes and reports print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from binfmt_setup.explain.specimen import Specimen
    from binfmt_setup.model.registration import Entry

By = Literal["entry", "script", "kernel", "nothing"]
Cause = Literal[
    "missing", "unreadable", "not-a-file", "link-loop", "not-executable", "noexec",
    "no-program", "cut-off", "no-entry-point", "carriage-return", "script-interpreter-missing",
    "entry-missing", "entry-disabled", "globally-disabled", "not-mounted", "flag-f-missing",
    "interpreter-dynamic", "interpreter-script", "second-interpreter", "emulator-fails",
    "loader-missing", "loader-unusable", "loop",
]  # fmt: skip
"""Why a file does not run; stable, each with its paragraph in docs/explain.md."""


class Candidate(Record):
    """An entry that matches a file: the one that gets it, or one that loses."""

    entry: Entry
    state: Literal["handler", "shadowed", "disabled"]


class NearMiss(Record):
    """The entry that comes closest to a file, and the first byte that keeps it away."""

    entry: Entry
    at: int
    has: int
    wants: int
    mask: int
    differing: int


class Step(Record):
    """One file on the way, and what the kernel does with it."""

    found: Specimen
    by: By
    candidates: tuple[Candidate, ...] = ()
    near: NearMiss | None = None

    @property
    def handler(self) -> Entry | None:
        """The entry that gets the file."""
        return next((c.entry for c in self.candidates if c.state == "handler"), None)

    @property
    def handler_name(self) -> str:
        """Its name; empty without one."""
        return self.handler.name if self.handler else ""


class Failure(Record):
    """Why it does not run.

    `errno` is the name of the error execve gives; empty when a program does start, but
    only to say that it cannot go on. `code` says which advice fits.
    """

    code: Cause
    message: str
    errno: str = ""


class Explanation(Record):
    """What becomes of a file when somebody runs it with `tree` as root directory."""

    path: str
    tree: str
    steps: tuple[Step, ...]
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    loader: str = ""
    loader_there: bool = False
    container: str = ""
    hints: tuple[str, ...] = ()

    @property
    def found(self) -> Specimen:
        """The file itself."""
        return self.steps[0].found

    @property
    def runs(self) -> bool:
        """Whether it would start and find what it needs to start."""
        return self.failure is None

    @property
    def handler(self) -> Entry | None:
        """The first entry on the way."""
        return next((step.handler for step in self.steps if step.handler), None)

    @property
    def how(self) -> By:
        """What runs it: an entry, or the kernel itself (for a script: its interpreter)."""
        if not self.runs:
            return "nothing"
        hands = {step.by for step in self.steps}
        return "entry" if "entry" in hands or self.steps[-1].by == "nothing" else "kernel"
