"""The checks that every guide tells people to do by hand, one row for each.

Is the kernel new enough for the F flag, is binfmt_misc mounted, is QEMU static, is it
registered, has the entry the F flag, will it be there after a reboot, does a program run?
"""

from __future__ import annotations

import os

from binfmt_setup.boot.next_registry import next_registry
from binfmt_setup.boot.survival import why_lost
from binfmt_setup.diagnosis.judge import knows_f
from binfmt_setup.emulators import choice
from binfmt_setup.emulators.refusals import refusal_words
from binfmt_setup.model.reading import Unreadable
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.diagnosis.judge import Source
    from binfmt_setup.diagnosis.verdict import PlatformState
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.registry_facts import RegistryFacts

    Mark = Literal["good", "bad", "warn", "note"]


_FAULTS_SHOWN = 3
_KNOWN: dict[Source, str] = {
    "tried": "tested",
    "entry": "an entry has it",
    "version": "by its version",
}


class Row(Record):
    """One checked fact: how it stands, what it is about, and what was seen."""

    mark: Mark
    topic: str
    words: str


def host_rows(facts: HostFacts, *, emulated: bool) -> Iterator[Row]:
    """The kernel and its registry."""
    if not facts.kernel.release:
        yield Row("note", "kernel", f"only files in {facts.root} were inspected")
        return
    where = f" (in a {facts.process.container} container)" if facts.process.container else ""
    known = knows_f(facts, emulated=emulated)
    flag = f"supports the F flag ({_KNOWN[known]})" if known else "has no F flag"
    words = f"Linux {facts.kernel.release} on {facts.kernel.machine}{where} {flag}"
    yield Row("good" if known else "bad", "kernel", words)
    if facts.registry.mount.state == "mounted":
        how = "read-only" if facts.registry.mount.read_only else "read-write"
        mark, entries = _entries_in_words(facts.registry)
        yield Row(mark, "registry", f"binfmt_misc mounted {how}, {entries}")
    elif emulated:
        yield Row("note", "registry", "binfmt_misc is not visible here")
    else:
        words = "an automount only" if facts.registry.mount.state == "automount" else "not mounted"
        yield Row("bad", "registry", f"binfmt_misc is {words}")


def _entries_in_words(registry: RegistryFacts) -> tuple[Mark, str]:
    """How many entries there are, or that nobody can tell."""
    if isinstance(registry.listing, Unreadable):
        return "bad", f"its entries could not be read: {os.strerror(registry.listing.errno)}"
    count = len(registry.entries)
    words = "1 entry" if count == 1 else f"{count} entries"
    if registry.unread:
        return "warn", f"{words}, and {len(registry.unread)} that could not be read"
    if isinstance(registry.enabled, Unreadable):
        return "warn", f"{words}, whether they are switched on could not be read"
    off = registry.enabled is False
    return ("bad", f"{words}, switched off for all entries") if off else ("good", words)


def platform_rows(facts: HostFacts, state: PlatformState) -> Iterator[Row]:
    """What stands between a program of one platform and its emulator."""
    handler, target = state.handler, state.platform.target
    native = state.how == "native" or (not facts.live and target == facts.kernel.native)
    if not native and (facts.registry.mount.state == "mounted" or not facts.live):
        yield _emulator_row(facts, state, handler)
        yield from _fault_rows(facts, state)
        yield from _entry_rows(facts, handler) if facts.live else _boot_rows(facts, state)
    yield _program_row(facts, state)


def _emulator_row(facts: HostFacts, state: PlatformState, handler: Entry | None) -> Row:
    chosen = choice.choose(facts, state.platform.target)
    if handler is not None:
        path = handler.interpreter
    elif chosen is not None:
        path = chosen.path
    elif state.ran and not facts.registry.complete:
        return Row("note", "emulator", "not known, as its entry could not be read")
    else:
        return Row("bad", "emulator", f"none for {state.platform.target.name}")
    refused = choice.refusal(facts, path, facts.emulators.at(path))
    number = facts.emulators.version_at(path).partition(" ")[0]
    if refused is None:
        return Row("good", "emulator", f"{path} is static" + (f" ({number})" if number else ""))
    return Row("warn" if state.ran else "bad", "emulator", refusal_words(refused))


