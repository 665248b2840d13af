"""What a finding is made of: a fact of the catalogue, and how it stands on this host.

No sentence lives here: `report.words` has all of them.
"""

from __future__ import annotations

from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.shell import typed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.model.registration import Entry
    from binfmt_setup.system.probes import ProbeResult

    Severity = Literal["error", "warning", "info"]
    """An error does not work; a warning works, and will break or is a risk."""


class Fact(Record):
    """What is the case, in fields with types. Each class of the catalogue has one code.

    A class that is derived from one with a code is the same finding seen from elsewhere. `more`
    is how many others it stands for that are not told one by one.
    """

    code = ""
    sudo_helps = True
    more = 0

    @property
    def severity(self) -> Severity:
        """How bad it is, by the fields alone."""
        return "error"


class Risk(Fact):
    """What works, and will break or can be abused."""

    @property
    def severity(self) -> Severity:
        """It still works."""
        return "warning"


class Note(Fact):
    """What is good to know, and nothing has to be done about."""

    @property
    def severity(self) -> Severity:
        """Nothing is wrong."""
        return "info"


class Remedy(Record):
    """The command that removes a cause, as data.

    `platform` is its last argument, or `platforms` are its last ones, so that one command serves
    several. A command that is not `complete` holds a word that the user has to fill in. `on_host`
    says that it helps outside of this container only. `first` is what has to be done by hand
    before, in the words of the package manager; without a command it is all that has to be done.
    `sudo` says that whoever asks has not the rights for it.
    """

    command: tuple[str, ...] = ()
    platform: str = ""
    complete: bool = True
    on_host: bool = False
    first: str = ""
    platforms: tuple[str, ...] = ()
    sudo: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """All platforms that it is for."""
        return (self.platform, *self.platforms) if self.platform else self.platforms

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command."""
        rights = ("sudo",) if self.sudo else ()
        return (*rights, *self.command, *self.named)


def shell(line: str) -> Remedy:
    """A remedy that only a shell can carry out: a redirection, or two commands."""
    return Remedy(("sh", "-c", line))


def printed(argv: tuple[str, ...]) -> str:
    """A command as a user types it into a shell."""
    return argv[2] if argv[:2] == ("sh", "-c") else typed(argv)


_NEED_NO_ROOT = (("binfmt-setup", "check"), ("ls",))
"""How commands begin that anybody may run."""


class Finding(Record):
    """A fact about this host or one of its platforms, what was seen of it, and what cures it.

    `seen` are the entries and probes that show it. `eased` is a cause that did no harm, as
    what it should have broken was seen to work.
    """

    fact: Fact
    platform: str = ""
    remedy: Remedy | None = None
    seen: tuple[Entry | ProbeResult, ...] = ()
    eased: bool = False

    @property
    def code(self) -> str:
        """The stable name under which users find its explanation."""
        return self.fact.code

    @property
    def omitted(self) -> int:
        """How many findings of its kind are not told one by one; it stands for them."""
        return self.fact.more

    @property
    def severity(self) -> Severity:
        """How bad it is here."""
        return "info" if self.eased and self.fact.severity == "error" else self.fact.severity


def for_user(finding: Finding, uid: int) -> Finding:
    """The finding as it is told to a user: who is not root needs sudo for what changes a host."""
    remedy = finding.remedy
    if uid == 0 or remedy is None or not remedy.command or not finding.fact.sudo_helps:
        return finding
    if any(remedy.command[: len(start)] == start for start in _NEED_NO_ROOT):
        return finding
    return replace(finding, remedy=replace(remedy, sudo=True))
