"""Every finding about a host, each code once: what is the case, how bad it is.

A rule (`judge`, `failed_probes`, `working_entries`, `security`) makes these, `report.words` has
their sentences, `docs/findings.md` explains each, and `tests/cases` has a host for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from binfmt_setup.diagnosis.finding import Fact, Note, Risk

if TYPE_CHECKING:
    from binfmt_setup.boot.survival import Late, Lost, NotMounted, NotRegistered
    from binfmt_setup.diagnosis.finding import Severity
    from binfmt_setup.diagnosis.ownership import Origin
    from binfmt_setup.emulators.refusals import Refusal
    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.interpreter import NotAFile
    from binfmt_setup.model.reading import NotLookedAt, Unreadable
    from binfmt_setup.model.registration import Registration

# -- the host: kernel, module, mount, switch ---------------------------------------------------


class HostCause(Fact):
    """What keeps a whole host from emulating; harmless where everything runs all the same."""

    broken: bool

    @property
    def severity(self) -> Severity:
        """An error only where a probe failed."""
        return "error" if self.broken else "info"


class KernelTooOld(HostCause):
    """No F flag."""

    code = "kernel-too-old"
    release: str


class BinfmtMissing(HostCause):
    """A kernel without binfmt_misc."""

    code = "binfmt-missing"
    release: str


class AutomountOnly(HostCause):
    """Only an automount, which nobody triggered."""

    code = "automount-only"


class RegistryNotMounted(HostCause):
    """No registry."""

    code = "not-mounted"


class RegistryOutOfReach(RegistryNotMounted):
    """A container that sees no registry; `unjudged` when its entries were asked for."""

    container: str
    unjudged: bool = False


class GloballyDisabled(Fact):
    """The switch for all entries is off."""

    code = "globally-disabled"


class ReadOnly(Note):
    """Nothing can be registered through this mount."""

    code = "read-only"


class PrivateNamespace(Note):
    """What is said holds in this user namespace alone."""

    code = "private-namespace"


# -- entries -----------------------------------------------------------------------------------


class EntryMissing(Fact):
    """No entry for programs of a target."""

    code = "entry-missing"
    target: str


class NoEntryFits(EntryMissing):
    """The same where no probe could tell: no pattern fits."""


class EntryDisabled(Fact):
    """The entry that would match is disabled."""

    code = "entry-disabled"
    entry: str


class EntryDiffers(Fact):
    """An entry has the name and not the pattern that programs of its target need."""

    code = "entry-differs"
    entry: str
    target: str
    magic: str
    wanted: str


class EntryShadowed(Fact):
    """A newer entry comes before the right one and does not work."""

    code = "entry-shadowed"
    entry: str
    behind: str


class EntryShadowedForNow(EntryShadowed):
    """A newer entry comes before ours and works, until a boot brings ours in front."""

    config: str

    @property
    def severity(self) -> Severity:
        """It works."""
        return "warning"


class EntryUnreadable(Risk):
    """The kernel uses an entry that nobody here can look at."""

    code = "entry-unreadable"
    entry: str
    problem: str | Unreadable


class MoreUnreadable(EntryUnreadable):
    """The rest of very many such entries; `entry` and `problem` are empty."""

    more: int
    total: int


class Unjudged(Risk):
    """What could not be read, so that nobody can tell whether it can be trusted."""

    code = EntryUnreadable.code
    name: str
    path: str


class NativeRegistered(Fact):
    """An entry catches the host's own programs."""

    code = "native-registered"
    entry: str


Caught = Literal["native", "extension", "scripts", "one-byte"]
"""Which programs that the host runs itself an entry takes."""


class NativeCaught(Fact):
    """An entry takes some program of the host itself; with C it has its owner's rights."""

    code = "native-caught"
    entry: str
    caught: Caught
    extension: str
    credentials: bool


class FlagFMissing(Fact):
    """An entry without F, whose interpreter no chroot has."""

    code = "flag-f-missing"
    entry: str
    interpreter: str


class CredentialsFlag(Fact):
    """Set-user-ID programs of a platform run with their owner's rights.

    A package that registers its entries so has its reasons.
    """

    code = "credentials-flag"
    by_distribution: bool

    @property
    def severity(self) -> Severity:
        """A risk that somebody took on purpose, or did not."""
        return "info" if self.by_distribution else "warning"


class CredentialsHeld(CredentialsFlag):
    """With C every user becomes root who can start a foreign set-user-ID program of an entry.

    `asked_for` says that --credentials was given, `config` is the file that sets the flag.
    """

    entry: str
    asked_for: bool
    config: str

    @property
    def severity(self) -> Severity:
        """Whoever set it, it is a way to become root."""
        return "error"


class Argv0Mismatch(Fact):
    """Kernel and QEMU disagree about P: `seen` arguments arrived of two."""

    code = "argv0-mismatch"
    arguments: str


class Argv0Lost(Argv0Mismatch):
    """Programs see their path as argv[0]; `arguments` is empty."""

    @property
    def severity(self) -> Severity:
        """Few programs mind."""
        return "info"


# -- emulators ---------------------------------------------------------------------------------


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


class InterpreterSetId(EntryNotTrusted):
    """Whoever starts a foreign program has the rights of its owner."""


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


# -- probes ------------------------------------------------------------------------------------


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
    """The probe was ended."""

    code = "probe-timeout"


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


# -- the next boot -----------------------------------------------------------------------------


class NotPersistent(Risk):
    """An entry will not be there after a reboot."""

    code = "not-persistent"
    problem: Lost


class NothingPersists(NotPersistent):
    """What was just installed, all of it, will be gone."""


class NotThereAfterBoot(Risk):
    """A registration of ours that the last boot did not make."""

    code = NotPersistent.code
    trouble: NotMounted | NotRegistered


class BootOrder(Risk):
    """An entry is registered late in the boot, or is lost when a mount comes late."""

    code = "boot-order"
    late: Late
    interpreter: str

    @property
    def severity(self) -> Severity:
        """That ours waits for a mount is as it should be."""
        return "warning" if self.late.lost else "info"


class NotRegisteredInOrder(Risk):
    """A mount that did not come in time kept a registration of ours from the kernel."""

    code = BootOrder.code
    trouble: NotRegistered


class ConfigDiffers(Risk):
    """The next boot will register something else than the kernel has now."""

    code = "config-differs"
    config: str
    at_boot: Registration


class ConfigInvalid(Risk):
    """A line that registers nothing."""

    code = "config-invalid"
    path: str
    line: int
    problem: str
    text: str


class MoreInvalid(ConfigInvalid):
    """The rest of very many such lines; `line` is how many the file has."""

    more: int
