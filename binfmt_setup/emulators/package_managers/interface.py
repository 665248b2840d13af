"""What every package manager offers, which ones there are, and which one a host has.

To add one: write `package_managers/NAME.py` with a class and `MANAGER`, an instance of it; give
it its line in MANAGERS. Its row goes to docs/emulators.md, what it must say on which release to
tests/unit/data/packages.json (commands) or package_advice.json (words). The test
tests/unit/test_package_manager_contract.py runs over all and names what is missing.

Names of packages and commands are read in the distributions' own recipes and manuals.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from binfmt_setup.model.modules import module_named
from binfmt_setup.model.records import Record
from binfmt_setup.model.shell import typed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import ClassVar

    from binfmt_setup.model.facts import Distribution, HostFacts
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.host import Host


class Row(Record):
    """A manager, the distributions (os-release's ID or ID_LIKE) it serves, and how it is known.

    Where several serve one distribution, the first counts whose `sign` is a file of the host
    and `unless` is none; without a sign it needs none.
    """

    name: str
    distributions: tuple[str, ...]
    sign: str = ""
    unless: str = ""


MANAGERS = (
    Row("rpm_ostree", ("fedora",), "/run/ostree-booted"),
    Row("microdnf", ("fedora",), "/usr/bin/microdnf", unless="/usr/bin/dnf"),
    Row("yum", ("fedora",), "/usr/bin/yum", unless="/usr/bin/dnf"),
    Row("dnf", ("fedora",)),
    Row("apt", ("debian", "ubuntu", "raspbian")),
    Row("transactional_update", ("microos", "opensuse-microos", "sle-micro", "sl-micro")),
    Row("zypper", ("opensuse", "suse")),
    Row("pacman", ("arch",)),
    Row("apk", ("alpine",)),
    Row("xbps", ("void",)),
    Row("emerge", ("gentoo",)),
    Row("nix", ("nixos",)),
)
"""All package managers; each is the module of its name here."""

_WITHOUT_STATIC_QEMU = ("rhel", "centos", "amzn")
"""Derived from Fedora, but without the static libraries that its static QEMU is built with."""

Command = tuple[str, ...]


class PackageManager(ABC):
    """How one package manager brings QEMU user mode, without asking anything.

    `install` and `reinstall` are whole commands but for the packages; `refresh` is one that
    goes before; `listing` prints the files of installed packages, and fails for others; `owner`
    prints the package of a file, and leaves with 1 or says nothing where it has none.
    `registers` tells that the system then registers the emulators itself.
    """

    name: ClassVar[str]
    program: ClassVar[str]
    refresh: ClassVar[Command] = ()
    install: ClassVar[Command] = ()
    reinstall: ClassVar[Command] = ()
    listing: ClassVar[Command] = ()
    owner: ClassVar[Command] = ()
    registers: ClassVar[bool] = False

    @abstractmethod
    def packages(self, distribution: Distribution, targets: Sequence[Target]) -> tuple[str, ...]:
        """The packages that bring these targets on a release, each once."""

    def commands(
        self, distribution: Distribution, targets: Sequence[Target], *, again: bool = False
    ) -> tuple[Command, ...]:
        """What installs them, in order, or with `again` puts lost files back.

        Empty where nothing is to be run by this tool; then the remedy tells what to do.
        """
        start = self.reinstall if again and self.reinstall else self.install
        if not start:
            return ()
        install = (*start, *self.packages(distribution, targets))
        return (self.refresh, install) if self.refresh else (install,)

    def remedy(
        self, distribution: Distribution, targets: Sequence[Target], *, sudo: bool = False
    ) -> str:
        """What brings the emulators, as a user would do it, root or not."""
        command = self.commands(distribution, targets)[-1]
        return f"run: {typed(as_user(command, sudo=sudo))}   (or use --install-qemu)"

    @property
    def runs(self) -> bool:
        """Whether --install-qemu can use it."""
        return bool(self.install)

    def files(self, listing: str) -> frozenset[str]:
        """The paths in what `listing` printed; other lines are no paths of emulators."""
        words = (line.split() for line in listing.splitlines())
        return frozenset("/" + word[0].lstrip("/") for word in words if word)


def as_user(command: Command, *, sudo: bool) -> Command:
    """A command of root's as this user has to type it."""
    return ("sudo", *command) if sudo else command


def each_once(names: Iterable[str]) -> tuple[str, ...]:
    """The names in their order, without repetitions."""
    return tuple(dict.fromkeys(names))


def managers_seen(host: Host, distribution: Distribution) -> frozenset[str]:
    """Those managers of a distribution whose sign a host shows."""
    return frozenset(
        row.name
        for row in _rows(distribution)
        if row.sign and host.exists(row.sign) and not (row.unless and host.exists(row.unless))
    )


def package_manager(distribution: Distribution) -> PackageManager | None:
    """The package manager of a distribution or of one that it is derived from.

    None where the distribution has no package with a static QEMU.
    """
    if any(name in _WITHOUT_STATIC_QEMU for name in (distribution.id, *distribution.like)):
        return None
    return manager_of_files(distribution)


def manager_of_files(distribution: Distribution) -> PackageManager | None:
    """The same, also of those distributions: it knows what is installed."""
    for row in _rows(distribution):
        if not row.sign or row.name in distribution.managers:
            return manager_named(row.name)
    return None


def static_package(distribution: Distribution, target: Target) -> str:
    """The packages with the static emulator of a target; empty when none is known."""
    manager = package_manager(distribution)
    return " and ".join(manager.packages(distribution, [target])) if manager else ""


def install_hint(facts: HostFacts, targets: Sequence[Target]) -> str:
    """What would bring the emulators on this distribution."""
    from binfmt_setup.emulators import words

    manager = package_manager(facts.distribution)
    if manager is None:
        return words.GIVE_BINARIES
    if not facts.live and manager.runs:
        command = manager.commands(facts.distribution, targets)[-1]
        return words.in_tree(facts.root, command)
    remedy = manager.remedy(facts.distribution, targets, sudo=not facts.process.is_root)
    return remedy if manager.runs else f"{remedy}; or {words.GIVE_BINARIES}"


def _rows(distribution: Distribution) -> tuple[Row, ...]:
    names = (distribution.id, *distribution.like)
    return tuple(row for row in MANAGERS if not set(row.distributions).isdisjoint(names))


def manager_named(name: str) -> PackageManager:
    """The manager of a row; raises LookupError for any other name."""
    if name not in (row.name for row in MANAGERS):
        raise LookupError(name)
    manager: PackageManager = module_named(f"{__package__}.{name}").MANAGER
    return manager
