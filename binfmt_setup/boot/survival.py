"""Will it still be there after a reboot? Verdicts on what boot persistence there is. Pure."""

from __future__ import annotations

from binfmt_setup.boot import units
from binfmt_setup.boot.inits.interface import init_of
from binfmt_setup.boot.lost import (
    InMemory,
    InterpreterGone,
    InterpreterUnfit,
    LineNotTaken,
    NoConfig,
    ShadowedAtBoot,
    SwitchedOff,
    UnitNotEnabled,
    Unseen,
    UpdateBinfmtsNotRun,
    UpperLayer,
    Volatile,
)
from binfmt_setup.boot.next_registry import next_registry, no_program, volatile_mount
from binfmt_setup.model.binfmt_d import VOLATILE_DIRECTORY
from binfmt_setup.model.reading import Absent
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration


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


def nothing_lasts(facts: HostFacts) -> Lost | None:
    """Why nothing at all can survive here; None where something registers at boot."""
    if not facts.live or init_of(facts.boot).folders:
        return None
    return init_of(facts.boot).obstacle(facts)


def why_lost(facts: HostFacts, entry_name: str) -> Lost | None:
    """Why an entry will not do its work after a reboot; None when it will."""
    if not facts.process.sees_files:
        return Unseen()
    boot, after, now = facts.boot, next_registry(facts), facts.registry.entry(entry_name)
    line = after.line(entry_name)
    if line is None:
        return _why_absent(facts, entry_name)
    if boot.switched_off:
        return SwitchedOff(*boot.switched_off)
    rule = line.registration
    if now and not line.line and not rule.says_the_same(now.registration):
        return _why_absent(facts, entry_name)  # update-binfmts keeps another of this name
    if mount := volatile_mount(facts, rule.interpreter):
        return InMemory(rule.interpreter, mount)
    return _shadowed(facts, rule)


def _why_absent(facts: HostFacts, entry_name: str) -> Lost | None:
    """Why nothing registers an entry at boot; None where something does all the same."""
    now, config = facts.registry.entry(entry_name), facts.boot.config_of(entry_name)
    if config is None:
        kept = now is not None and facts.boot.update_binfmts_keeps(now.registration)
        return _why_not_run(facts) if kept else NoConfig()
    if lost := _volatile(facts, config.path):
        return lost
    rule = [r for r in config.registrations if r.name == entry_name][-1]
    if mount := volatile_mount(facts, rule.interpreter):
        return InMemory(rule.interpreter, mount)
    if any(line.path == config.path for line in next_registry(facts).refused):
        unfit = no_program(facts, rule.interpreter)
        return (InterpreterUnfit if unfit else InterpreterGone)(rule.interpreter)
    if config.by_unit:
        return UnitNotEnabled(config.path)
    return init_of(facts.boot).obstacle(facts) or _why_not_taken(facts, config, rule)


def _volatile(facts: HostFacts, path: str) -> Lost | None:
    """Whether a file of binfmt.d itself is gone after a reboot."""
    if path.startswith(VOLATILE_DIRECTORY):
        return Volatile(path)
    mount = facts.boot.forgotten.get(path)
    return UpperLayer(path, mount) if mount else None


def _why_not_taken(facts: HostFacts, config: ConfigFile, rule: Registration) -> Lost:
    """Why an init that reads a file does not register what it says."""
    line = config.lines[config.registrations.index(rule)]
    taken = init_of(facts.boot).takes(config, line)
    return NoConfig() if taken else LineNotTaken(config.path, line)


def _why_not_run(facts: HostFacts) -> Lost | None:
    """Why update-binfmts does not register what it keeps; None where it does, by a detector."""
    if facts.boot.update_binfmts_runs:
        return None
    return nothing_lasts(facts) or UpdateBinfmtsNotRun()


def _shadowed(facts: HostFacts, rule: Registration) -> Lost | None:
    """Another entry that will be matched first, where this one is first now."""
    now, then = facts.registry.handler(rule.magic), next_registry(facts).handler(rule.magic)
    first = next_registry(facts).line(then.name) if then and not rule.offset else None
    if first is None or first.registration.name == rule.name:
        return None
    if facts.live and not (now and now.name == rule.name):
        return None  # that it is not the first one is so already
    return ShadowedAtBoot(first.registration.name, first.path, first.line)


def boot_troubles(facts: HostFacts) -> Iterator[NotMounted | NotRegistered]:
    """What keeps registrations that should be there from the kernel.

    The same facts that the script meets at boot. Only for files of this tool.
    """
    own = [c for c in facts.boot.configs if c.owned and not c.path.startswith(VOLATILE_DIRECTORY)]
    rules = [rule for config in own for rule in config.registrations]
    lost = [rule for rule in rules if facts.live and facts.registry.entry(rule.name) is None]
    if not lost or nothing_lasts(facts):
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
    init = init_of(facts.boot)
    if config is None or init.writes != "units":
        return None
    rule = next(r for r in config.registrations if r.name == entry_name)
    mount = units.waits_for(facts, rule.interpreter)
    if not mount:
        return None
    return Late(mount, lost=not (config.owned and init.keeps(facts, config.registrations)))
