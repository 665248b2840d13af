"""The command line: parse, call a command, print, and tell the exit code."""

from __future__ import annotations

import os
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from binfmt_setup import __version__
from binfmt_setup.cli.ending import (
    ended,
    host_at,
    leave_cleanly_when_terminated,
    show,
    style_of,
)
from binfmt_setup.model.errors import ExitCode, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.commands.request import InstallOptions
    from binfmt_setup.engines.ask import EngineCalls
    from binfmt_setup.report.result import Result
    from binfmt_setup.system.host import Host

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
    from binfmt_setup.commands.install import install as do_install

    options = _install_options(
        check=check or diff, persist=not no_persist, private=private, credentials=credentials,
        install_qemu=install_qemu, take_over=take_over, **_qemu_options(qemu, qemu_store),
    )  # fmt: skip
    leave_cleanly_when_terminated()
    result = do_install(host_at(root, verbose=verbose), platforms or [], options)
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
    host = host_at(root, verbose=verbose)
    if security:
        from binfmt_setup.commands.look import check_security

        if platforms:
            raise UsageProblem(
                "--security looks at all entries, whatever their platform",
                hint="leave the platforms out",
            )
        _finish(check_security(host, strict=strict), format_.value, quiet=quiet)
    else:
        from binfmt_setup.commands.check import check as do_check

        # With one platform each fact has its line, QEMU's version among them.
        versions = format_ is CheckFormat.json or (len(platforms or []) == 1 and not quiet)
        engines = _engine_calls(host, engine) if engine else None
        result = do_check(host, platforms or [], strict=strict, versions=versions, engines=engines)
        _finish(result, format_.value, quiet=quiet)


@app.command(short_help="Show every entry of the registry.")
def status(
    root: Root = Path("/"), format_: FormatOption = Format.text, *, verbose: Verbose = False
) -> None:
    """Show every entry: its interpreter, owner, and whether it survives a reboot."""
    from binfmt_setup.commands import look

    _finish(look.status(host_at(root, verbose=verbose)), format_.value)


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
    from binfmt_setup.commands import explain

    if chroot and not Path(chroot).is_dir():
        raise UsageProblem(f"--chroot {chroot}: no such directory", hint="name an existing tree")
    facts, seen = explain.explained(host_at(root, verbose=verbose), file, chroot)
    if format_ is Format.json:
        sys.stdout.write(explain.json_report(facts, seen))
    else:
        sys.stdout.write(explain.text_report(seen, style_of()))
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
    from binfmt_setup.commands.uninstall import uninstall as do_uninstall

    leave_cleanly_when_terminated()
    result = do_uninstall(
        host_at(root, verbose=verbose), platforms or [],
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
    from binfmt_setup.commands.unit import unit as unit_texts

    options = _install_options(**_qemu_options(qemu))
    facts, text, files = unit_texts(host_at(root, verbose=verbose), platforms or [], options)
    if format_ is Format.json:
        from binfmt_setup.report import text_report
        from binfmt_setup.report.result import UnitResult

        sys.stdout.write(text_report.json_report(UnitResult(facts), unit=text, files=files))
        return
    # As comments, so that the output is a unit file that systemd accepts.
    lines = (line for path, body in files.items() for line in (path, *body.splitlines()))
    comments = "".join(f"# {line}\n" for line in lines)
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
    qemu: Qemu = "",
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
    from binfmt_setup.commands.run import RunOptions, execute
    from binfmt_setup.userns.identity import Users

    del format_  # of the answer when it cannot be run: see _print_failure
    host = host_at(Path("/"), verbose=verbose)
    execute(
        host,
        RunOptions(
            tuple(command), tuple(platform or ()), _callers_qemu(host, qemu),
            Users(map_users) if map_users else None, as_root=map_root, verbose=verbose,
        ),
    )  # fmt: skip


def _engine_calls(host: Host, words: str) -> EngineCalls:
    """What --engine asks for; what engines see of the environment is chosen there."""
    from binfmt_setup.engines.ask import EngineCalls, asked_engines
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.system.progress import Ticker

    names = asked_engines(words)
    if not host.live:
        raise UsageProblem("--engine and --root exclude each other", hint="an engine is no file")
    leave_cleanly_when_terminated()
    ticker = Ticker(sys.stderr, terminal=sys.stderr.isatty() and not host.verbose)
    return EngineCalls(Caller(host, dict(os.environ), progress=ticker), names)


def _callers_qemu(host: Host, text: str) -> str:
    """The directory with what --qemu of `run` names, unpacked where the caller may write."""
    from binfmt_setup.inspect import snapshot
    from binfmt_setup.sources import qemu_source

    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    source = qemu_source.parse_source(text, f"{cache}/binfmt-setup/qemu", dict(os.environ))
    if source is None:
        return ""
    facts = snapshot.emulation_facts(host, ())
    return qemu_source.bring(host, facts, source, write=True).directory


def _qemu_options(qemu: str, keep_in: str = "") -> dict[str, object]:
    """What --qemu means: a directory as it is, or a source to be unpacked."""
    if not qemu:
        return {}
    from binfmt_setup.sources.qemu_source import parse_source

    source = parse_source(qemu, keep_in, dict(os.environ))
    if source is not None and source.kind == "directory":
        return {"qemu_directory": source.text}
    return {"source": source}


def _install_options(**options: object) -> InstallOptions:
    from binfmt_setup.commands.request import InstallOptions

    return InstallOptions(**options)  # type: ignore[arg-type]  # names are checked at run time


def _finish(result: Result, format_: str, *, diff: bool = False, quiet: bool = False) -> None:
    """Print a result and leave with its exit code."""
    raise typer.Exit(show(result, format_, diff=diff, quiet=quiet))


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    return ended(
        lambda: app(list(arguments), prog_name="binfmt-setup", standalone_mode=False), arguments
    )
