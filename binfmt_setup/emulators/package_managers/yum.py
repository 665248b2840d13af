"""yum, where it is no other name of dnf."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.dnf import FedoraPackages


class Yum(FedoraPackages):
    """yum 3, which knows no weak dependencies."""

    name, program = "yum", "yum"
    install = ("yum", "install", "-y")
    reinstall = ("yum", "reinstall", "-y")
    listing = ("rpm", "--query", "--list")


MANAGER = Yum()
