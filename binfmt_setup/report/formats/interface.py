"""What every output format offers, which ones there are, and who may ask for which.

To add one: write `formats/NAME.py` with a class and `FORMAT`, an instance of it; give it its line
in FORMATS, and its name to the choices in `cli/choices.py`. The test
tests/unit/test_format_contract.py renders every kind of result in every format and names what is
missing: an answer that says another verdict than the exit code, or text of others that gets out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from binfmt_setup.model.modules import module_named
from binfmt_setup.model.records import Record
from binfmt_setup.report.style import PLAIN, Style

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import ClassVar

    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.result import Result


FORMATS = ("text", "json", "prometheus", "nagios", "journal", "github", "junit")
"""All formats; each is the module of its name here."""


class Showing(Record):
    """How an answer is wanted: `diff` shows what changes in files, `quiet` the verdict alone."""

    style: Style = PLAIN
    diff: bool = False
    quiet: bool = False


class OutputFormat(ABC):
    """How results are given to people or programs.

    `commands` says that the lines are commands to a CI runner, which have to reach it, `journal`
    that they are entries for systemd's journal.
    """

    name: ClassVar[str]
    commands: ClassVar[bool] = False
    journal: ClassVar[bool] = False

    @abstractmethod
    def report(self, result: Result, showing: Showing) -> str:
        """The whole answer of a command."""

    @abstractmethod
    def failure(self, command: str, error: BinfmtSetupError) -> str:
        """The answer of a command that was stopped before it knew the host."""

    def status(self, result: Result) -> int:
        """The exit status of an answer."""
        return result.exit_code

    def failure_status(self, error: BinfmtSetupError) -> int:
        """The exit status of a command that was stopped."""
        return error.exit_code

    def summary(self, result: Result) -> str:  # noqa: ARG002 - most have none
        """What is added to a summary that the CI system keeps; empty where it keeps none."""
        return ""

    def prepare(self) -> None:  # noqa: B027 - most need nothing
        """Import what is needed, while there is something to wait for."""


def format_named(name: str) -> OutputFormat:
    """The format of a name; raises LookupError for any other word."""
    module = next((known for known in FORMATS if known == name), None)
    if module is None:
        raise LookupError(name)
    found: OutputFormat = module_named(f"{__package__}.{module}").FORMAT
    return found
