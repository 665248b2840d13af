"""zypper of openSUSE and SUSE (openSUSE's qemu-linux-user.spec)."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.interface import PackageManager

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


_INSTALL = ("zypper", "--non-interactive", "install", "--no-recommends")


class SusePackages(PackageManager):
    """SUSE's one package for all targets."""

    owner = ("rpm", "--query", "--file")

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:  # noqa: ARG002
        """The same on every release."""
        return ("qemu-linux-user",)


class Zypper(SusePackages):
    """zypper, and rpm for what is there."""

    name, program = "zypper", "zypper"
    install = _INSTALL
    reinstall = (*_INSTALL, "--force")
    listing = ("rpm", "--query", "--list")


MANAGER = Zypper()
