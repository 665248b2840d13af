"""What to take back: what this tool made goes, and what it covered comes back. Pure."""

from __future__ import annotations

from binfmt_setup.changes.boot_steps import boot_plan
from binfmt_setup.changes.plan import leftovers
from binfmt_setup.changes.steps import ChangeEntry, ChangeFile, Discard, Plan, TargetChange
from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.emulators.store import STORE, referenced
from binfmt_setup.model.records import replace
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import TARGETS, Target

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration


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
    if not facts.process.own_files:
        # The usual place is the host's, and who uses it cannot be seen from here.
        discards = tuple(d for d in discards if not d.stored.directory.startswith(f"{STORE}/"))
    stale = leftovers(facts) if facts.registry_in_reach else ()
    return Plan(tuple(changes), boot_plan(facts, changes, Request()), stale, discards)


def _removal(facts: HostFacts, target: Target) -> TargetChange:
    """What goes of one target; in a bare user namespace entries alone: files are the host's."""
    name = f"{target.entry_name}.conf"
    own = facts.boot.configs if facts.process.own_files else ()
    files = [c for c in own if c.owned and c.file_name == name]
    entry = facts.registry.entry(target.entry_name) if facts.registry_in_reach else None
    after = _what_counts_then(facts, target, files) if files else None
    change = None
    if entry is not None and owner_of(facts, entry).ours and entry.standing != after:
        change = ChangeEntry(entry.name, entry.standing, after)
    elif entry is None and files and after is not None and facts.registry.listing is None:
        # Ours was lost, and its file is what kept the other one from being registered.
        change = ChangeEntry(target.entry_name, None, after)
    removals = tuple(ChangeFile(c.path, c.text, None) for c in files)
    if facts.boot.preferred:
        from binfmt_setup.changes.preference import no_longer_first

        removals += no_longer_first(facts, target)
    return TargetChange(target, target.platforms, change, removals, prove=False)


def _what_counts_then(
    facts: HostFacts, target: Target, going: Sequence[ConfigFile]
) -> Registration | None:
    """The registration that a boot without these files of ours would make.

    It may be newer than ours: a package's file that ours has masked since. What stood in the
    kernel before our first install comes back only where no file says anything.
    """
    left = replace(facts.boot, configs=tuple(c for c in facts.boot.configs if c not in going))
    config = left.config_of(target.entry_name)
    stood = counts = next((c.replaced for c in going if c.replaced), None)
    if config is not None:
        counts = [r for r in config.registrations if r.name == target.entry_name][-1]
    elif target.entry_name in left.imported:
        counts = left.imported[target.entry_name]
    if stood and counts and stood.says_the_same(counts):
        counts = stood  # it may have been disabled, which no file says
    return counts if counts and _can_be_put_back(facts, counts) else None


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
