"""What a finding is made of: a fact of the catalogue, and how it stands on this host.

No sentence lives here: `report.words` has all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from binfmt_setup.model.records import Record
from binfmt_setup.model.shell import typed

if TYPE_CHECKING:
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.system.probes import ProbeResult

Severity = Literal["error", "warning", "info"]
"""An error does not work; a warning works, and will break or is a risk."""


class Fact(Record):
    """What is the case, in fields with types. Each class of the catalogue has one code.

    A class that is derived from one with a code is the same finding seen from elsewhere.
    """

    code = ""

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

    `platform` is its last argument, so that one command serves several platforms. A command
    that is not `complete` holds a word that the user has to fill in. `on_host` says that it
    helps outside of this container only. `first` is what has to be done by hand before, in the
    words of the package manager; without a command it is all that has to be done.
    """

    command: tuple[str, ...] = ()
    platform: str = ""
    complete: bool = True
    on_host: bool = False
    first: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command."""
        return (*self.command, self.platform) if self.platform else self.command


def shell(line: str) -> Remedy:
    """A remedy that only a shell can carry out: a redirection, or two commands."""
    return Remedy(("sh", "-c", line))


def printed(argv: tuple[str, ...]) -> str:
    """A command as a user types it into a shell."""
    return argv[2] if argv[:2] == ("sh", "-c") else typed(argv)


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
    def severity(self) -> Severity:
        """How bad it is here."""
        return "info" if self.eased and self.fact.severity == "error" else self.fact.severity
