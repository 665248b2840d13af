"""Portage of Gentoo, which builds QEMU as /etc/portage says (app-emulation/qemu)."""

from __future__ import annotations

from binfmt_setup.emulators import words
from binfmt_setup.emulators.package_managers.interface import PackageManager, as_user, each_once

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


_FILE = "/etc/portage/package.use/qemu"


class Emerge(PackageManager):
    """Left to the user: what QEMU is built with is theirs to write, and to build takes long.

    Without static-user it is dynamically linked; QEMU_USER_TARGETS names what is emulated.
    """

    name, program = "emerge", "emerge"

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:  # noqa: ARG002
        """One package for all targets."""
        return ("app-emulation/qemu",)

    def remedy(
        self,
        distribution: Distribution,  # noqa: ARG002
        targets: Sequence[Target],
        *,
        sudo: bool = False,
    ) -> str:
        """The line, and the command."""
        names = " ".join(each_once(target.name for target in targets))
        line = f"app-emulation/qemu static-user QEMU_USER_TARGETS: {names}"
        return words.configure_and_run(
            line, _FILE, as_user(("emerge", "--ask", "app-emulation/qemu"), sudo=sudo)
        )


MANAGER = Emerge()
