"""The command line library's part: the commands with their options, help and errors.

It reads a line and gives the call that it asks for; carrying that out is not its business.
Usual lines do not come here: see `reader`.
"""

from __future__ import annotations

import inspect
import io
from contextlib import redirect_stdout
from functools import wraps
from typing import TYPE_CHECKING, Annotated

import typer

from binfmt_setup import __version__
from binfmt_setup.cli import actions, options, streams
from binfmt_setup.cli.answers import Answer
from binfmt_setup.cli.border import answered
from binfmt_setup.cli.reader import Call
from binfmt_setup.model.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FunctionType

app = typer.Typer(
    name="binfmt-setup",
    add_completion=False,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make programs of foreign architectures run on this host, in containers and chroots "
    "too, now and after every reboot, and prove it by running them.",
    epilog="Exit codes: 0 reached, or nothing wrong; 1 the answer is no; 2 usage; 3 privileges "
    "missing; 4 this kernel or environment cannot do it; 5 no usable emulator; 6 another "
    "program failed; 70 a defect of this tool. `run` has those of its command, and 126 and 127 "
    "as in a shell.",
)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"binfmt-setup {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Exists for --version alone, whose callback does the work."""
    del version


def call_of(action: FunctionType) -> Callable[[], Call]:
    """What the library calls for a command: it only tells with which parameters.

    The types of the parameters, which `actions` leaves as words, become what they name.
    """

    @wraps(action)
    def called(**parameters: object) -> Call:
        return Call(action.__name__, parameters)

    names = {**vars(actions), "options": options}
    signature = inspect.signature(action, globals=names, eval_str=True)
    vars(called)["__signature__"] = signature
    called.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return called


_COMMANDS = {
    "install": "Make platforms run, now and after reboots.",
    "check": "Do they work? Runs probes, changes nothing.",
    "status": "Show every entry of the registry.",
    "explain": "Why a file runs here, or why it does not.",
    "uninstall": "Remove exactly what install made.",
    "unit": "Print what install writes for the boot.",
    "run": "Run a command with emulation, without root.",
    "completion": "Print the completion for bash, zsh or fish.",
}
for _name, _words in _COMMANDS.items():
    app.command(
        short_help=_words,
        # What follows the command of `run` is that command's.
        context_settings={"allow_interspersed_args": _name != "run"},
    )(call_of(getattr(actions, _name)))

PROGRAM = typer.main.get_command(app)
"""The commands as the library reads them."""
_USAGE_ERROR: type[Exception] = typer.BadParameter.mro()[1]
"""All mistakes in a command line, whether the library brings its own click or not."""


def read(arguments: Sequence[str]) -> Call | Answer:
    """What a line asks for, or the help that it wanted; raises UsageProblem for a mistake."""
    if not arguments:
        streams.say(_read(["--help"])[1])
        raise UsageProblem("no command is named", hint="name one of those above")
    try:
        found, said = _read(arguments)
    except _USAGE_ERROR as error:
        raise _as_ours(error) from error
    return found if isinstance(found, Call) else Answer(said, int(found or 0))


def _read(arguments: Sequence[str]) -> tuple[Call | int | None, str]:
    """A call or an exit status, and what is to be printed: whole, at the end, as every answer."""
    said = io.StringIO()
    with redirect_stdout(said):
        found = PROGRAM.main(list(arguments), "binfmt-setup", standalone_mode=False)
    return found, said.getvalue()


def _as_ours(error: Exception) -> UsageProblem:
    """A mistake in the command line as every other error is told, in the library's words."""
    words = getattr(error, "format_message", lambda: str(error))()
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "binfmt-setup")
    return UsageProblem(words, hint=f"see: {path} --help")


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command as the library reads it, and return its exit code."""
    return answered(lambda: read(arguments), arguments)
