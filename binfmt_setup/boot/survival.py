"""Will it still be there after a reboot? Verdicts on what boot persistence there is. Pure."""

from __future__ import annotations

from binfmt_setup.boot import units
from binfmt_setup.model.binfmt_d import VOLATILE_DIRECTORY
from binfmt_setup.model.boot_facts import REGISTRY_UNIT
from binfmt_setup.model.reading import Absent
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts


UNMASK_REGISTRY = ("systemctl", "unmask", "--now", f"{REGISTRY_UNIT}.mount")


class Lost(Record):
    """Why an entry will not be there after a reboot."""


class NoConfig(Lost):
    """No binfmt.d file names it."""


class Volatile(Lost):
    """Its file lies in /run."""

    path: str


class UnitNotEnabled(Lost):
    """Only a unit of ours reads its file, and that is not enabled."""

    path: str


class NoInit(Lost):
    """Nothing that reads binfmt.d runs here; `container` is what this is instead of a host."""

    container: str = ""


class RegistryMasked(Lost):
    """The unit that mounts the registry is masked."""


class NoSystemdBinfmt(Lost):
    """This systemd was built without it."""


class SystemdBinfmtMasked(Lost):
    """The service that reads binfmt.d is masked."""


class OpenrcDisabled(Lost):
    """OpenRC's service is in no runlevel."""


class NotRegistered(Record):
    """An entry of ours that should be in the kernel now, and is not; `mount` comes late."""

    interpreter: str
    mount: str = ""


class NotMounted(Record):
    """The registry is not mounted, though the boot should have mounted it."""


class Late(Record):
    """An entry that waits for a mount; `lost` when what registers it does not wait."""

    mount: str
    lost: bool


def no_init(facts: HostFacts) -> NoInit | None:
    """Why nothing at all can survive here; None where some init reads binfmt.d."""
    if not facts.live or facts.boot.init in ("systemd", "openrc"):
        return None
    return NoInit(facts.process.container)


def persistence_problem(facts: HostFacts, entry_name: str) -> Lost | None:
    """Why an entry will not be there after a reboot; None when it will."""
    config = facts.boot.config_of(entry_name)
    entry = facts.registry.entry(entry_name)
    known = entry_name in facts.boot.update_binfmts
    if config is None and (facts.boot.update_binfmts_keeps(entry.registration) if entry else known):
        return None  # binfmt-support.service registers it at boot, under any init of Debian's
    if config is None:
        return NoConfig()
    if config.path.startswith(VOLATILE_DIRECTORY):
        return Volatile(config.path)
    return _config_problem(facts, config)


def _config_problem(facts: HostFacts, config: ConfigFile) -> Lost | None:
    """Why a file that registers an entry will not be read; None when it will."""
    if config.by_unit and not _registered_by_unit(facts, config):
        return UnitNotEnabled(config.path)
    if facts.boot.init == "systemd":
        return _systemd_problem(facts, config)
    if facts.boot.init == "openrc":
        return None if facts.boot.openrc_enabled else OpenrcDisabled()
    return NoInit()


def remedy_command(problem: Lost) -> tuple[str, ...]:
    """What cures the host itself; empty where only an install helps, or nothing."""
    if isinstance(problem, OpenrcDisabled):
        return ("rc-update", "add", "binfmt", "boot")
    return UNMASK_REGISTRY if isinstance(problem, RegistryMasked) else ()


def _systemd_problem(facts: HostFacts, config: ConfigFile) -> Lost | None:
    state = facts.boot
    if f"{REGISTRY_UNIT}.mount" in state.masked:
        return RegistryMasked()
    if config.owned and _registered_by_unit(facts, config):
        return None
    if not state.systemd_binfmt:
        return NoSystemdBinfmt()
    return SystemdBinfmtMasked() if "systemd-binfmt.service" in state.masked else None


def _registered_by_unit(facts: HostFacts, config: ConfigFile) -> bool:
    """Whether a unit of ours names the file and is enabled."""
    groups = units.unit_groups(facts, config.registrations)
    started = {link.rpartition("/")[2] for link in facts.boot.unit_links}
    return bool(groups) and all(
        group.unit_paths[0] in facts.boot.files and f"{group.name}.service" in started
        for group in groups
    )


def boot_troubles(facts: HostFacts) -> Iterator[NotMounted | NotRegistered]:
    """What keeps registrations that should be there from the kernel.

    The same facts that the script meets at boot. Only for files of this tool.
    """
    own = [c for c in facts.boot.configs if c.owned and not c.path.startswith(VOLATILE_DIRECTORY)]
    rules = [rule for config in own for rule in config.registrations]
    lost = [rule for rule in rules if facts.live and facts.registry.entry(rule.name) is None]
    if not lost or facts.boot.init == "none":
        return
    if facts.registry.mount.state == "absent" and facts.kernel.support != "absent":
        yield NotMounted()
        return
    for rule in lost:
        if isinstance(facts.emulators.at(rule.interpreter), Absent):
            yield NotRegistered(rule.interpreter, units.waits_for(facts, rule.interpreter))


def order_problem(facts: HostFacts, entry_name: str) -> Late | None:
    """Why an entry may come late in a boot; None when it is there before anybody needs it."""
    config = facts.boot.config_of(entry_name)
    if config is None or facts.boot.init != "systemd":
        return None
    rule = next(r for r in config.registrations if r.name == entry_name)
    mount = units.waits_for(facts, rule.interpreter)
    if not mount:
        return None
    return Late(mount, lost=not (config.owned and _registered_by_unit(facts, config)))
