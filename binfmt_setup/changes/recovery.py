"""What a killed run left in the kernel, and the steps that bring it to an end.

A replacement registers a covering entry first (`binfmt-setup-swap-…`) and removes it last, and
writes the binfmt.d file in between, before the old entry goes. So these names tell where a run
was killed, and no journal is needed:

| covering entry | file names it | entry of the name | what is done |
| --- | --- | --- | --- |
| there | yes | old, or none | the replacement is finished: it had been proven |
| there | no | there | the covering entry goes: nothing else had been changed |
| there | no | none | what the file names is registered again, else what covers |

There is no moment without an entry that works: the covering one goes last.
"""

from __future__ import annotations

from binfmt_setup.changes.steps import ChangeEntry, Outcome
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.records import replace
from binfmt_setup.model.registry_facts import SWAP_PREFIX
from binfmt_setup.model.targets import TARGETS
from binfmt_setup.system.registry import Registry
from binfmt_setup.system.signals import undisturbed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry, Registration
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


_NAMES = {name: t.entry_name for t in TARGETS for name in (t.name, t.entry_name)}


def covered_name(leftover: str) -> str:
    """The name of the entry that a covering one stands for; older versions named the target."""
    name = leftover.removeprefix(SWAP_PREFIX)
    return _NAMES.get(name, name)


def leftovers(facts: HostFacts) -> tuple[Entry, ...]:
    """The covering entries that a killed run left."""
    return tuple(entry for entry in facts.registry.entries if entry.name.startswith(SWAP_PREFIX))


def steps(facts: HostFacts) -> tuple[ChangeEntry, ...]:
    """What ends each killed replacement, in the order in which it leaves no gap."""
    return tuple(step for leftover in leftovers(facts) for step in _ending(facts, leftover))


def _ending(facts: HostFacts, leftover: Entry) -> Iterator[ChangeEntry]:
    name = covered_name(leftover.name)
    covering = replace(leftover.registration, name=name)
    entry, meant = facts.registry.entry(name), _meant(facts, name)
    before = entry.registration if entry else None
    if before is None:
        yield ChangeEntry(name, None, meant or covering)
    elif meant == covering != before:
        yield ChangeEntry(name, before, None)
        yield ChangeEntry(name, None, covering)
    yield ChangeEntry(leftover.name, leftover.registration, None)


def _meant(facts: HostFacts, name: str) -> Registration | None:
    """What this tool's file says about an entry; None where there is none."""
    own = (config for config in facts.boot.configs if config.owned)
    return next((r for config in own for r in config.registrations if r.name == name), None)


def foreseen(facts: HostFacts, ending: Sequence[ChangeEntry]) -> HostFacts:
    """The facts as they will be when these steps are done."""
    entries = list(facts.registry.entries)
    for step in ending:
        entries = [entry for entry in entries if entry.name != step.name]
        if step.after is not None:
            known = leftovers(facts)[0]
            entries.insert(0, replace(known, registration=step.after, enabled=True))
    return replace(facts, registry=replace(facts.registry, entries=tuple(entries)))


def still_known(
    facts: HostFacts, found: dict[str, ProbeResult], ending: Sequence[ChangeEntry]
) -> dict[str, ProbeResult]:
    """The results of probes that did not run by what these steps take away."""
    gone = {step.name for step in ending if step.after is None and facts.registry.entry(step.name)}
    told = dict(found)
    for target in TARGETS:
        handler = facts.registry.handler(target.header)
        if handler is not None and handler.name in gone:
            for platform in target.platforms:
                told.pop(platform.probe, None)
    return told


def finish(host: Host, facts: HostFacts, steps: Sequence[ChangeEntry]) -> list[Outcome]:
    """Bring to an end what a killed run left; where that cannot be, its cover stays for now."""
    mark = facts.registry.own and not facts.process.own_files
    registry = Registry(host)
    outcomes: list[Outcome] = []
    with undisturbed():
        for step in steps:
            try:
                if step.after is None:
                    registry.delete(step.name)
                else:
                    registry.register(step.after, mark=mark)
            except BinfmtSetupError as error:
                host.log(f"cannot finish what a killed run left: {error.message}")
                break
            outcomes.append(Outcome(step, "done"))
    return outcomes
