"""microdnf, which Fedora's minimal images have in dnf's place (its manual page)."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.dnf import FedoraPackages


class Microdnf(FedoraPackages):
    """microdnf takes the options of dnf that are used here, but no words for booleans."""

    name, program = "microdnf", "microdnf"
    install = ("microdnf", "install", "-y", "--setopt=install_weak_deps=0")
    reinstall = ("microdnf", "reinstall", "-y")
    listing = ("rpm", "--query", "--list")


MANAGER = Microdnf()
