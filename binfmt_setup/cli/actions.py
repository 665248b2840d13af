"""What each command does: a function a command, whoever has read the command line.

The parameters are the options; their types are declared in `options`, for the command line
library alone. A function gives the answer, which the border prints.
"""

from __future__ import annotations

import os

from binfmt_setup.cli.answers import Answer, answer_of, host_at, import_format
from binfmt_setup.model.errors import ExitCode, UsageProblem
from binfmt_setup.model.records import replace
from binfmt_setup.model.request import Request

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.cli import options
    from binfmt_setup.cli.choices import CheckFormat, Format, StatusFormat
    from binfmt_setup.engines.ask import EngineCalls
    from binfmt_setup.system.host import Host

    TEXT, CHECKED_TEXT, STATUS_TEXT = Format.text, CheckFormat.text, StatusFormat.text
else:
    # Members are equal to their words, and enums take 2 ms to load.
    TEXT = CHECKED_TEXT = STATUS_TEXT = "text"


def install(  # noqa: PLR0913 - one parameter is one option
    platforms: options.Platforms = None,
    *,
    check: options.DryRun = False,
    diff: options.Diff = False,
    no_persist: options.NoPersist = False,
    qemu: options.Qemu = "",
    qemu_sha256: options.QemuSha256 = "",
    qemu_store: options.QemuStore = "",
    emulator: options.Emulator = "",
    install_qemu: options.InstallQemu = False,
    credentials: options.Credentials = False,
    no_credentials: options.NoCredentials = False,
    take_over: options.TakeOver = False,
    keep: options.Keep = False,
    no_keep: options.NoKeep = False,
    private: options.Private = False,
    hold: options.Hold = False,
    config: options.Config = "",
    deep: options.DeepInstall = False,
    root: options.Root = "/",
    format_: options.AnyFormat = TEXT,
    verbose: options.Verbose = False,
) -> Answer:
    """Make the platforms run, now and after a reboot; changes only what differs.

    Without a platform: those of the wish list, or where there is none every container platform
    that this host has an emulator for and does not run by itself. With --diff alone nothing is
    written either.
    """
    from binfmt_setup.commands.install import install as do_install
    from binfmt_setup.commands.request import SourceWords, requested

    rights = _one_of("credentials", yes=credentials, no=no_credentials)
    kept = _one_of("keep", yes=keep, no=no_keep)
    if kept and no_persist:
        raise UsageProblem("--keep and --no-persist contradict each other", hint="give one of them")
    host = host_at(root, verbose=verbose)
    if emulator:
        _require_alone(qemu=qemu, install_qemu=install_qemu)
        emulator = _found(host, emulator)
    request = requested(
        host,
        platforms,
        Request(
            check=check or diff, persist=not no_persist, private=private, credentials=rights,
            install_qemu=install_qemu, take_over=take_over, hold=hold, deep=deep, keep=kept,
            emulator=emulator,
        ),
        config=config,
        source=None if emulator else SourceWords(qemu, qemu_sha256, qemu_store),
    )  # fmt: skip
    if emulator and not (request.named and len({p.target for p in request.platforms}) == 1):
        raise UsageProblem("--emulator is for one platform", hint="name it: linux/amd64")
    result = do_install(host, request)
    answer = answer_of(result, format_, diff=diff)
    stays = hold and not request.check and answer.status == ExitCode.OK
    return replace(answer, hold=result.entries if stays else None)


def _require_alone(*, qemu: str, install_qemu: bool) -> None:
    """That one emulator is named, and no source of others; raises UsageProblem."""
    other = "--qemu" if qemu else "--install-qemu" if install_qemu else ""
    if other:
        raise UsageProblem(f"--emulator and {other} exclude each other", hint="give one of them")


