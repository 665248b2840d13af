"""Taking back: what `install` made of a host goes, and nothing else."""

from __future__ import annotations

from binfmt_setup.changes import conditions, recovery, removal
from binfmt_setup.changes.leftovers import remove_leftovers
from binfmt_setup.changes.steps import Outcome
from binfmt_setup.changes.transaction import Transaction
from binfmt_setup.commands.request import probe
from binfmt_setup.emulators import store
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.targets import targets_of
from binfmt_setup.report.result import UninstallResult
from binfmt_setup.system import locks
from binfmt_setup.system.registry import Registry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.changes.steps import Plan
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Request
    from binfmt_setup.system.host import Host


def uninstall(host: Host, request: Request) -> UninstallResult:
    """Remove exactly what this tool made for these platforms (all: none named)."""
    targets = targets_of(request.platforms) if request.named else []
    facts = snapshot(host)
    conditions.refuse_wrong_namespace(facts, private=request.private)
    kept = _kept(host, facts)
    todo = removal.plan_uninstall(facts, targets, kept)
    conditions.require_writable(facts, todo)
    if request.check:
        planned = tuple(Outcome(step, "planned") for step in todo.steps)
        return UninstallResult(facts, outcomes=planned, check=True)
    conditions.require_root(facts)
    private = request.private
    with locks.locked(host, private=private) as interrupted, Registry(host).locked(alone=private):
        facts = snapshot(host)
        if interrupted and facts.process.own_files:
            remove_leftovers(host, *_stores(host, facts))
        mine = facts.live and facts.registry_in_reach
        ended = recovery.finish(host, facts, recovery.steps(facts)) if mine else []
        facts = snapshot(host) if ended else facts
        todo = removal.plan_uninstall(facts, targets, _kept(host, facts))
        if not request.force:
            _refuse_while_in_use(host, facts, todo)
        work = Transaction(host, todo, facts)
        work.carry_out()
    work.start_units()
    outcomes = (*ended, *work.outcomes)
    return UninstallResult(snapshot(host), errors=work.errors, outcomes=outcomes)


def _kept(host: Host, facts: HostFacts) -> list[store.Stored]:
    """All that --qemu brought, in the usual place and beside what entries point to."""
    places = sorted({store.STORE, *_stores(host, facts)})
    return [stored for place in places for stored in store.everything_in(host, place)]


def _stores(host: Host, facts: HostFacts) -> set[str]:
    pointed_to = (d for d in store.referenced(facts) if store.stored_at(host, d))
    return {directory.rpartition("/")[0] for directory in pointed_to}


def _refuse_while_in_use(host: Host, facts: HostFacts, todo: Plan) -> None:
    """Raises EnvironmentUnfit while programs run under an emulator that is about to go."""
    going = [c.target for c in todo.targets if c.entry is not None and c.entry.after is None]
    paths = [c.entry.before.interpreter for c in todo.targets if c.entry and c.entry.before]
    if not going or not host.live:
        return
    pinned = probe(host, [platform for target in going for platform in target.platforms])
    identities = {result.pinned for result in pinned.values() if result.pinned}
    on_disk = (facts.emulators.identity_at(path) for path in paths)
    running = host.processes_of(identities | {identity for identity in on_disk if identity})
    if running:
        listed = "\n".join(f"  {pid}  {command}" for pid, command in running[:20])
        raise EnvironmentUnfit(
            f"{len(running)} running processes depend on an emulator that would go:\n{listed}",
            hint="end them first, or use --force: they run on but cannot start new programs",
            code="in-use",
        )
