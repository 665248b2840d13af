"""rpm-ostree of Fedora Silverblue, CoreOS, IoT: /usr is an image, packages are layered on it."""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.dnf import FedoraPackages


class RpmOstree(FedoraPackages):
    """Layers the package for every boot to come, and shows it in this one too (rpm-ostree(1)).

    /usr cannot be written to, so that no file of a package is ever lost.
    """

    name, program = "rpm_ostree", "rpm-ostree"
    install = (
        *("rpm-ostree", "install", "--assumeyes", "--idempotent", "--allow-inactive"),
        "--apply-live",
    )


MANAGER = RpmOstree()
