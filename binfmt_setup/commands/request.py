"""What a command was asked for: platforms, with the probes that tell about them, and switches."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.targets import (
    TARGETS,
    X86_LEVELS,
    Platform,
    container_platforms,
    parse_platform,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Target
    from binfmt_setup.sources.qemu_source import Source
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


class Asked(Record):
    """The platforms a command works on, and whether the user named them."""

    platforms: tuple[Platform, ...]
    named: bool


class InstallOptions(Record):
    """The switches of `install`."""

    check: bool = False
    persist: bool = True
    private: bool = False
    credentials: bool = False
    no_credentials: bool = False
    qemu_directory: str = ""
    install_qemu: bool = False
    take_over: bool = False
    hold: bool = False
    source: Source | None = None


def qemu_of(text: str, keep_in: str = "", sha256: str = "") -> tuple[str, Source | None]:
    """What --qemu names: a directory as it is, or a source to be unpacked."""
    if not text and not sha256:
        return "", None
    from binfmt_setup.sources.qemu_source import parse_source

    source = parse_source(text, keep_in, dict(os.environ), sha256)
    if source is not None and source.kind == "directory":
        return source.text, None
    return "", source


def asked_for(names: Sequence[str]) -> Asked:
    """Read the platform arguments; raises UsageProblem for an unknown one, and an empty one.

    An empty name is what an unset variable leaves: it must never mean all of them.
    """
    words = [word for name in names for word in name.split(",")]
    if not all(word.strip() for word in words):
        raise UsageProblem(
            "a platform's name is empty",
            hint="name a platform, or all of them with 'all', or leave the argument out",
        )
    if "all" in (word.lower() for word in words):
        every = tuple(p for t in TARGETS for p in t.platforms if p.variant.suffix not in X86_LEVELS)
        return Asked(every, named=False)
    if words:
        return Asked(tuple(dict.fromkeys(parse_platform(word) for word in words)), named=True)
    return Asked(container_platforms(), named=False)


def for_platforms(options: InstallOptions, asked: Asked, native: Target | None) -> InstallOptions:
    """The options, with a source of QEMU told which targets are wanted of it."""
    if options.source is None:
        return options
    wanted = frozenset(platform.target.name for platform in asked.platforms)
    if native is not None and not asked.named:
        wanted -= {native.name}
    return replace(options, source=replace(options.source, wanted=wanted))


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
    facts: HostFacts, asked: Asked, found: Mapping[str, ProbeResult]
) -> tuple[Platform, ...]:
    """The platforms meant: the named ones, else those that need and have an emulator."""
    if asked.named:
        return asked.platforms
    return tuple(
        p
        for p in asked.platforms
        if p.target != facts.kernel.native
        and not (p.probe in found and found[p.probe].native)
        and not (
            not facts.live
            and facts.kernel.native
            and p.target.name in facts.kernel.native.runs_also
        )
        and (facts.emulators.candidates.get(p.target.name) or facts.registry.handler(p.header))
    )
