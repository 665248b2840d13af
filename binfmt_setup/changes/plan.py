"""What to change: host facts and wishes become steps. Pure; no steps means unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.boot import units
from binfmt_setup.changes import boot_steps
from binfmt_setup.changes.steps import (
    BootPlan,
    ChangeEntry,
    ChangeFile,
    Discard,
    Plan,
    TargetChange,
    Wish,
)
from binfmt_setup.emulators import choice
from binfmt_setup.emulators.store import referenced
from binfmt_setup.model.binfmt_d import MADE_DIRECTORY, OWN_DIRECTORY, ConfigFile, parse_config
from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit, NoEmulator
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Registration, canonical_flags
from binfmt_setup.model.registry_facts import SWAP_PREFIX
from binfmt_setup.model.targets import TARGETS, Platform, Target, target_named, target_of_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.interpreter import Interpreter
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.system.probes import ProbeResult

FIRST_QEMU_WITH_AT_FLAGS = (6, 0)
FIRST_KERNEL_WITH_AT_FLAGS = (5, 12)
"""From here on the kernel tells an interpreter through AT_FLAGS that P is set."""


def wished_registration(
    facts: HostFacts, target: Target, interpreter: Interpreter, wish: Wish
) -> Registration:
    """The registration that this tool would write for a target.

    F always (chroots and containers); O always (programs one may execute but not read);
    P where kernel and QEMU agree on how argv[0] is passed; C only when asked for.
    """
    flags = (
        "OF" + ("C" if wish.credentials else "") + ("P" if _keeps_argv0(facts, interpreter) else "")
    )
    return Registration(
        target.entry_name, interpreter.path, canonical_flags(flags), target.magic, target.mask
    )


def _keeps_argv0(facts: HostFacts, interpreter: Interpreter) -> bool:
    if interpreter.needs_binfmt_flags:
        return True
    kernel_tells = facts.kernel.version >= FIRST_KERNEL_WITH_AT_FLAGS
    return kernel_tells and version_pair(interpreter.version) >= FIRST_QEMU_WITH_AT_FLAGS


def acceptable(facts: HostFacts, entry: Registration, target: Target, wish: Wish) -> bool:
    """Whether a registration, whoever made it, does for a target what ours would do."""
    interpreter = facts.emulators.file_at(entry.interpreter)
    if interpreter is None:
        return False
    flags_fit = "F" in entry.flags and ("C" in entry.flags or not wish.credentials)
    if interpreter.needs_binfmt_flags:
        flags_fit = flags_fit and {"P", "O"} <= set(entry.flags)
    fits = entry.matches(target.magic) and not _catches_native(facts, entry)
    return fits and flags_fit and choice.may_register(facts, entry.interpreter, interpreter)


def _catches_native(facts: HostFacts, entry: Registration) -> bool:
    return facts.kernel.native is not None and entry.matches(facts.kernel.native.magic)


def is_owned(facts: HostFacts, entry: Entry) -> bool:
    """Whether this tool made an entry: its own binfmt.d file says the same.

    In the private registry of a bare user namespace, which starts empty, knows no boot and
    owns no files, an entry that looks like ours is ours.
    """
    target = target_of_entry(entry.name)
    if target is None or entry.name != target.entry_name:
        return False
    config = facts.boot.own_config(target)
    if config is not None:
        return entry.registration in config.registrations
    ours = Registration(entry.name, "", "", target.magic, target.mask)
    looks_like_ours = entry.registration.pattern == ours.pattern and "F" in entry.flags
    return looks_like_ours and facts.registry.own and not facts.process.own_files


def plan_install(
    facts: HostFacts,
    wished: Sequence[Platform],
    probes: Mapping[str, ProbeResult],
    wish: Wish,
) -> Plan:
    """What must change so that the wished platforms run, now and after a reboot."""
    changes, problems = [], []
    for target, platforms in _by_target(wished).items():
        results = [probes[p.probe] for p in platforms if p.probe in probes]
        if results and all(result.ok and result.native for result in results):
            continue
        if not facts.live and target == facts.kernel.native:
            continue
        try:
            change = _target_change(facts, target, platforms, results, wish)
        except BinfmtSetupError as error:
            problems.append((target, error))
        else:
            if change.entry or change.files:
                changes.append(change)
    boot = boot_plan(facts, changes, wish)
    return Plan(tuple(changes), boot, _leftovers(facts), problems=tuple(problems), wish=wish)


def boot_plan(facts: HostFacts, reached: Sequence[TargetChange], wish: Wish) -> BootPlan:
    """What units need once these changes are made: no other file will be there."""
    own = _own_after(facts, reached)
    steps = boot_steps.boot_steps(facts, own, wish)
    return BootPlan(steps, boot_steps.start_steps(facts, own, steps, wish))


def _by_target(platforms: Iterable[Platform]) -> dict[Target, tuple[Platform, ...]]:
    grouped: dict[Target, tuple[Platform, ...]] = {}
    for platform in platforms:
        grouped[platform.target] = (*grouped.get(platform.target, ()), platform)
    return grouped


def _target_change(
    facts: HostFacts,
    target: Target,
    platforms: tuple[Platform, ...],
    results: Sequence[ProbeResult],
    wish: Wish,
) -> TargetChange:
    """The change for one target; empty when all is well. Raises NoEmulator, EnvironmentUnfit."""
    if facts.kernel.native is not None and target in (
        facts.kernel.native,
        *_family(facts.kernel.native),
    ):
        _refuse_native(facts.kernel.native, target, results)
    entry = facts.registry.entry(target.entry_name)
    handler = _standing_handler(facts, target)
    good = handler is not None and _good_handler(facts, handler, target, results, wish)
    if good and handler is not None:
        after, change = handler.registration, None
    else:
        after = _registration_to_write(facts, target, wish)
        change = ChangeEntry(target.entry_name, entry.registration if entry else None, after)
    if not facts.live:
        change = None
    files = _config_changes(facts, target, after, change, wish)
    return TargetChange(target, platforms, change, files)


def _standing_handler(facts: HostFacts, target: Target) -> Entry | None:
    """The entry that the kernel picks, if it is one that shall stay.

    What covered a replacement goes, whatever works with it; what lies below was not proven.
    """
    handler = facts.registry.handler(target.magic)
    return None if handler is not None and handler.name.startswith(SWAP_PREFIX) else handler


def _family(native: Target) -> tuple[Target, ...]:
    """Targets whose programs a host may run by itself; whether it does, a probe tells."""
    return tuple(target_named(name) for name in native.runs_also)


def _refuse_native(native: Target, target: Target, results: Sequence[ProbeResult]) -> None:
    """Never register what the host runs natively; raises EnvironmentUnfit.

    An entry for the host's own programs makes every execve fail with ELOOP. A 32-bit
    relative may be registered only after its probe showed that the kernel does not run it.
    """
    if target == native:
        raise EnvironmentUnfit(
            f"{target.name} is this host's own architecture, which is never registered",
            hint="emulation cannot help it", code="native-registered",
        )  # fmt: skip
    if not results:
        raise EnvironmentUnfit(
            f"whether a {native.name} host runs {target.name} by itself shows only when it runs",
            hint="run install on the running host", code="not-probed",
        )  # fmt: skip


def _registration_to_write(facts: HostFacts, target: Target, wish: Wish) -> Registration:
    interpreter = choice.choose(facts, target)
    if interpreter is None:
        raise choice.missing(facts, [target])
    return wished_registration(facts, target, interpreter, wish)


def _good_handler(
    facts: HostFacts,
    handler: Entry,
    target: Target,
    results: Sequence[ProbeResult],
    wish: Wish,
) -> bool:
    """Whether the entry that the kernel picks may stay as it is."""
    if not acceptable(facts, handler.registration, target, wish):
        return False
    if any(not result.ok for result in results):
        return False
    disk = facts.emulators.identity_at(handler.interpreter)
    if any(result.pinned not in (None, disk) for result in results):
        return False
    owned = is_owned(facts, handler)
    if not owned and not (wish.qemu_given or wish.take_over):
        return True
    try:
        return handler.registration == _registration_to_write(facts, target, wish)
    except NoEmulator:
        if wish.take_over and not owned:
            raise
        return True


def _config_changes(
    facts: HostFacts, target: Target, after: Registration, change: ChangeEntry | None, wish: Wish
) -> tuple[ChangeFile, ...]:
    """The binfmt.d file that keeps a registration; none where one that does is there."""
    if after.name != target.entry_name:
        return ()
    volatile = not wish.persist
    path = units.config_path(target, volatile=volatile)
    current = next((c for c in facts.boot.configs if c.path == path), None)
    own = facts.boot.own_config(target)
    if change is None and own is None and _kept_by_others(facts, target, wish):
        return ()
    kept = own is not None and after in own.registrations
    if volatile and (kept or (own is None and (change is None or not facts.process.own_files))):
        return ()
    if not facts.process.own_files:
        raise EnvironmentUnfit(
            f"{path} belongs to the host, not to this user namespace",
            hint="use --no-persist: a private registry is gone with its namespace",
            code="private-namespace",
        )
    if current is not None and not current.owned:
        raise EnvironmentUnfit(
            f"{path} is there already and was not written by this tool",
            hint=f"look at it and move it away: mv {path} {path}.old",
            code="config-conflict",
        )
    text = units.config_text(
        after,
        _what_stood_there(facts, target, change, own, wish),
        made_directory=_made_by_us(facts, path.rpartition("/")[0]),
    )
    if current is not None and current.text == text:
        return ()
    before = current.text if current else None
    other = _other_own_file(facts, target, path) if not volatile else ()
    return (ChangeFile(path, before, text), *other)


def _made_by_us(facts: HostFacts, directory: str) -> bool:
    """Whether a directory was, or will be, made by this tool.

    Every file of ours in it says so, as nobody knows which one is removed last.
    """
    own = (c for c in facts.boot.configs if c.owned and c.path.startswith(f"{directory}/"))
    return directory in facts.boot.missing_directories or any(MADE_DIRECTORY in c.text for c in own)


def _other_own_file(facts: HostFacts, target: Target, path: str) -> tuple[ChangeFile, ...]:
    """A volatile file of ours that a lasting one takes the place of."""
    found = (c for c in facts.boot.configs if c.owned and c.path != path)
    name = f"{target.entry_name}.conf"
    return tuple(ChangeFile(c.path, c.text, None) for c in found if c.file_name == name)


def _kept_by_others(facts: HostFacts, target: Target, wish: Wish) -> bool:
    """Whether a file of someone else's registers the target well at the next boot."""
    config = facts.boot.config_of(target.entry_name)
    if wish.take_over:
        return False
    if config is None:
        return facts.live and not wish.persist
    rules = (r for r in config.registrations if r.name == target.entry_name)
    return any(acceptable(facts, rule, target, wish) for rule in rules)


