"""The way into `install`: rights, namespace, locks and the registry itself.

What is done then is in `provision`. It is imported while the first probes run: reading and
planning need many rooms, and the probes as much time as these to load.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from binfmt_setup import guards
from binfmt_setup.asked import asked_for, proving
from binfmt_setup.preparation import prepare
from binfmt_setup.records import replace
from binfmt_setup.standing import standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.apply import Outcome
    from binfmt_setup.asked import InstallOptions
    from binfmt_setup.facts import HostFacts
    from binfmt_setup.host import Host
    from binfmt_setup.result import Result


def install(host: Host, names: Sequence[str], options: InstallOptions) -> Result:
    """Reach the wished state, or with `check` say what that would take.

    Raises the typed error for whatever stops the command as a whole.
    """
    asked = asked_for(names)
    facts = standing(host)
    guards.refuse_wrong_namespace(facts, private=options.private)
    if options.check:
        from binfmt_setup import foresight

        return foresight.install_planned(host, facts, asked, options)
    guards.require_root(facts)
    with guards.locked(host, private=options.private):
        prepared = _prepared(host, facts, options)
        with (
            _qemu_at_hand(host, facts, options, prepared) as directory,
            guards.registry_locked(host),
            proving(host, asked.platforms) as results,
        ):
            from binfmt_setup import provision

            options = replace(options, qemu_directory=directory)
            provided = provision.provide(host, asked, options, results, prepared)
    return provision.concluded(host, provided, prepared, persist=options.persist)


def _prepared(host: Host, facts: HostFacts, options: InstallOptions) -> list[Outcome]:
    """Make the registry available, where it is not."""
    steps = prepare(facts, private=options.private)
    if not steps:
        return []
    from binfmt_setup import apply

    return apply.prepare(host, steps, private=options.private)


def _qemu_at_hand(
    host: Host, facts: HostFacts, options: InstallOptions, prepared: list[Outcome]
) -> AbstractContextManager[str]:
    """The directory of what --qemu names; empty where that was not used."""
    if options.source is None:
        return nullcontext(options.qemu_directory)
    from binfmt_setup import sources

    return sources.at_hand(host, facts, options.source, prepared)
