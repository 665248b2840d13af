"""The change of one target on its way: what is written, in which order, and how far it has come.

The order is what makes it safe to be killed: see `transaction` and `recovery`.
"""

from __future__ import annotations

from binfmt_setup.changes.steps import ChangeEntry, ChangeFile, reverse
from binfmt_setup.model.records import replace
from binfmt_setup.model.registry_facts import SWAP_PREFIX

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.changes.steps import TargetChange, Written

    State = Literal["planned", "begun", "proven", "committed", "rolled back"]
    """How far a change of one target has come."""


class Work:
    """The change of one target on its way: its state, and what was written so far."""

    def __init__(self, change: TargetChange) -> None:
        self.change = change
        self.state: State = "planned"
        self.written: list[Written] = []

    @property
    def probes(self) -> tuple[str, ...]:
        """The probes that tell whether it works."""
        return tuple(platform.probe for platform in self.change.platforms)

    @property
    def cover(self) -> ChangeEntry | None:
        """The entry that covers a replacement; None where no entry is there, or none comes."""
        entry = self.change.entry
        if entry is None or entry.before is None or entry.after is None:
            return None
        name = SWAP_PREFIX + entry.name
        return ChangeEntry(name, None, replace(entry.after, name=name))

    @property
    def registers(self) -> bool:
        """Whether it brings an entry, which then must be proven."""
        return self.change.entry is not None and self.change.entry.after is not None

    def beginning(self) -> list[Written]:
        """What is written before the proof."""
        if self.cover:
            return [self.cover]
        entry = self.change.entry
        return [*self._coming_files(), entry] if entry and self.registers else []

    def rest(self) -> list[Written]:
        """What is written after the proof."""
        entry = self.change.entry
        steps: list[Written] = []
        if self.cover and entry:
            out = ChangeEntry(entry.name, entry.before, None)
            into = ChangeEntry(entry.name, None, entry.after)
            steps = [*self._coming_files(), out, into]
        elif entry is None:
            steps = [*self._coming_files()]
        elif not self.registers:
            steps = [entry]
        steps += [file for file in self.change.files if file.after is None]
        return [*steps, reverse(self.cover)] if self.cover else steps

    def _coming_files(self) -> list[ChangeFile]:
        return [file for file in self.change.files if file.after is not None]
