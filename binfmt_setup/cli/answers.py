"""The answer of a command: a result in the format that was asked for, and its exit status."""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING

from binfmt_setup.cli.streams import say
from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.model.escaping import safe
from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.report.result import Result
    from binfmt_setup.report.text_report import Style
    from binfmt_setup.system.host import Host

HOST: ContextVar[Host | None] = ContextVar("host", default=None)
"""The host that the command works on, so that a report of its failure can describe it."""


class Answer(Record):
    """What goes to standard output, the exit status, and what was read to find it out.

    With `hold` the command stays once all is said, until a signal ends it. With `commands` the
    text is made of commands to a CI runner.
    """

    text: str
    status: int
    facts: HostFacts | None = None
    hold: bool = False
    commands: bool = False


def host_at(root: str, *, verbose: bool) -> Host:
    """The host whose tree is at `root`; raises UsageProblem when nothing is there."""
    from binfmt_setup.system.host import Host

    if not os.path.isdir(root):
        raise UsageProblem(f"--root {root}: no such directory", hint="name an existing tree")
    host = Host(os.path.realpath(root), verbose=verbose)
    HOST.set(host)
    return host


def import_format(format_: str) -> None:
    """Import what shows a result in a format, while there is something to wait for."""
    if format_ == "json":
        import json  # noqa: F401 - for `answer_of`, as below

        from binfmt_setup.report import document  # noqa: F401
    elif format_ == "junit":
        from xml.etree import ElementTree as ET  # noqa: F401
    if format_ in ("github", "junit"):
        from binfmt_setup.report import ci_formats  # noqa: F401
    from binfmt_setup.report import text_report  # noqa: F401


def answer_of(result: Result, format_: str, *, diff: bool = False, quiet: bool = False) -> Answer:
    """A result in a format."""
    text = _text(result, format_, diff, quiet)
    commands = format_ == "github"
    return Answer(text, int(result.exit_code), result.facts, commands=commands)


def _text(result: Result, format_: str, diff: bool, quiet: bool) -> str:  # noqa: FBT001 - as given
    if format_ == "text":
        from binfmt_setup.report import text_report

        return text_report.text_report(result, style_of(), diff=diff, quiet=quiet)
    if format_ == "json":
        from binfmt_setup.report import text_report

        return text_report.json_report(result)
    from binfmt_setup.report import ci_formats

    if format_ == "github":
        _write_step_summary(ci_formats.github_summary(result))
        return ci_formats.github_report(result)
    return ci_formats.junit_report(result)


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
    from binfmt_setup.report.text_report import Style

    stream = sys.stderr if errors else sys.stdout
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour, (stream.encoding or "").lower().replace("-", "") == "utf8")
