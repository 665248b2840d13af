"""Installing the package that brings QEMU user mode, with the package manager of the host."""

from __future__ import annotations

from contextlib import suppress

from binfmt_setup.emulators import words
from binfmt_setup.emulators.choice import candidates
from binfmt_setup.emulators.package_managers.interface import install_hint, package_manager
from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.shell import typed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.emulators.package_managers.interface import PackageManager
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.host import Host


_INSTALL_SECONDS = 1800.0  # a slow mirror is not an error
_QUESTION_SECONDS = 120.0  # a database of packages on a slow disk


def package_command(facts: HostFacts, targets: Sequence[Target], *, again: bool = False) -> str:
    """The commands that `install_packages` runs, to be shown; raises NoEmulator."""
    commands = _manager_of(facts, targets).commands(facts.distribution, targets, again=again)
    return " && ".join(map(typed, commands))


def _manager_of(facts: HostFacts, targets: Sequence[Target]) -> PackageManager:
    manager = package_manager(facts.distribution)
    if manager is None or not manager.runs or not facts.live:
        raise words.not_by_this_tool(facts.distribution.name, install_hint(facts, targets))
    return manager


def lost_emulators(host: Host, facts: HostFacts, targets: Sequence[Target]) -> tuple[str, ...]:
    """Emulators that installed packages list and that are not on the host.

    For these `install` does nothing: to the manager everything is there.
    """
    manager = package_manager(facts.distribution)
    if manager is None or not manager.listing:
        return ()
    command = (*manager.listing, *manager.packages(facts.distribution, targets))
    with suppress(OtherProgramFailed):
        done = host.run(command, _QUESTION_SECONDS)
        if done.status == 0:
            wanted = {path for target in targets for path in candidates(target)}
            listed = manager.files(done.output) & wanted
            return tuple(sorted(path for path in listed if not host.exists(path)))
    return ()


def install_packages(
    host: Host, facts: HostFacts, targets: Sequence[Target], *, again: bool = False
) -> None:
    """Install the packages that bring these targets' emulators; `again` where files are lost.

    Raises OtherProgramFailed when the package manager fails, NoEmulator when there is none
    that this tool can use, PrivilegesMissing without root.
    """
    manager = _manager_of(facts, targets)
    if facts.process.effective_uid != 0:
        raise words.root_needed()
    install_with(manager, host, facts, targets, again=again)


def install_with(
    manager: PackageManager, host: Host, facts: HostFacts, targets: Sequence[Target], *,
    again: bool = False,
) -> None:  # fmt: skip
    """The same with this manager; raises NoEmulator when there is nothing that can be run."""
    commands = manager.commands(facts.distribution, targets, again=again)
    if not commands:
        hint = manager.remedy(facts.distribution, targets)
        raise words.not_by_this_tool(facts.distribution.name, hint)
    host.say(words.installing(" && ".join(map(typed, commands))))
    for command in commands:
        host.followed_run(command, _INSTALL_SECONDS, hint=words.FAILED)
