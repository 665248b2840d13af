"""Which package brings QEMU user mode on which distribution, and how it is installed.

The names were read in the distributions' own recipes: Debian's control files, the %files
sections of Fedora's qemu.spec (split per architecture since Fedora 37), openSUSE's
qemu-linux-user.spec, Arch's PKGBUILD, Alpine's APKBUILD.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import NoEmulator, PrivilegesMissing
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from binfmt_setup.model.facts import Distribution, HostFacts
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.host import Host

_INSTALL_SECONDS = 1800.0  # a slow mirror is not an error
_FIRST_DEBIAN_WITH_STATIC_QEMU_USER = (13, 0)
_FIRST_FEDORA_WITH_SPLIT_PACKAGES = (37, 0)

_FEDORA_GROUPS = {
    "aarch64": "aarch64 aarch64_be",
    "arm": "arm armeb",
    "microblaze": "microblaze microblazeel",
    "mips": "mips mipsel mips64 mips64el mipsn32 mipsn32el",
    "ppc": "ppc ppc64 ppc64le",
    "riscv": "riscv32 riscv64",
    "sh4": "sh4 sh4eb",
    "sparc": "sparc sparc32plus sparc64",
    "x86": "i386 x86_64",
    "xtensa": "xtensa xtensaeb",
}
"""Fedora's packages that serve several targets; every other one serves the target it is
named after."""


class PackageManager(Record):
    """How one package manager installs QEMU user mode without asking anything.

    `choose` gives the packages for a target on a release of the distribution.
    """

    program: str
    refresh: tuple[str, ...]
    install: tuple[str, ...]
    choose: Callable[[Distribution, Target], tuple[str, ...]]

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:
        """The packages that bring these targets, each once."""
        every = (name for target in targets for name in self.choose(distribution, target))
        return tuple(dict.fromkeys(every))

    def commands(
        self, distribution: Distribution, targets: Sequence[Target]
    ) -> tuple[tuple[str, ...], ...]:
        """The commands that install them, in order; the last one installs."""
        install = (self.program, *self.install, *self.packages(distribution, targets))
        return ((self.program, *self.refresh), install) if self.refresh else (install,)


def _debian(distribution: Distribution, _: Target) -> tuple[str, ...]:
    """Since Debian 13 `qemu-user` is the static one; testing and sid have no version at all."""
    numbered = distribution.id in ("debian", "raspbian") and distribution.version
    new = version_pair(distribution.version + ".0") >= _FIRST_DEBIAN_WITH_STATIC_QEMU_USER
    if (numbered and new) or (distribution.id == "debian" and not numbered):
        return ("qemu-user", "qemu-user-binfmt")
    return ("qemu-user-static",)


def _fedora(distribution: Distribution, target: Target) -> tuple[str, ...]:
    released = version_pair(distribution.version + ".0")
    if (0, 0) < released < _FIRST_FEDORA_WITH_SPLIT_PACKAGES:
        return ("qemu-user-static",)
    group = (name for name, members in _FEDORA_GROUPS.items() if target.name in members.split())
    return (f"qemu-user-static-{next(group, target.name)}",)


_APT = PackageManager(
    "apt-get",
    ("update", "-q"),
    # On a fresh machine the daily upgrade holds the lock for minutes.
    ("install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"),
    _debian,
)
_ZYPPER = PackageManager(
    "zypper", (), ("--non-interactive", "install", "--no-recommends"),
    lambda _, __: ("qemu-linux-user",),
)  # fmt: skip
_MANAGERS: dict[str, PackageManager] = {
    "debian": _APT,
    "ubuntu": _APT,
    "raspbian": _APT,
    "fedora": PackageManager(
        "dnf", (), ("install", "-y", "--setopt=install_weak_deps=False"), _fedora
    ),
    "opensuse": _ZYPPER,
    "suse": _ZYPPER,
    "arch": PackageManager(
        "pacman", (), ("-S", "--noconfirm", "--needed"), lambda _, __: ("qemu-user-static",)
    ),
    "alpine": PackageManager(
        "apk", (), ("add", "--no-progress"), lambda _, target: (f"qemu-{target.name}",)
    ),
}  # fmt: skip
_WITHOUT_STATIC_QEMU = ("rhel", "centos", "amzn")
"""Derived from Fedora, but without the static libraries that its static QEMU is built with."""


def package_manager(distribution: Distribution) -> PackageManager | None:
    """The package manager of a distribution or of one that it is derived from.

    None where the distribution has no package with a static QEMU.
    """
    names = (distribution.id, *distribution.like)
    if any(name in _WITHOUT_STATIC_QEMU for name in names):
        return None
    return next((_MANAGERS[name] for name in names if name in _MANAGERS), None)


def static_package(distribution: Distribution, target: Target) -> str:
    """The packages with the static emulator of a target; empty when none is known."""
    manager = package_manager(distribution)
    return " and ".join(manager.packages(distribution, [target])) if manager else ""


def install_hint(facts: HostFacts, targets: Sequence[Target]) -> str:
    """The command that would bring the emulators on this distribution."""
    manager = package_manager(facts.distribution)
    if manager is None:
        return "give static QEMU binaries: --qemu DIR, --qemu FILE or --qemu image:REF"
    command = manager.commands(facts.distribution, targets)[-1]
    return f"run: {shlex.join(command)}   (or use --install-qemu)"


def package_command(facts: HostFacts, targets: Sequence[Target]) -> str:
    """The commands that `install_packages` runs, to be shown; raises NoEmulator."""
    commands = _manager_of(facts, targets).commands(facts.distribution, targets)
    return " && ".join(map(shlex.join, commands))


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
    if facts.process.effective_uid != 0:
        raise PrivilegesMissing("installing packages needs root", hint="run it with sudo")
    host.say(f"installing QEMU: {package_command(facts, targets)}")
    for command in manager.commands(facts.distribution, targets):
        host.followed_run(command, _INSTALL_SECONDS, hint="run the command by hand to see more")
