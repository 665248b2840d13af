"""apt of Debian, Ubuntu and what is derived from them (Debian's control files of qemu)."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.interface import PackageManager
from binfmt_setup.model.facts import version_pair

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.emulators.package_managers.interface import Command
    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


_FIRST_DEBIAN_WITH_STATIC_QEMU_USER = (13, 0)
_INSTALL: Command = (
    # On a fresh machine the daily upgrade holds the lock for minutes.
    *("apt-get", "install", "-y", "-q", "--no-install-recommends"),
    *("-o", "DPkg::Lock::Timeout=300"),
)


class Apt(PackageManager):
    """apt-get, and dpkg-query for what is there."""

    name, program = "apt", "apt-get"
    refresh = ("apt-get", "update", "-q")
    install = _INSTALL
    reinstall = (*_INSTALL, "--reinstall")
    listing = ("dpkg-query", "--listfiles")
    owner = ("dpkg-query", "--search")

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:  # noqa: ARG002
        """Since Debian 13 `qemu-user` is the static one; testing and sid have no version at all."""
        numbered = distribution.id in ("debian", "raspbian") and distribution.version
        new = version_pair(distribution.version + ".0") >= _FIRST_DEBIAN_WITH_STATIC_QEMU_USER
        if (numbered and new) or (distribution.id == "debian" and not numbered):
            return ("qemu-user", "qemu-user-binfmt")
        return ("qemu-user-static",)


MANAGER = Apt()
