"""Will it still be there after a reboot? Verdicts on what boot persistence there is. Pure.

The words for what goes wrong while booting are those of the script that the units run, so
that `systemctl status` and `check` say the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.boot import units
from binfmt_setup.model.binfmt_d import VOLATILE_DIRECTORY
from binfmt_setup.model.boot_facts import REGISTRY_UNIT, UNIT_STEM
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration

NOT_MOUNTED = "binfmt_misc is not mounted"
UNMASK_REGISTRY = f"run: systemctl unmask --now {REGISTRY_UNIT}.mount"
MISSING = "{} is missing"
BRING_BACK = "bring it back (install QEMU, or mount its file system)"
SWITCHED_OFF = "binfmt_misc is switched off for all entries"
SWITCH_ON = f"run: echo 1 > {BINFMT_MISC}/status"


def no_init(facts: HostFacts) -> str:
    """Why nothing at all can survive here; empty where some init reads binfmt.d."""
    if not facts.live or facts.boot.init in ("systemd", "openrc"):
        return ""
    where = f"in this {facts.process.container} container " if facts.process.container else ""
    return f"{where}no init that reads binfmt.d runs here"


def persistence_problem(facts: HostFacts, entry_name: str) -> str:
    """Why an entry will not be there after a reboot; empty when it will."""
    config = facts.boot.config_of(entry_name)
    if config is None and entry_name in facts.boot.update_binfmts:
        return ""  # binfmt-support.service registers it at boot, under any init of Debian's
    if config is None:
        return "no binfmt.d file registers it"
    if config.path.startswith(VOLATILE_DIRECTORY):
        return f"{config.path} is gone after a reboot"
    return _config_problem(facts, config)


def _config_problem(facts: HostFacts, config: ConfigFile) -> str:
    """Why a file that registers an entry will not be read; empty when it will."""
    if config.by_unit and not _registered_by_unit(facts, config):
        return f"{config.path} is read by {UNIT_STEM}.service alone, which is not enabled"
    if facts.boot.init == "systemd":
        return _systemd_problem(facts, config)
    if facts.boot.init == "openrc":
        return "" if facts.boot.openrc_enabled else "OpenRC's binfmt service is in no runlevel"
    return "no init that reads binfmt.d runs here"


def remedy(problem: str, platform: str) -> str:
    """What to do about one of `persistence_problem`'s answers; empty: nothing can be done."""
    if "no init" in problem:
        return ""
    if "OpenRC" in problem:
        return "run: rc-update add binfmt boot"
    if problem.startswith(NOT_MOUNTED):
        return UNMASK_REGISTRY
    return f"run: binfmt-setup install {platform}"


def _systemd_problem(facts: HostFacts, config: ConfigFile) -> str:
    state = facts.boot
    if f"{REGISTRY_UNIT}.mount" in state.masked:
        return f"{NOT_MOUNTED} at boot: {REGISTRY_UNIT}.mount is masked"
    if config.owned and _registered_by_unit(facts, config):
        return ""
    if not state.systemd_binfmt:
        return "this systemd comes without systemd-binfmt"
    if "systemd-binfmt.service" in state.masked:
        return "systemd-binfmt.service is masked"
    return ""


def _registered_by_unit(facts: HostFacts, config: ConfigFile) -> bool:
    """Whether a unit of ours names the file and is enabled."""
    groups = units.unit_groups(facts, config.registrations)
    started = {link.rpartition("/")[2] for link in facts.boot.unit_links}
    return bool(groups) and all(
        group.unit_paths[0] in facts.boot.files and f"{group.name}.service" in started
        for group in groups
    )


def boot_troubles(facts: HostFacts) -> Iterator[tuple[str, str, str]]:
    """What keeps registrations that should be there from the kernel: (code, message, hint).

    The same facts that the script meets at boot, in its words. Only for files of this tool.
    """
    own = [c for c in facts.boot.configs if c.owned and not c.path.startswith(VOLATILE_DIRECTORY)]
    rules = [rule for config in own for rule in config.registrations]
    lost = [rule for rule in rules if facts.live and facts.registry.entry(rule.name) is None]
    if not lost or facts.boot.init == "none":
        return
    if facts.registry.mount.state == "absent" and facts.kernel.support != "absent":
        yield "not-persistent", NOT_MOUNTED, UNMASK_REGISTRY
        return
    for rule in lost:
        yield from _missing(facts, rule)


def _missing(facts: HostFacts, rule: Registration) -> Iterator[tuple[str, str, str]]:
    if not isinstance(facts.emulators.at(rule.interpreter), Absent):
        return
    mount = units.waits_for(facts, rule.interpreter)
    code = "boot-order" if mount else "not-persistent"
    yield code, MISSING.format(rule.interpreter), BRING_BACK


def order_problem(facts: HostFacts, entry_name: str) -> str:
    """Why an entry may come late in a boot; empty when it is there before anybody needs it."""
    config = facts.boot.config_of(entry_name)
    if config is None or facts.boot.init != "systemd":
        return ""
    rule = next(r for r in config.registrations if r.name == entry_name)
    mount = units.waits_for(facts, rule.interpreter)
    if not mount:
        return ""
    if config.owned and _registered_by_unit(facts, config):
        return f"is registered once {mount} is mounted, which the boot does not wait for"
    return f"is lost when {mount} is mounted after systemd-binfmt has run"
