"""dnf of Fedora (the %files sections of its qemu.spec, split per architecture since 37)."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.interface import PackageManager, each_once
from binfmt_setup.model.facts import version_pair

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


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
_NO_WEAK_DEPENDENCIES = "--setopt=install_weak_deps=False"


class FedoraPackages(PackageManager):
    """Fedora's packages, whichever program installs them."""

    owner = ("rpm", "--query", "--file")

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:
        """One package for all before Fedora 37, then one for each group of targets."""
        if (0, 0) < version_pair(distribution.version + ".0") < _FIRST_FEDORA_WITH_SPLIT_PACKAGES:
            return ("qemu-user-static",)
        return each_once(f"qemu-user-static-{_group(target.name)}" for target in targets)


def _group(target: str) -> str:
    groups = (name for name, members in _FEDORA_GROUPS.items() if target in members.split())
    return next(groups, target)


class Dnf(FedoraPackages):
    """dnf, of either generation."""

    name, program = "dnf", "dnf"
    install = ("dnf", "install", "-y", _NO_WEAK_DEPENDENCIES)
    reinstall = ("dnf", "reinstall", "-y")
    listing = ("rpm", "--query", "--list")


MANAGER = Dnf()
