"""What can be wrong with the registry: kernel, module, mount, switch, and its entries."""

from __future__ import annotations

from binfmt_setup.diagnosis.finding import Fact, Note, Risk

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.diagnosis.finding import Severity
    from binfmt_setup.model.reading import Unreadable

    Caught = Literal["native", "relatives", "extension", "scripts", "one-byte"]
    """Which programs that the host runs itself an entry takes."""


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


class GloballyDisabled(HostCause):
    """The switch for all entries is off."""

    code = "globally-disabled"


class ReadOnly(HostCause):
    """Nothing can be registered, switched or removed through this mount."""

    code = "read-only"


class PrivateNamespace(Note):
    """What is said holds in this user namespace alone."""

    code = "private-namespace"


class EntryMissing(Fact):
    """No entry for programs of a target."""

    code = "entry-missing"


class NoEntryFits(EntryMissing):
    """The same where no probe could tell: no pattern fits."""


class NotPrepared(EntryMissing):
    """An offline tree whose first boot registers none that works."""

    problem: Lost | None


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
    """An entry catches the host's own programs: none starts any more, sudo neither."""

    code = "native-registered"
    sudo_helps = False
    entry: str


class NativeCaught(Fact):
    """An entry takes some program of the host itself; with C it has its owner's rights.

    `targets` names those whose probes the kernel was seen to run itself, past the entry.
    """

    code = "native-caught"
    entry: str
    caught: Caught
    extension: str = ""
    credentials: bool = False
    example: str = ""
    targets: tuple[str, ...] = ()


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


class CredentialsWished(CredentialsFlag):
    """The wish list asks for it."""

    @property
    def severity(self) -> Severity:
        """It is as it should be."""
        return "info"


class CredentialsHeld(CredentialsFlag):
    """With C every user becomes root who can start a foreign set-user-ID program of an entry.

    `asked_for` says that --credentials was given, `whose` who set the flag, as far as files and
    looks tell.
    """

    entry: str
    asked_for: bool
    whose: str

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
