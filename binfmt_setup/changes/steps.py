"""The steps that change a host, as data: what stood before, and what shall stand after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.targets import Platform, Target


class Wish(Record):
    """What the user asked for, beyond the platforms.

    `take_over`: replace what others registered, even where it would do.
    """

    persist: bool = True
    credentials: bool = False
    qemu_given: bool = False
    take_over: bool = False


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


class Plan(Record):
    """The steps in the order in which they are carried out, and what stands in the way."""

    targets: tuple[TargetChange, ...] = ()
    boot: tuple[BootStep, ...] = ()
    leftovers: tuple[ChangeEntry, ...] = ()
    starts: tuple[ControlUnit, ...] = ()
    discards: tuple[Discard, ...] = ()
    problems: tuple[tuple[Target, BinfmtSetupError], ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every single step."""
        entries = [c.entry for c in self.targets if c.entry]
        files = [file for change in self.targets for file in change.files]
        last: tuple[Step, ...] = (*self.leftovers, *self.starts, *self.discards)
        return (*entries, *files, *self.boot, *last)
