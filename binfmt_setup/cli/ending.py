"""How a command ends: its answer on standard output, its errors, and its exit status.

The only place where errors end; whoever reads the command line calls `ended`.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from contextvars import ContextVar
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, NoReturn

from binfmt_setup.model.errors import BinfmtSetupError, ExitCode, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from binfmt_setup.report.result import Result
    from binfmt_setup.report.text_report import Style
    from binfmt_setup.system.host import Host

_HOST: ContextVar[Host | None] = ContextVar("host", default=None)
"""The host that the command works on, so that a report of its failure can describe it."""


def host_at(root: str | os.PathLike[str] = "/", *, verbose: bool) -> Host:
    """The host whose tree is at `root`; raises UsageProblem when nothing is there."""
    from binfmt_setup.system.host import Host

    if not os.path.isdir(root):
        raise UsageProblem(f"--root {root}: no such directory", hint="name an existing tree")
    host = Host(os.path.realpath(root), verbose=verbose)
    _HOST.set(host)
    return host


def leave_cleanly_when_terminated() -> None:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does: a half-done replacement is taken back."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)


def show(result: Result, format_: str, *, diff: bool = False, quiet: bool = False) -> int:
    """Print a result and return its exit code."""
    from binfmt_setup.report import text_report

    if format_ == "text":
        sys.stdout.write(text_report.text_report(result, style_of(), diff=diff, quiet=quiet))
    elif format_ == "json":
        sys.stdout.write(text_report.json_report(result))
    elif format_ == "github":
        from binfmt_setup.report import ci_formats

        sys.stdout.write(ci_formats.github_report(result))
        _write_step_summary(ci_formats.github_summary(result))
    else:
        from binfmt_setup.report import ci_formats

        sys.stdout.write(ci_formats.junit_report(result))
    return int(result.exit_code)


def _write_step_summary(markdown: str) -> None:
    """Add to the file that GitHub shows as a job's summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(markdown)
    except OSError as error:
        print(f"no step summary: {path}: {error.strerror}", file=sys.stderr)


def style_of(*, errors: bool = False) -> Style:
    """How text may look on standard output, or on standard error."""
    from binfmt_setup.report.text_report import Style

    stream = sys.stderr if errors else sys.stdout
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour, (stream.encoding or "").lower().replace("-", "") == "utf8")


def ended(command: Callable[[], object], arguments: Sequence[str] = ()) -> int:
    """Do a command and return its exit code; the only place where errors end.

    `arguments` tell whether an error shall be answered in a format for programs.
    """
    try:
        status = command()
        sys.stdout.flush()
    except BinfmtSetupError as error:
        return _report_error(error, arguments)
    except BrokenPipeError:
        # Whoever read the answer has read enough; keep the interpreter from trying again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        return _report_surprise(error, arguments)
    return status if isinstance(status, int) else 0


def _report_error(error: BinfmtSetupError, arguments: Sequence[str]) -> int:
    """Say on standard error what stopped the command, and on standard output what reads it."""
    from binfmt_setup.report import text_report

    _print_failure(error, arguments)
    for line in text_report.error_lines(error, style_of(errors=True)):
        print(line, file=sys.stderr)
    return int(error.exit_code)


def _print_failure(error: BinfmtSetupError, arguments: Sequence[str]) -> None:
    """The answer in the format that was asked for, with the host as far as it is known."""
    # Behind a "--" are the words of the command that `run` starts.
    words = list(takewhile(lambda word: word != "--", arguments))
    pairs = [("--format", word.removeprefix("--format=")) for word in words]
    wanted = {value for key, value in [*pairs, *pairwise(words)] if key == "--format"}
    format_ = next((name for name in ("json", "github", "junit") if name in wanted), "")
    command = next((word for word in words if not word.startswith("-")), "")
    if not format_:
        return
    if host := _HOST.get():
        from binfmt_setup.commands.look import stopped

        with suppress(Exception):  # nothing may hide the error that is being reported
            show(stopped(host, command, error, check="--check" in words), format_)
            return
    if format_ == "json":
        import json

        from binfmt_setup.report.document import failure

        print(json.dumps(failure(command, error), indent=2))
    else:
        from binfmt_setup.report import ci_formats

        one = ci_formats.github_error if format_ == "github" else ci_formats.junit_error
        print(one(error))


def _report_surprise(error: Exception, arguments: Sequence[str]) -> int:
    """A usage error of the command line parser, or a defect of this tool."""
    show = getattr(error, "show", None)
    if show is not None:  # click's own errors know how to be shown
        words = getattr(error, "format_message", lambda: str(error))()
        if words:
            _print_failure(UsageProblem(words, hint="see: binfmt-setup --help"), arguments)
        show()
        return int(getattr(error, "exit_code", ExitCode.USAGE))
    import traceback

    traceback.print_exception(error, limit=-5)
    print("this is a defect of binfmt-setup: please report it with the lines above",
          file=sys.stderr)  # fmt: skip
    return int(ExitCode.DEFECT)
