"""The way into `install`: rights, namespace, locks, and what it takes to read the host.

The rest (read, plan, carry out, prove, commit) is in `provision`. It is imported while the first
probes run: reading and planning need many modules, and the probes as much time as these to load.
"""

from __future__ import annotations

from contextlib import ExitStack

from binfmt_setup.changes import conditions
from binfmt_setup.changes.preparation import prepare
from binfmt_setup.commands.ground import Ground
from binfmt_setup.commands.request import proving
from binfmt_setup.inspect.process import standing
from binfmt_setup.system import locks
from binfmt_setup.system.registry import Registry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Request
    from binfmt_setup.report.result import InstallResult
    from binfmt_setup.system.host import Host


def install(host: Host, request: Request) -> InstallResult:
    """Reach the wished state, or with `check` say what that would take: by the same plan.

    Raises the typed error for whatever stops the command as a whole.
    """
    facts = standing(host)
    conditions.refuse_wrong_namespace(facts, private=request.private)
    with ExitStack() as held:
        interrupted = False
        if not request.check:
            conditions.require_root(facts)
            interrupted = held.enter_context(locks.locked(host, private=request.private))
        with ExitStack() as inner:
            ground = _ground(host, facts, request, inner)
            if not request.check:
                inner.enter_context(Registry(host).locked(alone=request.private))
                if interrupted and facts.process.own_files:
                    from binfmt_setup.changes.leftovers import remove_leftovers

                    remove_leftovers(host, request.qemu.store if request.qemu else "")
            results = inner.enter_context(proving(host, request.platforms))
            from binfmt_setup.commands import provision

            done = provision.provide(host, request, results, ground)
    return provision.concluded(host, done)


def _ground(host: Host, facts: HostFacts, request: Request, held: ExitStack) -> Ground:
    """Make the registry available and have the emulators at hand, or foresee both."""
    steps = prepare(facts, private=request.private)
    if not steps and request.qemu is None:
        return Ground((), "", lambda seen: seen)
    from binfmt_setup.commands import preparing

    return preparing.ground(host, facts, request, steps, held)
