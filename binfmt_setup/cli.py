"""The command line: parse, call a command, print, and tell the exit code."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from contextvars import ContextVar
from enum import Enum
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from binfmt_setup import __version__
from binfmt_setup.errors import BinfmtSetupError, ExitCode, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from binfmt_setup.commands import Result
    from binfmt_setup.engines import EngineCalls
    from binfmt_setup.host import Host
    from binfmt_setup.provision import InstallOptions
    from binfmt_setup.report import Style

app = typer.Typer(
    name="binfmt-setup",
    no_args_is_help=True,
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


class Format(str, Enum):
    """What every command can print."""

    text = "text"
    json = "json"


class CheckFormat(str, Enum):
    """What `check` can print."""

    text = "text"
    json = "json"
    github = "github"
    junit = "junit"


_HOST: ContextVar[Host | None] = ContextVar("host", default=None)
"""The host that the command works on, so that a report of its failure can describe it."""

Platforms = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PLATFORM]...",
        help="linux/arm64, arm64, aarch64, armhf, arm/v7, … or 'all'. None: every container "
        "platform that this host has an emulator for and does not run by itself.",
        show_default=False,
    ),
]
Root = Annotated[
    Path, typer.Option(help="A host's file tree to inspect or prepare; its kernel is not asked.")
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say what is being done.")]
FormatOption = Annotated[Format, typer.Option("--format", help="What to print.")]
Private = Annotated[
    bool, typer.Option("--private", help="Work in the registry of this user namespace.")
]
Qemu = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="Take QEMU from a directory, an archive (tar, .deb, docker save, OCI) or image:REF.",
    ),
]
QemuDirectory = Annotated[str, typer.Option(metavar="DIR", help="Take QEMU from this directory.")]
QemuStore = Annotated[
    str,
    typer.Option(
        metavar="DIR",
        help="Keep what --qemu unpacks here.  [default: /usr/local/lib/binfmt-setup/qemu]",
        show_default=False,
    ),
]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        print(f"binfmt-setup {__version__}")
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


@app.command(short_help="Make platforms run, now and after reboots.")
def install(  # noqa: PLR0913 - one parameter is one option
    platforms: Platforms = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say what would.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show each change line by line.")] = False,
    no_persist: Annotated[
        bool, typer.Option("--no-persist", help="Until the next reboot only.")
    ] = False,
    qemu: Qemu = "",
    qemu_store: QemuStore = "",
    install_qemu: Annotated[
        bool, typer.Option("--install-qemu", help="Install QEMU's package where it is missing.")
    ] = False,
    credentials: Annotated[
        bool,
        typer.Option("--credentials", help="Honour set-user-ID programs (flag C): sudo, but risk."),
    ] = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Replace what another tool registered, even if it works."),
    ] = False,
    private: Private = False,
    root: Root = Path("/"),
    format_: FormatOption = Format.text,
    verbose: Verbose = False,
) -> None:
    """Make the platforms run, now and after a reboot; changes only what differs.

    With --diff alone nothing is written either.
    """
    from binfmt_setup import provision

    options = _install_options(
        check=check or diff, persist=not no_persist, private=private, credentials=credentials,
        install_qemu=install_qemu, take_over=take_over, **_qemu_options(qemu, qemu_store),
    )  # fmt: skip
    _leave_cleanly_when_terminated()
    result = provision.install(_host(root, verbose=verbose), platforms or [], options)
    _finish(result, format_.value, diff=diff)


@app.command(short_help="Do they work? Runs probes, changes nothing.")
def check(  # noqa: PLR0913 - one parameter is one option
    platforms: Platforms = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings make it a no, too.")] = False,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME,…", help="Build with docker, podman, buildah, or 'auto': those there are."
        ),
    ] = "",
    security: Annotated[
        bool, typer.Option("--security", help="Can the entries be trusted? Runs no probe.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the verdict.")] = False,
    root: Root = Path("/"),
    format_: Annotated[
        CheckFormat, typer.Option("--format", help="What to print.")
    ] = CheckFormat.text,
    verbose: Verbose = False,
) -> None:
    """Do the platforms work? Runs their probes and changes nothing; needs no root.

    With --engine, builds for them with container engines, too, and leaves nothing behind.
    """
    from binfmt_setup import commands

    host = _host(root, verbose=verbose)
    if security:
        if platforms:
            raise UsageProblem(
                "--security looks at all entries, whatever their platform",
                hint="leave the platforms out",
            )
        result = commands.check_security(host, strict=strict)
    else:
        # With one platform each fact has its line, QEMU's version among them.
        versions = format_ is CheckFormat.json or (len(platforms or []) == 1 and not quiet)
        engines = _engine_calls(host, engine) if engine else None
        result = commands.check(
            host, platforms or [], strict=strict, versions=versions, engines=engines
        )
    _finish(result, format_.value, quiet=quiet)


@app.command(short_help="Show every entry of the registry.")
def status(
    root: Root = Path("/"), format_: FormatOption = Format.text, *, verbose: Verbose = False
) -> None:
    """Show every entry: its interpreter, owner, and whether it survives a reboot."""
    from binfmt_setup import commands

    _finish(commands.status(_host(root, verbose=verbose)), format_.value)


@app.command(short_help="Why a file runs here, or why it does not.")
def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A program, or what should be one.")],
    *,
    chroot: Annotated[
        str, typer.Option(metavar="DIR", help="Take DIR for the root directory it runs in.")
    ] = "",
    root: Root = Path("/"),
    format_: FormatOption = Format.text,
    verbose: Verbose = False,
) -> None:
    """Say what FILE is, which entry runs it, which lose, and what to do if none does."""
    from binfmt_setup import explain_command

    if chroot and not Path(chroot).is_dir():
        raise UsageProblem(f"--chroot {chroot}: no such directory", hint="name an existing tree")
    facts, seen = explain_command.explained(_host(root, verbose=verbose), file, chroot)
    if format_ is Format.json:
        sys.stdout.write(explain_command.json_report(facts, seen))
    else:
        sys.stdout.write(explain_command.text_report(seen, _style()))
    raise typer.Exit(int(ExitCode.OK if seen.runs else ExitCode.ANSWER_IS_NO))


@app.command(short_help="Remove exactly what install made.")
def uninstall(  # noqa: PLR0913 - one parameter is one option
    platforms: Platforms = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say what would.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show each change line by line.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even while programs run under emulation.")
    ] = False,
    private: Private = False,
    root: Root = Path("/"),
    format_: FormatOption = Format.text,
    verbose: Verbose = False,
) -> None:
    """Remove exactly what install made (for all platforms when none is named)."""
    from binfmt_setup import provision

    _leave_cleanly_when_terminated()
    result = provision.uninstall(
        _host(root, verbose=verbose), platforms or [],
        check_only=check or diff, force=force, private=private,
    )  # fmt: skip
    _finish(result, format_.value, diff=diff)


@app.command(short_help="Print what install writes for the boot.")
def unit(
    platforms: Platforms = None,
    *,
    qemu: Qemu = "",
    root: Root = Path("/"),
    format_: FormatOption = Format.text,
    verbose: Verbose = False,
) -> None:
    """Print what install would write so that registrations survive a reboot."""
    from binfmt_setup import provision

    options = _install_options(**_qemu_options(qemu))
    text, files = provision.unit(_host(root, verbose=verbose), platforms or [], options)
    if format_ is Format.json:
        import json

        names = (file.partition("\n") for file in files)
        print(json.dumps({"schema_version": 1, "command": "unit", "unit": text,
                          "files": {path: body for path, _, body in names}}, indent=2))  # fmt: skip
        return
    # As comments, so that the output is a unit file that systemd accepts.
    comments = "".join(f"# {line}\n" for file in files for line in file.splitlines())
    sys.stdout.write(comments + text)


@app.command(
    short_help="Run a command with emulation, without root.",
    context_settings={"allow_interspersed_args": False},
)
def run(  # noqa: PLR0913 - one parameter is one option
    command: Annotated[list[str], typer.Argument(metavar="COMMAND...", show_default=False)],
    *,
    platform: Annotated[
        list[str] | None,
        typer.Option("--platform", "-P", metavar="PLATFORM", show_default=False,
                     help="Emulate this one; may be repeated. None: that of COMMAND, if it is a "
                     "foreign program, else every container platform."),
    ] = None,
    qemu: QemuDirectory = "",
    map_users: Annotated[
        Literal["auto", "one", "current"] | None,
        typer.Option("--map-users", show_default=False,
                     help="User ids inside. auto: one's own and the range in /etc/subuid; one: "
                     "one's own; current: all there are now (for root, and its default)."),
    ] = None,
    map_root: Annotated[bool, typer.Option("--map-root", help="Be root inside.")] = False,
    format_: FormatOption = Format.text,
    verbose: Verbose = False,
) -> None:  # fmt: skip
    """Run COMMAND with emulation in a private user namespace; nothing on the host changes."""
    from binfmt_setup.identity import Users
    from binfmt_setup.run import RunOptions, execute

    del format_  # of the answer when it cannot be run: see _print_failure
    execute(
        _host(Path("/"), verbose=verbose),
        RunOptions(
            tuple(command), tuple(platform or ()), _existing_directory(qemu),
            Users(map_users) if map_users else None, as_root=map_root, verbose=verbose,
        ),
    )  # fmt: skip


def _host(root: Path, *, verbose: bool) -> Host:
    from binfmt_setup.host import Host

    if not root.is_dir():
        raise UsageProblem(f"--root {root}: no such directory", hint="name an existing tree")
    host = Host(root.resolve(), verbose=verbose)
    _HOST.set(host)
    return host


def _engine_calls(host: Host, words: str) -> EngineCalls:
    """What --engine asks for; what engines see of the environment is chosen there."""
    from binfmt_setup.engines import Caller, EngineCalls, asked_engines
    from binfmt_setup.progress import Ticker

    names = asked_engines(words)
    if not host.live:
        raise UsageProblem("--engine and --root exclude each other", hint="an engine is no file")
    _leave_cleanly_when_terminated()
    ticker = Ticker(sys.stderr, terminal=sys.stderr.isatty() and not host.verbose)
    return EngineCalls(Caller(host, dict(os.environ), progress=ticker), names)


def _existing_directory(path: str) -> str:
    if path and not Path(path).is_dir():
        raise UsageProblem(
            f"--qemu {path}: no such directory", hint="name a directory with static QEMU binaries"
        )
    return str(Path(path).absolute()) if path else ""


def _qemu_options(qemu: str, keep_in: str = "") -> dict[str, object]:
    """What --qemu means: a directory as it is, or a source to be unpacked."""
    if not qemu:
        return {}
    from binfmt_setup.sources import parse_source

    source = parse_source(qemu, keep_in, dict(os.environ))
    if source is not None and source.kind == "directory":
        return {"qemu_directory": source.text}
    return {"source": source}


def _install_options(**options: object) -> InstallOptions:
    from binfmt_setup.provision import InstallOptions

    return InstallOptions(**options)  # type: ignore[arg-type]  # names are checked at run time


def _leave_cleanly_when_terminated() -> None:
    """Let SIGTERM and SIGHUP unwind as Ctrl-C does: a half-done replacement is taken back."""

    def stop(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)


def _finish(result: Result, format_: str, *, diff: bool = False, quiet: bool = False) -> None:
    """Print a result and leave with its exit code."""
    _print(result, format_, diff=diff, quiet=quiet)
    raise typer.Exit(int(result.exit_code))


def _print(result: Result, format_: str, *, diff: bool = False, quiet: bool = False) -> None:
    from binfmt_setup import report

    if format_ == "text":
        sys.stdout.write(report.text_report(result, _style(), diff=diff, quiet=quiet))
    elif format_ == "json":
        sys.stdout.write(report.json_report(result))
    elif format_ == "github":
        from binfmt_setup import ci_formats

        sys.stdout.write(ci_formats.github_report(result))
        _write_step_summary(ci_formats.github_summary(result))
    else:
        from binfmt_setup import ci_formats

        sys.stdout.write(ci_formats.junit_report(result))


def _write_step_summary(markdown: str) -> None:
    """Add to the file that GitHub shows as a job's summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(markdown)
    except OSError as error:
        print(f"no step summary: {path}: {error.strerror}", file=sys.stderr)


