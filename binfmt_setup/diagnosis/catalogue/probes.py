"""What came of a probe, and what could not be read."""

from __future__ import annotations

from binfmt_setup.diagnosis.catalogue.emulators import OnlyRefused
from binfmt_setup.diagnosis.catalogue.registry import HostCause
from binfmt_setup.diagnosis.finding import Fact, Note, Risk

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Severity
    from binfmt_setup.model.interpreter import NotAFile
    from binfmt_setup.model.reading import NotLookedAt, Unreadable


class NotProbed(Note):
    """Nothing speaks against it, and nothing shows that it works."""

    code = "not-probed"
    live: bool


class ProbeNotRun(NotProbed):
    """The probe could not be run, and `why`: neither yes nor no."""

    why: str

    @property
    def severity(self) -> Severity:
        """What was asked for was not answered."""
        return "error"


class CallerLimit(Fact):
    """A limit on resources, which this process has inherited, stopped the probe."""

    code = "caller-limit"
    limit: str


class ProbeTimeout(Fact):
    """The probe was ended; `interpreter` ran it."""

    code = "probe-timeout"
    interpreter: str


class ProbeFailed(Fact):
    """The probe ended as none of the known causes explains; `interpreter` ran it."""

    code = "probe-failed"
    why: str
    interpreter: str = ""


class AccessDenied(Fact):
    """The kernel may not execute the interpreter."""

    code = "access-denied"


class RegistryUnreadable(HostCause):
    """The list of entries, or their switch, could not be read: nothing is known of it."""

    code = AccessDenied.code
    path: str
    reason: Unreadable


class EmulatorUnreadable(OnlyRefused):
    """It may be a good one: nobody here can tell."""

    code = AccessDenied.code


class NotRead(Risk):
    """A file that decides what the next boot does could not be read; nothing follows from it."""

    code = "not-read"
    path: str
    reason: Unreadable


class InterpreterUnreadable(Risk):
    """The interpreter of an entry could not be looked at."""

    code = AccessDenied.code
    entry: str
    interpreter: str
    why: NotAFile | NotLookedAt | Unreadable


class CpuTooOld(Fact):
    """A level of x86-64 that this processor has not."""

    code = "cpu-too-old"
    level: str
    lacking: tuple[str, ...]


class EmulatedCpuTooOld(CpuTooOld):
    """A level of a target that its emulator does not emulate; `lacking` is empty."""

    target: str
    interpreter: str