def _found(host: Host, path: str) -> str:
    """Where a file lies that the line names; raises UsageProblem where there is none."""
    whole = os.path.abspath(path) if host.live else path
    if not whole.startswith("/") or not host.exists(whole):
        raise UsageProblem(f"--emulator {path}: no such file", hint="name an existing program")
    return whole


def _one_of(word: str, *, yes: bool, no: bool) -> bool | None:
    """What --WORD and --no-WORD say; None where neither is there. Raises UsageProblem for both."""
    if yes and no:
        raise UsageProblem(
            f"--{word} and --no-{word} contradict each other", hint="give one of them"
        )
    return True if yes else False if no else None


def check(  # noqa: PLR0913 - one parameter is one option
    platforms: options.Platforms = None,
    *,
    strict: options.Strict = False,
    engine: options.Engine = "",
    security: options.Security = False,
    deep: options.Deep = False,
    qemu: options.Candidates = None,
    qemu_sha256: options.QemuSha256 = "",
    quiet: options.Quiet = False,
    config: options.Config = "",
    root: options.Root = "/",
    format_: options.FormatOfCheck = CHECKED_TEXT,
    verbose: options.Verbose = False,
) -> Answer:
    """Do the platforms work? Runs their probes and changes nothing; needs no root.

    Without a platform: those of the wish list, or where there is none all that are registered
    on this host, now or at the next boot. With --engine, builds for them with container engines,
    too, and leaves nothing behind.
    With --deep, exercises their emulators, or with --qemu others, and says what fails.
    """
    host = host_at(root, verbose=verbose)
    _require_deep(host, deep=deep, candidates=bool(qemu or qemu_sha256), other=security)
    if qemu:
        from binfmt_setup.commands.deep import compare
        from binfmt_setup.commands.request import requested

        wished = requested(host, platforms, config=config).platforms
        return answer_of(compare(host, wished, qemu, qemu_sha256), format_, quiet=quiet)
    if security:
        from binfmt_setup.commands.look import check_security

        if platforms:
            raise UsageProblem(
                "--security looks at all entries, whatever their platform",
                hint="leave the platforms out",
            )
        return answer_of(check_security(host, strict=strict), format_, quiet=quiet)
    from binfmt_setup.commands.check import check as do_check
    from binfmt_setup.commands.request import requested

    request = requested(host, platforms, Request(strict=strict), config=config)
    # With one platform each fact has its line, QEMU's version among them.
    one = request.named and len(request.platforms) == 1 and not quiet
    result = do_check(
        host, request, versions=one or deep or format_ == "json",
        engines=_engine_calls(host, engine) if engine else None,
        meanwhile=lambda: import_format(format_),
    )  # fmt: skip
    if deep:
        from binfmt_setup.commands.deep import deep_check

        result = deep_check(host, result)
    return answer_of(result, format_, quiet=quiet)


def _require_deep(host: Host, *, deep: bool, candidates: bool, other: bool) -> None:
    """What --deep goes with, and what goes with it alone; raises UsageProblem."""
    if candidates and not deep:
        raise UsageProblem(
            "--qemu belongs to --deep: it exercises emulators that are not registered",
            hint="add --deep, or use install --qemu",
        )
    if deep and other:
        raise UsageProblem("--deep and --security exclude each other", hint="run one of them")
    if deep and not host.live:
        raise UsageProblem("--deep and --root exclude each other", hint="files run nothing")


def status(
    root: options.Root = "/",
    format_: options.FormatOfStatus = STATUS_TEXT,
    output: options.Output = "",
    *,
    verbose: options.Verbose = False,
) -> Answer:
    """Show every entry: its interpreter, owner, and whether it survives a reboot.

    Metrics (--format prometheus) are about the platforms that `check` would judge.
    """
    from binfmt_setup.commands import look

    del output  # the border puts the answer there, and an error as well
    host = host_at(root, verbose=verbose)
    watched = format_ == "prometheus"
    return answer_of(look.watched(host) if watched else look.status(host), format_)


