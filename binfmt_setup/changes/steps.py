"""The steps that change a host, as data: what stood before, and what shall stand after."""

from __future__ import annotations

from binfmt_setup.model.records import Record
from binfmt_setup.model.request import Request

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.targets import Platform, Target


class ChangeEntry(Record):
    """Give an entry another registration: a new one, a replacement, or none (`after`)."""

    name: str
    before: Registration | None
    after: Registration | None

    @property
    def kind(self) -> str:
        """What it is called in the list of actions."""
        if self.before is None:
            return "register"
        return "remove-entry" if self.after is None else "replace"


class ChangeFile(Record):
    """Write a file, or remove it (`after` is None)."""

    path: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """What it is called in the list of actions."""
        return "remove-file" if self.after is None else "write-file"


class ChangeLink(Record):
    """Point a symbolic link somewhere, or remove it (`after` is None)."""

    path: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """What it is called in the list of actions."""
        return "remove-link" if self.after is None else "link"


class Prepare(Record):
    """Make the registry available: load the module, or mount it."""

    kind: str
    target: str


class Unpack(Record):
    """Unpack emulators that --qemu names into a directory of their own."""

    directory: str
    source: str
    digest: str
    kind: str = "unpack"


class Discard(Record):
    """Remove a directory of emulators that --qemu brought, and that nothing needs any more."""

    stored: Stored
    kind: str = "remove-emulators"


class Reload(Record):
    """Tell a running systemd to read its units again."""

    kind: str = "daemon-reload"


class ControlUnit(Record):
    """Start, restart or stop a unit of this tool's."""

    kind: Literal["start-unit", "restart-unit", "stop-unit"]
    target: str


class TargetChange(Record):
    """All that changes for one target; done together or not at all."""

    target: Target
    platforms: tuple[Platform, ...]
    entry: ChangeEntry | None = None
    files: tuple[ChangeFile, ...] = ()
    prove: bool = True


BootStep = ChangeFile | ChangeLink | ControlUnit | Reload
Step = Prepare | Unpack | Discard | ChangeEntry | ChangeFile | ChangeLink | ControlUnit | Reload


class BootPlan(Record):
    """What units need: files and links first, then what systemd is told, then what is started."""

    steps: tuple[BootStep, ...] = ()
    starts: tuple[ControlUnit, ...] = ()


class Plan(Record):
    """What changes, and what stands in the way.

    `boot` is what units need when every target is reached; it is made anew when one is not.
    """

    targets: tuple[TargetChange, ...] = ()
    boot: BootPlan = BootPlan()
    leftovers: tuple[ChangeEntry, ...] = ()
    discards: tuple[Discard, ...] = ()
    problems: tuple[tuple[Target, BinfmtSetupError], ...] = ()
    request: Request = Request()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every single step, in the order in which they are told."""
        entries = [c.entry for c in self.targets if c.entry]
        files = [file for change in self.targets for file in change.files]
        last: tuple[Step, ...] = (*self.leftovers, *self.boot.starts, *self.discards)
        return (*entries, *files, *self.boot.steps, *last)


Written = ChangeEntry | ChangeFile | ChangeLink
"""A change that can be taken back: it says what stood before."""


def reverse(step: Written) -> Written:
    """The step that takes another one back."""
    if isinstance(step, ChangeEntry):
        return ChangeEntry(step.name, step.after, step.before)
    if isinstance(step, ChangeFile):
        return ChangeFile(step.path, step.after, step.before)
    return ChangeLink(step.path, step.after, step.before)


class Outcome(Record):
    """What became of a step: `planned`, `done`, `unchanged`, `failed` or `rolled-back`, and why."""

    step: Step
    result: str
    error: BinfmtSetupError | None = None
