"""The answer of a command: a result in the format that was asked for, and its exit status."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar

from binfmt_setup.cli.streams import say
from binfmt_setup.model.errors import EnvironmentUnfit, UsageProblem
from binfmt_setup.model.escaping import safe
from binfmt_setup.model.records import Record, replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.report.result import Result
    from binfmt_setup.report.style import Style
    from binfmt_setup.system.host import Host


HOST: ContextVar[Host | None] = ContextVar("host", default=None)
"""The host that the command works on, so that a report of its failure can describe it."""
SURROUNDINGS: ContextVar[Host | None] = ContextVar("surroundings", default=None)
"""How the host is reached from where it is not as usual: in this tool's own container image."""


class Answer(Record):
    """What goes to standard output, the exit status, and what was read to find it out.

    With `hold` the command stays once all is said, and sees to it that these entries stay. With
    `commands` the text is made of commands to a CI runner, with `journal` of entries for systemd's
    journal.
    """

    text: str
    status: int
    facts: HostFacts | None = None
    hold: tuple[str, ...] | None = None
    commands: bool = False
    journal: bool = False


def host_at(root: str, *, verbose: bool) -> Host:
    """The host whose tree is at `root`; raises UsageProblem when nothing is there.

    Raises EnvironmentUnfit on a running system without /proc, of which nothing can be known.
    """
    from binfmt_setup.system.host import Host

    if not os.path.isdir(root):
        raise UsageProblem(f"--root {root}: no such directory", hint="name an existing tree")
    around = SURROUNDINGS.get() or Host()
    host = replace(around, root=os.path.realpath(root), verbose=verbose)
    HOST.set(host)
    if host.live and not os.path.exists("/proc/self"):
        raise EnvironmentUnfit(
            "/proc is not mounted here", hint="mount it: mount -t proc proc /proc",
            code="proc-missing",
        )  # fmt: skip
    return host


def import_format(format_: str) -> None:
    """Import what shows a result in a format, while there is something to wait for."""
    from binfmt_setup.report.formats.interface import format_named

    format_named(format_).prepare()


def answer_of(result: Result, format_: str, *, diff: bool = False, quiet: bool = False) -> Answer:
    """A result in a format."""
    from binfmt_setup.report.formats.interface import Showing, format_named

    shown = format_named(format_)
    if summary := shown.summary(result):
        _write_step_summary(summary)
    text = shown.report(result, Showing(style_of(), diff, quiet))
    status = shown.status(result)
    return Answer(text, status, result.facts, commands=shown.commands, journal=shown.journal)


def _write_step_summary(markdown: str) -> None:
    """Add to the file that GitHub shows as a job's summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(safe(markdown))
    except OSError as error:
        say(f"no step summary: {path}: {error.strerror}")


def style_of(*, errors: bool = False) -> Style:
    """How text may look on standard output, or on standard error."""
    from binfmt_setup.report.style import Style

    stream = sys.stderr if errors else sys.stdout
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour, (stream.encoding or "").lower().replace("-", "") == "utf8")
