"""xbps of Void (its template of qemu-user-static, and xbps-install(1))."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.interface import PackageManager

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


class Xbps(PackageManager):
    """xbps-install, which refreshes its lists itself."""

    name, program = "xbps", "xbps-install"
    install = ("xbps-install", "--sync", "--yes")
    reinstall = ("xbps-install", "--sync", "--yes", "--force")
    listing = ("xbps-query", "--files")
    owner = ("xbps-query", "--ownedby")

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:  # noqa: ARG002
        """One package for all targets."""
        return ("qemu-user-static",)


MANAGER = Xbps()
