"""What to change: host facts and a request become steps. Pure; no steps means unchanged."""

from __future__ import annotations

from binfmt_setup.changes.boot_steps import boot_plan, unit_conflicts, unwritable
from binfmt_setup.changes.config_changes import config_changes
from binfmt_setup.changes.registrations import good_handler, registration_to_write
from binfmt_setup.changes.steps import ChangeEntry, ChangeFile, Plan, TargetChange
from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import replace
from binfmt_setup.model.registry_facts import SWAP_PREFIX
from binfmt_setup.model.targets import Platform, Target, target_named

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.request import Request
    from binfmt_setup.system.probes import ProbeResult


def plan_install(
    facts: HostFacts,
    wished: Sequence[Platform],
    probes: Mapping[str, ProbeResult],
    request: Request,
) -> Plan:
    """What must change so that the wished platforms run, now and after a reboot."""
    changes: list[TargetChange] = []
    problems: list[tuple[Target, BinfmtSetupError]] = []
    for target, platforms in _by_target(wished).items():
        tried = (probes[p.probe] for p in platforms if p.probe in probes)
        results = [result for result in tried if not result.not_run]
        if not facts.live and target == facts.kernel.native:
            continue
        try:
            if target.name in facts.kernel.behind_entries or _all_native(results):
                change = _left_to_the_kernel(facts, target, platforms)
            else:
                change = _target_change(facts, target, platforms, results, request)
        except BinfmtSetupError as error:
            problems.append((target, error))
        else:
            if change.entry or change.files:
                changes.append(change)
    conflicts = unit_conflicts(facts, changes, _by_target(wished), request)
    conflicts |= unwritable(facts, changes)
    changes = [change for change in changes if change.target not in conflicts]
    problems += conflicts.items()
    boot = boot_plan(facts, changes, request)
    return Plan(tuple(changes), boot, leftovers(facts), problems=tuple(problems), request=request)


def _all_native(results: Sequence[ProbeResult]) -> bool:
    return bool(results) and all(result.ok and result.native for result in results)


def _left_to_the_kernel(
    facts: HostFacts, target: Target, platforms: tuple[Platform, ...]
) -> TargetChange:
    """What goes where the kernel runs a target itself: our file, and the entry that takes it.

    One that somebody else keeps, or whose name is not ours to give, is named and left to them:
    raises EnvironmentUnfit.
    """
    own = facts.boot.own_config(target) if facts.process.own_files else None
    files = (ChangeFile(own.path, own.text, None),) if own else ()
    handler = facts.registry.taker(target)
    change = None
    if handler is not None and facts.registry.enabled is not False:
        owner = owner_of(facts, handler)
        kept = owner.name not in _NOBODYS or (owner.config and not owner.ours)
        if handler.name != target.entry_name or kept:
            raise EnvironmentUnfit(
                f"entry {handler.name} takes programs of {target.name}, which this kernel runs "
                "itself",
                hint=f"remove it: echo -1 > {BINFMT_MISC}/{handler.name}", code="native-caught",
            )  # fmt: skip
        change = ChangeEntry(handler.name, handler.registration, None)
    return TargetChange(target, platforms, change if facts.live else None, files, prove=False)


_NOBODYS = ("binfmt-setup", "unknown")
"""Owners whose entries of our names this tool replaces, and so removes."""


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
    request: Request,
) -> TargetChange:
    """The change for one target; empty when all is well. Raises NoEmulator, EnvironmentUnfit."""
    if facts.kernel.native is not None and target in (
        facts.kernel.native,
        *_family(facts.kernel.native),
    ):
        _refuse_native(facts.kernel.native, target, results)
    others: tuple[ChangeFile, ...] = ()
    if request.prefer or facts.boot.preferred:
        from binfmt_setup.changes.preference import no_longer_first, preferred, theirs_first

        wish = preferred(facts, target, request)
        if wish is not None and wish.name != target.entry_name:
            return theirs_first(facts, target, platforms, wish)
        if wish is not None:
            request = replace(request, take_over=True)  # ours shall come first, whatever works
        others = no_longer_first(facts, target)
    entry = facts.registry.entry(target.entry_name)
    handler = _standing_handler(facts, target)
    good = handler is not None and good_handler(facts, handler, target, results, request)
    if good and handler is not None:
        after, change = handler.registration, None
    else:
        after = registration_to_write(facts, target, request)
        change = ChangeEntry(target.entry_name, entry.standing if entry else None, after)
    if not facts.live:
        change = None
    files = config_changes(facts, target, after, change, request)
    return TargetChange(target, platforms, change, (*files, *others))


def _standing_handler(facts: HostFacts, target: Target) -> Entry | None:
    """The entry that the kernel picks, if it is one that shall stay.

    What covered a replacement goes, whatever works with it; what lies below was not proven.
    """
    handler = facts.registry.handler(target.header)
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
            hint="leave it out: its programs run without emulation", code="native-registered",
        )  # fmt: skip
    if not results:
        raise EnvironmentUnfit(
            f"only a running {native.name} host can tell whether it runs {target.name} programs "
            "itself",
            hint="run install on the running host", code="not-probed",
        )  # fmt: skip


def leftovers(facts: HostFacts) -> tuple[ChangeEntry, ...]:
    """Entries that a killed run left to cover a replacement."""
    stale = (e for e in facts.registry.entries if e.name.startswith(SWAP_PREFIX))
    return tuple(ChangeEntry(e.name, e.registration, None) for e in stale)
