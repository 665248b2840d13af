"""transactional-update of openSUSE MicroOS and SUSE Linux Micro: packages come with a reboot."""

from __future__ import annotations

from binfmt_setup.emulators import words
from binfmt_setup.emulators.package_managers.interface import as_user
from binfmt_setup.emulators.package_managers.zypper import SusePackages

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


class TransactionalUpdate(SusePackages):
    """Left to the user: each call makes a snapshot that does nothing before a reboot.

    Called every half an hour it would make one each time, without what came before.
    """

    name, program = "transactional_update", "transactional-update"

    def remedy(
        self, distribution: Distribution, targets: Sequence[Target], *, sudo: bool = False
    ) -> str:
        """The command, and the reboot."""
        packages = self.packages(distribution, targets)
        command = ("transactional-update", "--non-interactive", "pkg", "install", *packages)
        return words.install_and_reboot(as_user(command, sudo=sudo))


MANAGER = TransactionalUpdate()
