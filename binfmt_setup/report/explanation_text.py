"""What becomes of a file, told to people."""

from __future__ import annotations

from binfmt_setup.explain.advice import said
from binfmt_setup.model.escaping import visible
from binfmt_setup.report.lines import hint, marked, wrapped
from binfmt_setup.report.specimen_words import described, field_name

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.explain.explanation import Candidate, Explanation, NearMiss, Step
    from binfmt_setup.report.style import Style


def explanation_text(seen: Explanation, style: Style) -> str:
    """The explanation for people: what it is, who runs it, what helps, and the verdict."""
    lines = [visible(seen.path) + (f" (in {visible(seen.tree)})" if seen.tree != "/" else "")]
    for kind, words in _facts_in_words(seen):
        lines += marked(style, kind, words)
    for remedy in seen.hints:
        lines += hint(style, remedy)
    words, good = _verdict(seen)
    lines += (style.paint(line, "good" if good else "bad") for line in wrapped(words, "", "  "))
    return "\n".join(lines) + "\n"


def _facts_in_words(seen: Explanation) -> Iterator[tuple[str, str]]:
    """Everything between the file's name and the remedies, as (mark, words)."""
    for number, step in enumerate(seen.steps):
        prefix = f"{step.found.path}: " if number else ""
        for words in described(step.found):
            yield "note", prefix + words
        yield from _who(step)
    if seen.loader:
        there = "is there" if seen.loader_there else "is not there"
        where = f" in {seen.tree}" if seen.tree != "/" else ""
        yield "good" if seen.loader_there else "bad", f"its loader {seen.loader} {there}{where}"
    for note in seen.notes:
        yield "note", note
    if seen.container:
        yield "good" if seen.container == "runs" else "warn", f"in a container: {seen.container}"


def _who(step: Step) -> Iterator[tuple[str, str]]:
    """Which entries match a file, and what becomes of each."""
    for candidate in step.candidates:
        yield _candidate_words(candidate)
    if step.near is not None:
        yield "note", _near_words(step.near)


def _candidate_words(candidate: Candidate) -> tuple[str, str]:
    entry = candidate.entry
    way = f"{entry.interpreter}, flags {entry.flags or 'none'}"
    if candidate.state == "handler":
        return "good", f"entry {entry.name} handles it: {way}"
    if candidate.state == "shadowed":
        return (
            "note",
            f"entry {entry.name} matches as well, but a newer entry is used instead: {way}",
        )
    return "warn", f"entry {entry.name} matches, but is disabled: {way}"


def _near_words(near: NearMiss) -> str:
    name = field_name(near.at, near.entry.registration.magic[4:5] == b"\x02")
    masked = "" if near.mask == 0xFF else f" (mask {near.mask:#04x})"
    more = f" and {near.differing - 1} more" if near.differing > 1 else ""
    return (
        f"nearest entry {near.entry.name}: byte {near.at} ({name}) is {near.has:#04x} where it "
        f"wants {near.wants:#04x}{masked}{more}"
    )


def _verdict(seen: Explanation) -> tuple[str, bool]:
    """The last line, and whether it is good news."""
    if seen.failure is not None:
        why = f" ({said(seen.failure.errno)})" if seen.failure.errno else ""
        return f"does not run: {seen.failure.message}{why}", False
    if seen.how == "kernel":
        return "runs: by this kernel itself", True
    handler = seen.handler
    return f"runs: by {f'entry {handler.name}' if handler else 'an entry of another place'}", True