def _fault_rows(facts: HostFacts, state: PlatformState) -> Iterator[Row]:
    """What is known to fail with this version, in one line."""
    version = state.pinned_version or state.disk_version
    if faults := faults_of(facts, state):
        from binfmt_setup.workout.exercises import VITAL

        more = len(faults) - _FAULTS_SHOWN
        named = ", ".join(faults[:_FAULTS_SHOWN]) + (f" and {more} more" if more > 0 else "")
        mark: Mark = "warn" if VITAL.intersection(faults) else "note"
        words = f"QEMU {version.partition(' ')[0]} is known to fail at {named}"
        yield Row(mark, "faults", f"{words} (see --deep)")


def faults_of(facts: HostFacts, state: PlatformState) -> tuple[str, ...]:
    """The exercises that are known to fail with the version that was seen; none was, or none do."""
    version = state.pinned_version or state.disk_version
    if not (version and state.handler and facts.kernel.native):
        return ()
    from binfmt_setup.workout.known_faults import known_faults

    return known_faults(version, state.platform.probe, facts.kernel.native.name)


def _no_entry(facts: HostFacts) -> Row:
    """That none matches can be said only of what could be read."""
    if isinstance(facts.registry.listing, Unreadable):
        return Row("note", "entry", "not known, as the entries could not be read")
    if facts.registry.unread:
        return Row("note", "entry", "not known, as not every entry could be read")
    return Row("bad", "entry", "no entry matches this platform")


def _entry_rows(facts: HostFacts, handler: Entry | None) -> Iterator[Row]:
    if handler is None:
        yield _no_entry(facts)
        return
    yield Row("good", "entry", f"{handler.name}, enabled")
    missing = "" if "F" in handler.flags else ": F is missing"
    yield Row("bad" if missing else "good", "flags", f"{handler.flags or 'none'}{missing}")
    problem, line = why_lost(facts, handler.name), next_registry(facts).line(handler.name)
    by = f"registered at boot by {line.path if line and line.line else 'update-binfmts'}"
    bad: Mark = "warn" if facts.process.sees_files else "note"
    yield Row(bad, "reboot", _lost(problem)) if problem else Row("good", "reboot", by)


def _boot_rows(facts: HostFacts, state: PlatformState) -> Iterator[Row]:
    """What the first boot of an offline tree registers."""
    after = next_registry(facts)
    handler = after.handler(state.platform.header)
    line = after.line(handler.name) if handler else None
    if handler is None or line is None:
        yield Row("bad", "entry", "the first boot registers none for this platform")
        return
    yield Row("good", "entry", f"{handler.name}, by {line.place} at boot")
    yield Row("good" if "F" in handler.flags else "bad", "flags", handler.flags or "none")


def _program_row(facts: HostFacts, state: PlatformState) -> Row:
    name = state.platform.name
    if state.how == "native" and not state.ran:
        return Row("bad", "program", "this processor lacks features that it needs")
    if state.ran and state.how == "native":
        return Row("good", "program", "the processor runs it without an emulator")
    if state.ran:
        return Row("good", "program", f"one for {name} ran in an empty chroot")
    if state.unproven or not facts.live:
        return Row("note", "program", f"{name} is not proven: {why_unproven(state)}")
    mark: Mark = "note" if state.ok else "bad"
    return Row(mark, "program", f"one for {name} does not run in an empty chroot")


def why_unproven(state: PlatformState) -> str:
    """Why nothing shows that a platform works."""
    from binfmt_setup.diagnosis.catalogue import NotProbed
    from binfmt_setup.report.words.probes import why_unproven as words

    facts = (finding.fact for finding in state.findings if isinstance(finding.fact, NotProbed))
    return words(next(facts, NotProbed(live=False)))


def _lost(problem: Lost) -> str:
    from binfmt_setup.report.words import boot

    return boot.lost(problem)
