"""apk of Alpine, with one package for each target (Alpine's APKBUILD of qemu)."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.interface import PackageManager, each_once

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


class Apk(PackageManager):
    """apk; its listings have paths without the first slash, and a line for each package."""

    name, program = "apk", "apk"
    install = ("apk", "add", "--no-progress")
    reinstall = ("apk", "fix", "--no-progress", "--reinstall")
    listing = ("apk", "info", "--contents")
    owner = ("apk", "info", "--who-owns")

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:  # noqa: ARG002
        """The package of each target."""
        return each_once(f"qemu-{target.name}" for target in targets)


MANAGER = Apk()