def _what_stood_there(
    facts: HostFacts,
    target: Target,
    change: ChangeEntry | None,
    own: ConfigFile | None,
    wish: Wish,
) -> Registration | None:
    """What uninstall shall put back: what was in the kernel before the first install."""
    if own is not None:
        return own.replaced
    entry = facts.registry.entry(target.entry_name)
    if change is not None:
        return change.before
    if entry is None or _is_what_we_write(facts, target, entry, wish):
        return None
    return entry.registration


def _is_what_we_write(facts: HostFacts, target: Target, entry: Entry, wish: Wish) -> bool:
    """Whether an entry without a file is ours: an install ended before it wrote the file."""
    try:
        return entry.registration == _registration_to_write(facts, target, wish)
    except NoEmulator:
        return False


def _own_after(facts: HostFacts, changes: Sequence[TargetChange]) -> tuple[Registration, ...]:
    """What this tool's files in /etc/binfmt.d register once the changes are made."""
    kept = {
        c.path: c.registrations
        for c in facts.boot.configs
        if c.owned and c.path.startswith(OWN_DIRECTORY + "/")
    }
    for change in changes:
        for file in change.files:
            kept.pop(file.path, None)
            if file.after is not None and file.path.startswith(OWN_DIRECTORY + "/"):
                kept[file.path] = parse_config(file.path, file.after).registrations
    return tuple(r for path in sorted(kept) for r in kept[path])


