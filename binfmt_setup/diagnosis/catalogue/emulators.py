"""What can be wrong with emulators: none, one that must not be used, one that changed."""

from __future__ import annotations

from binfmt_setup.diagnosis.finding import Fact, Risk

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Severity
    from binfmt_setup.diagnosis.ownership import Origin
    from binfmt_setup.emulators.refusals import Refusal
    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.interpreter import OwnRights


class InterpreterMissing(Fact):
    """There is no emulator on this host for anything."""

    code = "interpreter-missing"


class NoEmulatorFor(InterpreterMissing):
    """None for a platform; `refused` is why the first one found is not taken."""

    distribution: str
    packages: tuple[str, ...] = ()
    refused: Refusal | None = None


class PinnedInterpreterGone(InterpreterMissing):
    """What the kernel holds open is not there any more."""

    interpreter: str
    left_by: Origin | None

    @property
    def severity(self) -> Severity:
        """It works until the next reboot."""
        return "warning"


class EntryInterpreterGone(InterpreterMissing):
    """What an entry without F names is not there: its programs cannot start."""

    entry: str
    interpreter: str


class OrphanedEntry(EntryInterpreterGone):
    """The same of an entry that no platform in question needs."""

    @property
    def severity(self) -> Severity:
        """What it takes does not run, which nobody asked about."""
        return "warning"


class InterpreterNotHere(InterpreterMissing):
    """What the kernel runs for an entry cannot be looked at."""

    entry: str
    interpreter: str

    @property
    def severity(self) -> Severity:
        """It may be as good as any."""
        return "warning"


class RefusedInterpreter(Fact):
    """An entry's emulator that no chroot can use."""

    refused: Refusal


class OnlyRefused(RefusedInterpreter):
    """It is the only emulator; `packages` have another one."""

    distribution: str
    packages: tuple[str, ...]


class InterpreterDynamic(RefusedInterpreter):
    """It needs a loader, which no container has."""

    code = "interpreter-dynamic"


class NoEmulatorButDynamic(OnlyRefused):
    """Nothing else is there to register."""

    code = InterpreterDynamic.code


class InterpreterWrongArchitecture(RefusedInterpreter):
    """This host cannot run it."""

    code = "interpreter-wrong-architecture"


class NoEmulatorForThisHost(OnlyRefused):
    """Nothing else is there to register."""

    code = InterpreterWrongArchitecture.code


class InterpreterWritable(Fact):
    """Others than root can change what runs as root."""

    code = "interpreter-writable"
    culprit: Culprit

    @property
    def severity(self) -> Severity:
        """Whoever asks about a platform is warned; to the security view it is an error."""
        return "warning"


class OnlyUntrustedEmulator(OnlyRefused):
    """Nothing else is there to register."""

    code = InterpreterWritable.code


class EntryNotTrusted(Fact):
    """An entry whose interpreter others than root decide about."""

    code = InterpreterWritable.code
    entry: str
    interpreter: str


class InterpreterOfEachProcess(EntryNotTrusted):
    """Its path leads each process to another file."""


class InterpreterCanBeMade(EntryNotTrusted):
    """It does not exist, and others than root can put it there."""

    culprit: Culprit


class InterpreterOfOthers(EntryNotTrusted):
    """Others than root can change it."""

    culprit: Culprit


class InterpreterWithRights(EntryNotTrusted):
    """Whoever starts a foreign program has the rights that this file has of its own."""

    rights: OwnRights


class BootFileOfOthers(Fact):
    """Others than root can change what is registered at boot."""

    code = InterpreterWritable.code
    path: str
    culprit: Culprit


class InterpreterStale(Risk):
    """The kernel runs an older file than the one on disk."""

    code = "interpreter-stale"
    interpreter: str
    real_path: str


class EntryInterpreterStale(InterpreterStale):
    """The same, told of an entry by the security view: what runs was not judged."""

    entry: str

    @property
    def severity(self) -> Severity:
        """It may be anything."""
        return "error"


class PinnedUnseen(InterpreterStale):
    """A probe did not show which file the kernel holds open; `real_path` is empty."""

    entry: str
    why: str


class InterpreterAltered(Risk):
    """The file is not the one that --qemu brought."""

    code = "interpreter-altered"
    interpreter: str
    source: str
    found: str
    wanted: str


class EntryInterpreterAltered(InterpreterAltered):
    """The same, told of an entry by the security view."""

    entry: str

    @property
    def severity(self) -> Severity:
        """Somebody changed what runs as root."""
        return "error"


class InterpreterMount(Risk):
    """The interpreter lies where it should not."""

    code = "interpreter-mount"
    entry: str
    interpreter: str
    mount: str


class InterpreterUnpackaged(Risk):
    """No package owns the interpreter."""

    code = "interpreter-unpackaged"
    entry: str
    interpreter: str
