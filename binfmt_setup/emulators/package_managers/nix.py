"""NixOS, where a line of the configuration registers emulators (nixos/modules, boot/binfmt.nix)."""

from __future__ import annotations

from binfmt_setup.emulators import words
from binfmt_setup.emulators.package_managers.interface import PackageManager, as_user, each_once

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import Distribution
    from binfmt_setup.model.targets import Target


_FILE = "/etc/nixos/configuration.nix"
_SYSTEMS = {
    "arm": "armv7l-linux",
    "i386": "i686-linux",
    "mipsn32": "mips64-linuxabin32",
    "mipsn32el": "mips64el-linuxabin32",
    "ppc": "powerpc-linux",
    "ppc64": "powerpc64-linux",
    "ppc64le": "powerpc64le-linux",
}
"""Those of nixos/lib/binfmt-magics.nix that are not named as QEMU names them."""


class Nix(PackageManager):
    """Left to the user: the configuration is the only thing that lasts on NixOS."""

    name, program = "nix", "nixos-rebuild"
    registers = True

    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:  # noqa: ARG002
        """The systems, as Nix names them."""
        return each_once(_SYSTEMS.get(t.name, f"{t.name}-linux") for t in targets)

    def remedy(
        self, distribution: Distribution, targets: Sequence[Target], *, sudo: bool = False
    ) -> str:
        """The lines, and the command; without static emulators no container would find them."""
        systems = " ".join(f'"{name}"' for name in self.packages(distribution, targets))
        line = (
            f"boot.binfmt = {{ emulatedSystems = [ {systems} ]; preferStaticEmulators = true; }};"
        )
        return words.configure_and_run(line, _FILE, as_user(("nixos-rebuild", "switch"), sudo=sudo))


MANAGER = Nix()