def _leftovers(facts: HostFacts) -> tuple[ChangeEntry, ...]:
    """Entries that a killed run left to cover a replacement."""
    stale = (e for e in facts.registry.entries if e.name.startswith(SWAP_PREFIX))
    return tuple(ChangeEntry(e.name, e.registration, None) for e in stale)


def plan_uninstall(
    facts: HostFacts, targets: Sequence[Target], kept: Sequence[Stored] = ()
) -> Plan:
    """What must go so that nothing of this tool's is left for these targets (all: none named).

    Where an entry of someone else's was replaced, it is put back. `kept` is what --qemu brought
    to this host: what nothing points to any more goes, too; with targets named only what they
    alone pointed to.
    """
    changes = []
    for target in targets or TARGETS:
        change = _removal(facts, target)
        if change.entry or change.files:
            changes.append(change)
    discards = _unneeded(facts, changes, kept, everything=not targets)
    return Plan(tuple(changes), boot_plan(facts, changes, Wish()), _leftovers(facts), discards)


def _removal(facts: HostFacts, target: Target) -> TargetChange:
    name = f"{target.entry_name}.conf"
    files = [c for c in facts.boot.configs if c.owned and c.file_name == name]
    replaced = next((c.replaced for c in files if c.replaced), None)
    entry = facts.registry.entry(target.entry_name)
    if replaced is not None and not _can_be_put_back(facts, replaced):
        replaced = None
    change = None
    if entry is not None and is_owned(facts, entry):
        change = ChangeEntry(entry.name, entry.registration, replaced)
        if entry.registration == replaced:
            change = None
    removals = tuple(ChangeFile(c.path, c.text, None) for c in files)
    return TargetChange(target, target.platforms, change, removals, prove=False)


