"""What `install` needs on some hosts before it can read them: the registry, and a source's QEMU."""

from __future__ import annotations

from binfmt_setup.changes import preparation
from binfmt_setup.changes.steps import Outcome
from binfmt_setup.commands.ground import Ground
from binfmt_setup.model.records import replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from binfmt_setup.changes.steps import Prepare
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Request
    from binfmt_setup.system.host import Host


def ground(
    host: Host, facts: HostFacts, request: Request, steps: Sequence[Prepare],
    held: ExitStack,
) -> Ground:  # fmt: skip
    """Do it; under --check foresee what it brings."""
    if request.check:
        if request.qemu is not None:
            from binfmt_setup.sources.qemu_source import require_own_store

            require_own_store(facts, request.qemu)
        return foreseen(host, facts, request, steps)
    outcomes = preparation.make(host, steps, private=request.private, hold=request.hold)
    directory = ""
    if request.qemu is not None:
        from binfmt_setup.sources import qemu_source  # archive formats cost start-up time

        directory = held.enter_context(qemu_source.at_hand(host, facts, request.qemu, outcomes))
    return Ground(tuple(outcomes), directory, lambda seen: seen)


def foreseen(
    host: Host, facts: HostFacts, request: Request, steps: Sequence[Prepare] = ()
) -> Ground:
    """What it would bring; nothing is mounted, nothing unpacked.

    Raises EnvironmentUnfit where the mount is sure to be refused.
    """
    if any(step.kind == "mount" for step in steps):
        from binfmt_setup.system.denied_mounts import refuse_foreseeable

        refuse_foreseeable(host, f"cannot mount binfmt_misc on {host.registry}")
    outcomes = [Outcome(step, "planned") for step in steps]

    def mounted(seen: HostFacts) -> HostFacts:
        # What a registry holds that is yet to be mounted is not known: it is taken for empty.
        return replace(seen, registry=replace(seen.registry, entries=())) if steps else seen

    if request.qemu is None:
        return Ground(tuple(outcomes), "", mounted)
    from binfmt_setup.sources import qemu_source

    source = request.qemu
    brought = qemu_source.bring(host, facts, source, write=False)
    if brought.new:
        outcomes.append(Outcome(qemu_source.unpack_step(source, brought), "planned"))
    return Ground(
        tuple(outcomes), brought.directory,
        lambda seen: qemu_source.foreseen(mounted(seen), brought, source),
    )  # fmt: skip