def explain(
    file: options.File,
    *,
    chroot: options.Chroot = "",
    root: options.Root = "/",
    format_: options.AnyFormat = TEXT,
    verbose: options.Verbose = False,
) -> Answer:
    """Tell what FILE is, which entry runs it, which others match, and what to do if none does."""
    from binfmt_setup.commands import explain

    if chroot and not os.path.isdir(chroot):
        raise UsageProblem(f"--chroot {chroot}: no such directory", hint="name an existing tree")
    return answer_of(explain.explained(host_at(root, verbose=verbose), file, chroot), format_)


def uninstall(  # noqa: PLR0913 - one parameter is one option
    platforms: options.Platforms = None,
    *,
    check: options.DryRun = False,
    diff: options.Diff = False,
    force: options.Force = False,
    private: options.Private = False,
    config: options.Config = "",
    root: options.Root = "/",
    format_: options.AnyFormat = TEXT,
    verbose: options.Verbose = False,
) -> Answer:
    """Remove exactly what install made.

    Without a platform: for those of the wish list, or where there is none for all.
    """
    from binfmt_setup.commands.request import requested
    from binfmt_setup.commands.uninstall import uninstall as do_uninstall

    host = host_at(root, verbose=verbose)
    switches = Request(check=check or diff, force=force, private=private)
    request = requested(host, platforms, switches, config=config)
    return answer_of(do_uninstall(host, request), format_, diff=diff)


def unit(  # noqa: PLR0913 - one parameter is one option
    platforms: options.Platforms = None,
    *,
    qemu: options.Qemu = "",
    qemu_sha256: options.QemuSha256 = "",
    config: options.Config = "",
    root: options.Root = "/",
    format_: options.AnyFormat = TEXT,
    verbose: options.Verbose = False,
) -> Answer:
    """Print what install would write so that registrations survive a reboot."""
    from binfmt_setup.commands.request import SourceWords, requested
    from binfmt_setup.commands.unit import unit as unit_texts

    host = host_at(root, verbose=verbose)
    source = SourceWords(qemu, qemu_sha256)
    request = requested(host, platforms, config=config, source=source)
    return answer_of(unit_texts(host, request), format_)


def run(  # noqa: PLR0913 - one parameter is one option
    command: options.CommandWords,
    *,
    platform: options.Emulated = None,
    qemu: options.Qemu = "",
    qemu_sha256: options.QemuSha256 = "",
    map_users: options.MapUsers = None,
    map_root: options.MapRoot = False,
    format_: options.AnyFormat = TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Run COMMAND with emulation in a private user namespace; nothing on the host changes."""
    from binfmt_setup.commands.run import RunOptions, execute

    del format_  # of the answer when it cannot be run: the border knows it
    host = host_at("/", verbose=verbose)
    request = RunOptions(
        tuple(command), tuple(platform or ()), qemu, qemu_sha256, map_users,
        as_root=map_root, verbose=verbose,
    )  # fmt: skip
    execute(host, request)


def completion(shell: options.Shell) -> Answer:
    """Print what makes SHELL complete the words of this command.

    For one session: source <(binfmt-setup completion bash), likewise in zsh, and in fish:
    binfmt-setup completion fish | source. Packages install it for all users.
    """
    from binfmt_setup.commands.completion import completion_for

    return Answer(completion_for(shell), ExitCode.OK)


def _engine_calls(host: Host, words: str) -> EngineCalls:
    """What --engine asks for; what engines see of the environment is chosen there."""
    import sys

    from binfmt_setup.engines.ask import EngineCalls, asked_engines
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.system.progress import Ticker

    names = asked_engines(words)
    if not host.live:
        raise UsageProblem("--engine and --root exclude each other", hint="an engine is no file")
    ticker = Ticker(sys.stderr, terminal=sys.stderr.isatty() and not host.verbose)
    return EngineCalls(Caller(host, dict(os.environ), progress=ticker), names)
