"""`binfmt-setup run`: a command with emulation, in a namespace that nobody else sees.

From the options to the moment where this process becomes the command. It stands before
every call of a compiler or a test, so it must start fast.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from binfmt_setup.commands.request import asked_for
from binfmt_setup.model.elf import HEADER_BYTES, identify
from binfmt_setup.model.errors import CommandNotExecutable, CommandNotFound, EnvironmentUnfit
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import target_of_machine, targets_of
from binfmt_setup.system import registry
from binfmt_setup.userns import namespace
from binfmt_setup.userns.identity import Users, choose

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import NoReturn

    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.host import Host


_ENVIRONMENT_BYTES = 64 * 1024 * 1024  # the kernel takes at most 6 MB (execve(2))
_SHELL = "/bin/sh"
_DEFAULT_PATH = "/bin:/usr/bin"


class RunOptions(Record):
    """What `run` was asked for; `users` is None where nothing was said about ids."""

    command: tuple[str, ...]
    platforms: tuple[str, ...] = ()
    qemu: str = ""
    qemu_sha256: str = ""
    users: Users | None = None
    as_root: bool = False
    verbose: bool = False


def callers_qemu(
    host: Host, text: str, sha256: str = "", targets: Sequence[Target] | None = None
) -> str:
    """The directory with what --qemu names; unpacked, for these targets, in the caller's cache."""
    if not text and not sha256:
        return ""
    with suppress(PermissionError):  # told below
        if not sha256 and Path(text).is_dir():  # what archives take to read is not loaded then
            return str(Path(text).absolute())
    from binfmt_setup.inspect import snapshot
    from binfmt_setup.sources import qemu_source

    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not cache.startswith("/"):  # to be ignored then (XDG Base Directory Specification)
        cache = str(Path.home() / ".cache")
    store = f"{cache}/binfmt-setup/qemu"
    source = qemu_source.parse_source(text, store, dict(os.environ), sha256)
    if source is None:
        return ""
    if targets is not None:
        source = replace(source, wanted=frozenset(target.name for target in targets))
    facts = snapshot.emulation_facts(host, ())
    return qemu_source.bring(host, facts, source, write=True).directory


def execute(host: Host, options: RunOptions) -> NoReturn:
    """Become the command, with its platforms registered; raises BinfmtSetupError instead."""
    environment = callers_environment(host)
    path = find_command(host, options.command[0], environment.get(b"PATH"))
    targets, named = _wished(host, options, path)
    directory = callers_qemu(host, options.qemu, options.qemu_sha256, targets)
    before = registry.outside(host)
    ranges = options.users not in (None, Users.one)
    identity = choose(namespace.caller(host, ranges=ranges), options.users, as_root=options.as_root)
    namespace.enter(host, identity)
    own = namespace.own_registry(host, before)
    for registration in _registrations(host, targets, directory, named=named):
        own.register(registration)
        host.log(f"registered {registration.name}: {registration.interpreter}")
    own.close()
    if identity.back:
        _back(host, *identity.back)
    _become(host, path, options.command, environment)


def _back(host: Host, uid: int, gid: int) -> None:
    """Give the caller's ids back; where no second namespace may be had, say so and go on."""
    try:
        namespace.map_back(host, uid, gid)
    except EnvironmentUnfit as error:
        host.say(f"warning: {error.message}: the command runs as root of its own namespace")


def _wished(host: Host, options: RunOptions, path: str) -> tuple[list[Target], bool]:
    """The targets to register, and whether exactly these are meant.

    Named ones; else that of the command, when it is a program of another architecture;
    else all that container images come for.
    """
    native = target_of_machine(os.uname().machine)
    asked = asked_for(options.platforms)
    if not options.platforms:
        program = identify(_head(host, path))
        if program and program.target and program.target != native:
            return [program.target], True
    return [target for target in targets_of(asked.platforms) if target != native], asked.named


