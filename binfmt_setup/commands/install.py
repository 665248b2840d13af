"""The way into `install`: rights, namespace, locks and the registry itself.

What is done then is in `provision`. It is imported while the first probes run: reading and
planning need many modules, and the probes as much time as these to load.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from binfmt_setup.changes import conditions
from binfmt_setup.changes.preparation import prepare
from binfmt_setup.commands.request import asked_for, proving
from binfmt_setup.inspect.process import standing
from binfmt_setup.model.records import replace
from binfmt_setup.system import locks
from binfmt_setup.system.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.changes.transaction import Outcome
    from binfmt_setup.commands.request import InstallOptions
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.report.result import Result
    from binfmt_setup.system.host import Host


def install(host: Host, names: Sequence[str], options: InstallOptions) -> Result:
    """Reach the wished state, or with `check` say what that would take.

    Raises the typed error for whatever stops the command as a whole.
    """
    asked = asked_for(names)
    facts = standing(host)
    conditions.refuse_wrong_namespace(facts, private=options.private)
    if options.check:
        from binfmt_setup.commands import dry_run

        return dry_run.install_planned(host, facts, asked, options)
    conditions.require_root(facts)
    with locks.locked(host, private=options.private):
        prepared = _prepared(host, facts, options)
        with (
            _qemu_at_hand(host, facts, options, prepared) as directory,
            Registry(host).locked(alone=options.private),
            proving(host, asked.platforms) as results,
        ):
            from binfmt_setup.commands import provision

            options = replace(options, qemu_directory=directory)
            provided = provision.provide(host, asked, options, results, prepared)
    return provision.concluded(host, provided, prepared, persist=options.persist)


def _prepared(host: Host, facts: HostFacts, options: InstallOptions) -> list[Outcome]:
    """Make the registry available, where it is not."""
    steps = prepare(facts, private=options.private)
    if not steps:
        return []
    from binfmt_setup.changes import transaction

    return transaction.prepare(host, steps, private=options.private)


def _qemu_at_hand(
    host: Host, facts: HostFacts, options: InstallOptions, prepared: list[Outcome]
) -> AbstractContextManager[str]:
    """The directory of what --qemu names; empty where that was not used."""
    if options.source is None:
        return nullcontext(options.qemu_directory)
    from binfmt_setup.sources import qemu_source

    return qemu_source.at_hand(host, facts, options.source, prepared)
