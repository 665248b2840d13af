"""Why an entry will not be there after a reboot, in types. Their words are the report's."""

from __future__ import annotations

from binfmt_setup.model.records import Record


class Lost(Record):
    """Why an entry will not be there after a reboot."""


class Unseen(Lost):
    """Nobody can tell: the files are a container's, the registry is its host's."""


class NoConfig(Lost):
    """No binfmt.d file names it."""


class Volatile(Lost):
    """Its file lies in /run."""

    path: str


class InMemory(Lost):
    """Its interpreter lies in a file system that is gone after a reboot."""

    interpreter: str
    mount: str


class UpperLayer(InMemory):
    """The same of the file that registers it: what is written to this / never lasts."""


class InterpreterGone(Lost):
    """The kernel will refuse it: it has F, and its interpreter is not there."""

    interpreter: str


class InterpreterUnfit(InterpreterGone):
    """The same where something is there that cannot be executed."""


class SwitchedOff(Lost):
    """A line of sysctl.d switches all entries off."""

    path: str
    line: int


class ShadowedAtBoot(Lost):
    """A line puts another entry before it, which does not work, or has another emulator."""

    entry: str
    path: str
    line: int


class LineNotTaken(Lost):
    """The init passes over its line: by the file's name, or by how the line ends."""

    path: str
    line: int


class UnitNotEnabled(Lost):
    """Only a unit of ours reads its file, and that is not enabled."""

    path: str


class NoInit(Lost):
    """No init that reads binfmt.d runs here; `container` is what this is instead of a host."""

    container: str = ""


class NotByHand(Lost):
    """This init reads no binfmt.d, and `line` does not stand in `startup`, which it runs.

    `section` is the one of that file in which it has to stand; empty where there is none.
    """

    init: str
    startup: str
    line: str
    section: str


class StartupNotRun(Lost):
    """The file that would register at boot is not executable, so its init does not run it."""

    startup: str


class RegistryMasked(Lost):
    """The unit that mounts the registry is masked."""


class NoSystemdBinfmt(Lost):
    """This systemd was built without it."""


class SystemdBinfmtMasked(Lost):
    """The service that reads binfmt.d is masked."""


class SystemdBinfmtSkipped(Lost):
    """A condition, which somebody added, keeps the service away that reads binfmt.d."""

    path: str
    condition: str


class SystemdBinfmtDepends(SystemdBinfmtSkipped):
    """Whether it will do so no file tells."""


class UpdateBinfmtsNotRun(Lost):
    """update-binfmts keeps it, and nothing runs that at boot."""


class OpenrcDisabled(Lost):
    """OpenRC's service is in no runlevel."""