def _head(host: Host, path: str) -> bytes:
    """The start of a program; nothing of one that may be executed but not read."""
    with suppress(OSError):
        return host.head(path, HEADER_BYTES)
    return b""


def _registrations(
    host: Host, targets: Sequence[Target], directory: str, *, named: bool
) -> Iterator[Registration]:
    """What to register for each target that the kernel does not run by itself.

    Asked for while the registry is empty. Raises NoEmulator when a named target has no
    emulator, or none at all has one.
    """
    from binfmt_setup.changes.registrations import wished_registration
    from binfmt_setup.emulators import choice
    from binfmt_setup.inspect import snapshot

    facts = snapshot.emulation_facts(host, targets, qemu_directory=directory)
    relatives = facts.kernel.native.runs_also if facts.kernel.native else ()
    foreign = [
        t for t in targets
        if t.name not in relatives or not namespace.runs_natively(t.platforms[0].probe)
    ]  # fmt: skip
    chosen = {target: choice.choose(facts, target) for target in foreign}
    lacking = [target for target in foreign if chosen[target] is None]
    if (lacking and named) or (foreign and len(lacking) == len(foreign)):
        raise choice.missing(facts, lacking, directory)
    found = {target: emulator for target, emulator in chosen.items() if emulator}
    silent = [e.path for e in found.values() if not e.needs_binfmt_flags]
    facts = snapshot.with_versions(host, facts, silent)
    for target, emulator in found.items():
        asked = facts.emulators.file_at(emulator.path) or emulator
        yield wished_registration(facts, target, asked, Request())


def callers_environment(host: Host) -> dict[bytes, bytes]:
    """The environment this process was started with.

    Python may have changed its own since: it sets LC_CTYPE in the C locale (PEP 538).
    """
    found: dict[bytes, bytes] = {}
    for assignment in host.head("/proc/self/environ", _ENVIRONMENT_BYTES).split(b"\0"):
        name, equals, value = assignment.partition(b"=")
        if name and equals:
            found.setdefault(name, value)
    return found


def find_command(host: Host, name: str, path: bytes | None) -> str:
    """The file that a shell would start for a name.

    Raises CommandNotFound, or CommandNotExecutable when there is one without permission.
    """
    places = [name]
    if "/" not in name:
        folders = os.fsdecode(path) if path is not None else _DEFAULT_PATH
        places = [f"{folder or '.'}/{name}" for folder in folders.split(":")]
    denied = []
    for place in places:
        status = host.status_of(place)
        if status is None:
            continue
        if stat.S_ISREG(status.st_mode) and os.access(place, os.X_OK):
            return place
        if stat.S_ISREG(status.st_mode) or place == name:
            denied.append(place)
    if denied:
        raise CommandNotExecutable(f"{denied[0]} may not be executed", hint="name a program")
    raise CommandNotFound(f"{name}: command not found", hint="check its path, and PATH")


def _become(
    host: Host, path: str, command: Sequence[str], environment: dict[bytes, bytes]
) -> NoReturn:
    """Become the command; a script without a #! line goes to the shell, as in execvp(3)."""
    try:
        namespace.become(path, command, environment)
    except OSError as error:
        if error.errno == errno.ENOEXEC and _is_text(host, path):
            arguments = (_SHELL, path, *command[1:])
            namespace.become(_SHELL, arguments, environment)
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise CommandNotFound(
                f"{path}: {error.strerror}", hint="does the interpreter of its first line exist?"
            ) from error
        raise CommandNotExecutable(
            f"{path}: {error.strerror}",
            hint="name its platform with --platform, when it is a program of another one",
        ) from error


def _is_text(host: Host, path: str) -> bool:
    """Whether a file looks like a script, by the rule of shells: no NUL in its first line."""
    first, _, _ = _head(host, path).partition(b"\n")
    return b"\0" not in first and not first.startswith(b"\x7fELF")
