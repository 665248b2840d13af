"""Where QEMU comes from: what lies on the host, and which package would bring it."""

from __future__ import annotations

import posixpath
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from binfmt_setup.errors import NoEmulator, PrivilegesMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.facts import Distribution, HostFacts, Interpreter
    from binfmt_setup.host import Host
    from binfmt_setup.targets import Target

_INSTALL_SECONDS = 1800.0  # a slow mirror is not an error

HOST_PATTERNS = (
    "/usr/libexec/qemu-binfmt/{}-binfmt-P",  # Debian: argv[0] kept on any kernel
    "/usr/bin/qemu-{}-static",  # Debian 12, Ubuntu, Fedora, Arch
    "/usr/bin/qemu-{}",  # Debian 13 and Alpine, where it is static
    "/usr/local/bin/qemu-{}-static",
    "/usr/local/bin/qemu-{}",
)
"""The order of preference on a host that nobody gave a directory for."""
DIRECTORY_PATTERNS = ("{}-binfmt-P", "qemu-{}-static", "qemu-{}")
"""The names looked for in a directory given with --qemu."""


@dataclass(frozen=True)
class PackageManager:
    """How one package manager installs QEMU user mode without asking anything.

    `package` may hold `{}` for the target's name, where packages are per target.
    """

    program: str
    refresh: tuple[str, ...]
    install: tuple[str, ...]
    package: str

    def packages(self, targets: Sequence[Target]) -> tuple[str, ...]:
        """The packages that bring these targets, each once."""
        return tuple(dict.fromkeys(self.package.format(target.name) for target in targets))

    def command(self, targets: Sequence[Target]) -> tuple[str, ...]:
        """The whole install command."""
        return (self.program, *self.install, *self.packages(targets))


_APT = PackageManager(
    "apt-get", ("update", "-q"), ("install", "-y", "-q", "--no-install-recommends"),
    "qemu-user-static",
)  # fmt: skip
_MANAGERS: dict[str, PackageManager] = {
    "debian": _APT,
    "ubuntu": _APT,
    "fedora": PackageManager(
        "dnf", (), ("install", "-y", "--setopt=install_weak_deps=False"), "qemu-user-static-{}"
    ),
    "opensuse": PackageManager(
        "zypper", (), ("--non-interactive", "install", "--no-recommends"), "qemu-linux-user"
    ),
    "suse": PackageManager(
        "zypper", (), ("--non-interactive", "install", "--no-recommends"), "qemu-linux-user"
    ),
    "arch": PackageManager(
        "pacman", (), ("-S", "--noconfirm", "--needed"), "qemu-user-static"
    ),
    "alpine": PackageManager("apk", (), ("add",), "qemu-{}"),
}  # fmt: skip


def package_manager(distribution: Distribution) -> PackageManager | None:
    """The package manager of a distribution or of one that it is derived from."""
    for name in (distribution.id, *distribution.like):
        if name in _MANAGERS:
            return _MANAGERS[name]
    return None


def candidates(target: Target, directory: str = "") -> tuple[str, ...]:
    """Where an emulator for a target may lie, the best first."""
    if directory:
        return tuple(posixpath.join(directory, p.format(target.name)) for p in DIRECTORY_PATTERNS)
    return tuple(pattern.format(target.name) for pattern in HOST_PATTERNS)


def refusal(facts: HostFacts, found: Interpreter) -> tuple[str, str]:
    """Why an interpreter must not be registered, as (finding code, words); ("", "") if it may.

    With the F flag the kernel runs the pinned file in every chroot and container, where a
    dynamically linked one finds no loader, and for every user, so nobody else may change it.
    """
    path = found.path
    if found.problem or not found.executable:
        problem = found.problem.replace("-", " ") or "not executable"
        return "interpreter-missing", f"{path} is {problem}"
    if found.elf is None:
        return "interpreter-wrong-architecture", f"{path} is no ELF program"
    native = facts.native
    if native and found.elf.target != native and not _runs_as(native, found.elf.target):
        built_for = found.elf.target.name if found.elf.target else "an unknown machine"
        words = f"{path} is a program for {built_for}, this host is {native.name}"
        return "interpreter-wrong-architecture", words
    if not found.elf.static:
        return "interpreter-dynamic", f"{path} is dynamically linked"
    if found.writable_by_others:
        return "interpreter-writable", f"every user can write to {found.writable_by_others[0]}"
    return "", ""


def _runs_as(native: Target, other: Target | None) -> bool:
    """A 64-bit host may run 32-bit programs of its family: an i386 QEMU on amd64 is fine."""
    return other is not None and other.name in native.runs_also


def choose(facts: HostFacts, target: Target) -> Interpreter | None:
    """The emulator to register for a target: the first on this host that may be."""
    for path in facts.emulators.get(target.name, ()):
        found = facts.interpreter(path)
        if refusal(facts, found) == ("", ""):
            return found
    return None


def missing(facts: HostFacts, targets: Sequence[Target]) -> NoEmulator:
    """The error for targets without a usable emulator, with the command that gets one."""
    names = ", ".join(target.name for target in targets)
    reasons = [
        (facts.interpreter(path), refusal(facts, facts.interpreter(path)))
        for target in targets
        for path in facts.emulators.get(target.name, ())
    ]
    refused = [words for found, (_, words) in reasons if found.problem != "missing" and words]
    why = f": {'; '.join(refused)}" if refused else ""
    code = next((c for f, (c, _) in reasons if f.problem != "missing" and c), "interpreter-missing")
    return NoEmulator(
        f"no usable emulator for {names}{why}", hint=install_hint(facts, targets), code=code
    )


def install_hint(facts: HostFacts, targets: Sequence[Target]) -> str:
    """The command that would bring the emulators on this distribution."""
    manager = package_manager(facts.distribution)
    if manager is None:
        return "give a directory with static QEMU binaries: --qemu DIR"
    return f"run: {shlex.join(manager.command(targets))}   (or use --install-qemu)"


def package_command(facts: HostFacts, targets: Sequence[Target]) -> str:
    """The command that `install_packages` runs, to be shown; raises NoEmulator."""
    return shlex.join(_manager_of(facts, targets).command(targets))


def _manager_of(facts: HostFacts, targets: Sequence[Target]) -> PackageManager:
    manager = package_manager(facts.distribution)
    if manager is None or not facts.live:
        name = facts.distribution.name or "this system"
        raise NoEmulator(
            f"do not know how to install QEMU on {name}", hint=install_hint(facts, targets)
        )
    return manager


def install_packages(host: Host, facts: HostFacts, targets: Sequence[Target]) -> None:
    """Install the packages that bring these targets' emulators.

    Raises OtherProgramFailed when the package manager fails, NoEmulator when there is none
    that this tool knows, PrivilegesMissing without root.
    """
    manager = _manager_of(facts, targets)
    if facts.effective_uid != 0:
        raise PrivilegesMissing("installing packages needs root", hint="run it with sudo")
    command = manager.command(targets)
    host.say(f"installing QEMU: {shlex.join(command)}")
    if manager.refresh:
        host.checked((manager.program, *manager.refresh), _INSTALL_SECONDS)
    host.checked(command, _INSTALL_SECONDS, hint="run the command by hand to see more")