def _can_be_put_back(facts: HostFacts, registration: Registration) -> bool:
    """Whether the kernel would take a registration: with F its interpreter must be there.

    That of an entry which a container image left behind never was.
    """
    there = facts.emulators.file_at(registration.interpreter) is not None
    return "F" not in registration.flags or there


def _unneeded(
    facts: HostFacts, changes: Sequence[TargetChange], kept: Sequence[Stored], *, everything: bool
) -> tuple[Discard, ...]:
    """The directories that nothing points into after these changes.

    Without `everything` only those that something pointed into before: other versions that
    lie side by side stay.
    """
    gone = {file.path for change in changes for file in change.files}
    entries = {c.entry.name: c.entry.after for c in changes if c.entry is not None}
    left = tuple(
        replace(entry, registration=registration)
        for entry in facts.registry.entries
        if (registration := entries.get(entry.name, entry.registration)) is not None
    )
    after = replace(
        facts,
        boot=replace(
            facts.boot, configs=tuple(c for c in facts.boot.configs if c.path not in gone)
        ),
        registry=replace(facts.registry, entries=left),
    )
    needed, before = referenced(after), referenced(facts)
    return tuple(
        Discard(stored)
        for stored in kept
        if stored.directory not in needed and (everything or stored.directory in before)
    )
