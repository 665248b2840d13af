"""What a command was asked for: platforms, with the probes that tell about them, and switches."""

from __future__ import annotations

import os
from contextlib import nullcontext

from binfmt_setup.inspect.wish_list import PATH, read_wish_list
from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.request import Request, WishList
from binfmt_setup.model.targets import (
    TARGETS,
    X86_LEVELS,
    Platform,
    container_platforms,
    parse_platform,
)

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Source
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


_PLAIN = Request()


class SourceWords(Record):
    """What a command line says of where QEMU shall come from, and where it is kept."""

    qemu: str = ""
    sha256: str = ""
    store: str = ""


def requested(
    host: Host,
    platforms: Sequence[str] | None,
    switches: Request = _PLAIN,
    *,
    config: str = "",
    source: SourceWords | None = None,
) -> Request:
    """The whole request; raises UsageProblem for what cannot be meant.

    The wish list is read where no platform is named, or where the line names it (`config`). What
    the line says goes before what the list says. `source` is None for commands that bring no QEMU.
    """
    list_counts = config or not platforms
    wishes = read_wish_list(host, config) if list_counts else WishList()
    asked = asked_for(platforms) if platforms else _wished(wishes, config or PATH)
    qemu = _source(source, wishes)
    if qemu is not None:
        qemu = replace(qemu, wanted=frozenset(p.target.name for p in asked.platforms))
    credentials = wishes.credentials if switches.credentials is None else switches.credentials
    # What is not to last cannot be kept.
    wished = wishes.keep if switches.persist else None
    return replace(
        switches, platforms=asked.platforms, scope=asked.scope, qemu=qemu,
        credentials=credentials, keep=wished if switches.keep is None else switches.keep,
        strict=switches.strict or wishes.strict, prefer=wishes.prefer if list_counts else None,
    )  # fmt: skip


def _wished(wishes: WishList, path: str) -> Request:
    """The platforms of the wish list; raises UsageProblem, which names the file."""
    try:
        return asked_for(wishes.platforms)
    except UsageProblem as error:
        raise UsageProblem(
            f"{path}: platforms: {error.message}", hint=error.hint, code="wish-list-invalid"
        ) from error


def _source(said: SourceWords | None, wishes: WishList) -> Source | None:
    """Where QEMU shall come from; raises UsageProblem."""
    if said is None or not (said.qemu or wishes.qemu or said.sha256 or said.store):
        return None
    from binfmt_setup.sources.qemu_source import parse_source

    sha256 = said.sha256 if said.qemu else said.sha256 or wishes.qemu_sha256
    return parse_source(said.qemu or wishes.qemu, said.store, dict(os.environ), sha256)


def asked_for(names: Sequence[str]) -> Request:
    """Read the platform arguments; raises UsageProblem for an unknown one, and an empty one.

    An empty name is what an unset variable leaves: it must never mean all of them.
    """
    words = [word for name in names for word in name.split(",")]
    if not all(word.strip() for word in words):
        raise UsageProblem(
            "a platform's name is empty",
            hint="name a platform, or all of them with 'all', or leave the argument out",
        )
    if "all" in (word.strip().lower() for word in words):
        return Request(tuple(p for t in TARGETS for p in _plain_platforms(t)), "all")
    if words:
        return Request(tuple(dict.fromkeys(parse_platform(word) for word in words)), "named")
    return Request(container_platforms())


def _plain_platforms(target: Target) -> Iterator[Platform]:
    """Those of a target but for the levels of x86-64, which only who names them wants."""
    return (p for p in target.platforms if p.variant.suffix not in X86_LEVELS)


def probe(host: Host, platforms: Sequence[Platform]) -> Mapping[str, ProbeResult]:
    """Run the probes of these platforms; none on an offline tree."""
    with proving(host, platforms) as results:
        return results()


def proving(
    host: Host, platforms: Sequence[Platform]
) -> AbstractContextManager[Callable[[], Mapping[str, ProbeResult]]]:
    """The same, beside what is done until the results are asked for: the host can be read."""
    if not host.live:
        return nullcontext(dict)
    return host.prove([p.probe for p in platforms])


def selected(
    facts: HostFacts, request: Request, found: Mapping[str, ProbeResult]
) -> tuple[Platform, ...]:
    """The platforms meant: the named ones, else those that need and have an emulator."""
    if request.named:
        return request.platforms
    native = facts.kernel.native
    return tuple(
        p
        for p in request.platforms
        if (p.target != native or p.target.name in facts.kernel.behind_entries)
        and not (p.probe in found and found[p.probe].native)
        and not (not facts.live and native and p.target.name in native.runs_also)
        and (facts.emulators.candidates.get(p.target.name) or facts.registry.handler(p.header))
    )


def present(facts: HostFacts) -> tuple[Platform, ...]:
    """The platforms that are registered here, or that a boot will register.

    Packages register all that they have: of theirs those count that container images come for.
    """
    targets = (t for t in TARGETS if _is_here(facts, t))
    return tuple(platform for target in targets for platform in _plain_platforms(target))


def _is_here(facts: HostFacts, target: Target) -> bool:
    registry, boot = facts.registry, facts.boot
    entry = registry.entry(target.entry_name) or registry.handler(target.platforms[0].header)
    # What files say is of another registry than that of a bare user namespace.
    config = boot.config_of(target.entry_name) if facts.process.own_files else None
    if target.container:
        known = facts.process.own_files and target.entry_name in boot.update_binfmts
        return entry is not None or config is not None or known
    if entry is not None:
        from binfmt_setup.diagnosis.ownership import owner_of

        return not owner_of(facts, entry).by_distribution
    return config is not None and not config.path.startswith("/usr/lib/")