def _style(*, errors: bool = False) -> Style:
    from binfmt_setup.report import Style

    stream = sys.stderr if errors else sys.stdout
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour, (stream.encoding or "").lower().replace("-", "") == "utf8")


def run_command_line(arguments: Sequence[str], failed: BaseException | None = None) -> int:
    """Run one command and return its exit code; the only place where errors end.

    `failed` is what stopped a command that was tried without the command line library.
    """
    try:
        status = _outcome(arguments, failed)
        sys.stdout.flush()
    except BinfmtSetupError as error:
        return _report_error(error, () if failed else arguments)
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


def _outcome(arguments: Sequence[str], failed: BaseException | None) -> object:
    if failed:
        raise failed
    return app(list(arguments), prog_name="binfmt-setup", standalone_mode=False)


def _report_error(error: BinfmtSetupError, arguments: Sequence[str]) -> int:
    """Say on standard error what stopped the command, and on standard output what reads it."""
    from binfmt_setup import report

    _print_failure(error, arguments)
    for line in report.error_lines(error, _style(errors=True)):
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
        from binfmt_setup.commands import stopped

        with suppress(Exception):  # nothing may hide the error that is being reported
            _print(stopped(host, command, error, check="--check" in words), format_)
            return
    if format_ == "json":
        import json

        from binfmt_setup.document import failure

        print(json.dumps(failure(command, error), indent=2))
    else:
        from binfmt_setup import ci_formats

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
