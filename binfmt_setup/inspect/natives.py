"""Which programs this kernel runs itself, asked past the entries that take them.

An entry comes before the kernel's own loaders: what a probe does says nothing of them where an
entry takes it. So it is asked in an empty registry, and only where an entry takes programs of the
host's own family, which is next to never.
"""

from __future__ import annotations

import errno

from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import target_named

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


def with_natives(host: Host, facts: HostFacts, found: Mapping[str, ProbeResult]) -> HostFacts:
    """The facts, with targets that the kernel runs itself though an entry takes them, or will.

    `found` is what probes did with all entries in the way. Where an entry takes what uname(2)
    calls this machine's own, and the kernel is not seen to run it, this process is emulated
    itself: the machine is another one, and that entry is what it stands on.
    """
    native = facts.kernel.native
    if not host.live or native is None:
        return facts
    family = (native, *(target_named(name) for name in native.runs_also))
    entries = {t.platforms[0].probe: t for t in family if facts.registry.taker(t)}
    rules = [rule for config in facts.boot.configs for rule in config.registrations]
    next_time = (t for t in family if any(rule.takes_any(t.headers) for rule in rules))
    taken = entries | {t.platforms[0].probe: t for t in next_time}
    if not taken:
        return facts
    ran = host.try_without_entries(tuple(taken))
    itself = frozenset(
        target.name
        for probe, target in taken.items()
        if (result := ran.get(probe)) and result.ok and result.native
    )
    kernel = replace(facts.kernel, behind_entries=itself)
    own = found.get(native.platforms[0].probe)
    loops = own is not None and own.errno == errno.ELOOP
    if facts.registry.handler(native.header) and native.name not in itself and not loops:
        kernel = replace(kernel, machine="")
    return replace(facts, kernel=kernel)
