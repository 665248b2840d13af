"""pacman of Arch and what is derived from it (Arch's PKGBUILD of qemu-user-static)."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.interface import PackageManager

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


class Pacman(PackageManager):
    """pacman; it never refreshes its lists alone, as partial upgrades break Arch."""

    name, program = "pacman", "pacman"
    install = ("pacman", "-S", "--noconfirm", "--needed")
    reinstall = ("pacman", "-S", "--noconfirm")
    listing = ("pacman", "--query", "--list", "--quiet")
    owner = ("pacman", "--query", "--owns", "--quiet")

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:  # noqa: ARG002
        """One package for all targets."""
        return ("qemu-user-static",)


MANAGER = Pacman()
