"""The command `explain`: from the FILE somebody typed to what is printed about it."""

from __future__ import annotations

import os
import textwrap
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.explain.abi import abi_words, machine_words, osabi_words, type_words
from binfmt_setup.explain.advice import SAID, format_words
from binfmt_setup.explain.reasoning import explain
from binfmt_setup.explain.specimen import Specimen, look_at
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.errors import BinfmtSetupError, PrivilegesMissing, UsageProblem
from binfmt_setup.model.escaping import visible
from binfmt_setup.report.document import SCHEMA_VERSION, Json, entry_row, host_row
from binfmt_setup.system.host import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.explain.explanation import Candidate, Explanation, NearMiss, Step
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Target
    from binfmt_setup.report.text_report import Style
    from binfmt_setup.system.probes import ProbeResult

_COLUMNS = 77  # of 80, behind a mark of up to two characters; commands are never broken
_HEADER_FIELDS = (
    (4, "EI_MAG"), (5, "EI_CLASS"), (6, "EI_DATA"), (7, "EI_VERSION"), (8, "EI_OSABI"),
    (9, "EI_ABIVERSION"), (16, "EI_PAD"), (18, "e_type"), (20, "e_machine"), (24, "e_version"),
)  # fmt: skip


def explained(host: Host, file: str, chroot: str = "") -> tuple[HostFacts, Explanation]:
    """Look at FILE and at the host, and say what becomes of it.

    With `chroot` FILE is looked for in that tree first, then on the host. Raises
    UsageProblem when there is no such file, PrivilegesMissing when it may not be read.
    """
    facts = snapshot(host)
    tree = Host(Path(chroot).resolve()) if chroot else host
    path, where = _placed(host, tree, file)
    first = look_at(where, path)
    if first.kind == "missing":
        raise UsageProblem(f"{file}: no such file", hint="name a file that shall run")
    if first.kind == "unreadable":
        raise PrivilegesMissing(f"{file} may not be read", hint="run it with sudo")

    def look(wanted: str) -> Specimen:
        return first if wanted == path else look_at(tree, wanted)

    seen = explain(
        facts, path, look=look, look_on_host=lambda wanted: look_at(host, wanted),
        prove=partial(_prove, host), tree=str(tree.root),
    )  # fmt: skip
    if seen.failure is not None and seen.failure.code == "unreadable":
        raise PrivilegesMissing(seen.failure.message, hint="run it with sudo")
    return facts, seen


def _placed(host: Host, tree: Host, file: str) -> tuple[str, Host]:
    """FILE as its tree names it, and the host that has it.

    A path that leads into the tree is shortened to what it is called in there.
    """
    typed = os.path.abspath(file)  # noqa: PTH100 - resolve() would follow the last link
    directory, name = os.path.split(typed)
    real = os.path.join(os.path.realpath(directory), name)  # noqa: PTH118 - one language
    for place in (tree, host):
        root = str(place.root).rstrip("/") + "/"
        inside = [path[len(root) - 1 :] for path in (typed, real) if path.startswith(root)]
        for path in [*inside, typed]:
            if look_at(place, path).kind != "missing":
                return path, place
    return file, tree


def _prove(host: Host, target: Target) -> ProbeResult | None:
    """What the probe of a target did; None where probes cannot run."""
    name = target.platforms[0].probe
    try:
        with host.prove([name]) as results:
            found = results().get(name)
            return None if found is None or found.not_run else found
    except BinfmtSetupError:
        return None


def text_report(seen: Explanation, style: Style) -> str:
    """The explanation for people: what it is, who runs it, what helps, and the verdict."""
    lines = [visible(seen.path) + (f" (in {visible(seen.tree)})" if seen.tree != "/" else "")]
    for kind, words in _facts_in_words(seen):
        first, *more = textwrap.wrap(
            visible(words), _COLUMNS, break_long_words=False, break_on_hyphens=False
        )
        lines += [f"{style.mark(kind)} {first}", *(f"  {line}" for line in more)]
    lines += [f"  {style.mark('hint')} {visible(hint)}" for hint in seen.hints]
    words, good = _verdict(seen)
    return "\n".join([*lines, style.paint(visible(words), "good" if good else "bad")]) + "\n"


def _facts_in_words(seen: Explanation) -> Iterator[tuple[str, str]]:
    """Everything between the file's name and the remedies, as (mark, words)."""
    for number, step in enumerate(seen.steps):
        prefix = f"{step.found.path}: " if number else ""
        for words in _what(step.found):
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


def _what(found: Specimen) -> Iterator[str]:
    """What a file is."""
    if found.kind != "file":
        yield {"link-loop": "a link that leads to itself", "fifo": "a named pipe"}.get(
            found.kind, f"a {found.kind}" if found.kind != "missing" else "is not there"
        )
        return
    if found.script is not None:
        words = f"a script for {found.script.interpreter} {found.script.argument}"
        yield words.rstrip(" ")
        return
    elf = found.elf
    if elf is None:
        yield format_words(found)
        return
    details = found.details
    loader = bool(details and details.loader)
    yield (
        f"ELF {elf.bits}-bit {elf.order}-endian {type_words(elf, loader=loader)} for "
        f"{machine_words(elf.machine)}, {osabi_words(elf.osabi)}"
    )
    attributes = [f"{name} {value}" for name, value in details.attributes] if details else []
    words = ", ".join([*abi_words(elf), *attributes])
    if words:
        yield f"ABI: {words} (flags {elf.flags:#x})"
    if details and details.problem:
        yield f"not all of it could be read: {details.problem}"
    elif details and not details.loader:
        yield "statically linked: it wants no loader"


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


def field_name(at: int, wide: bool) -> str:  # noqa: FBT001 - a class is 32 or 64
    """The ELF header's name for one of its bytes (elf(5))."""
    for end, name in _HEADER_FIELDS:
        if at < end:
            return name
    flags = 48 if wide else 36
    return "e_flags" if flags <= at < flags + 4 else "behind e_version"


def _verdict(seen: Explanation) -> tuple[str, bool]:
    """The last line, and whether it is good news."""
    if seen.failure is not None:
        said = f" ({SAID[seen.failure.errno]})" if seen.failure.errno else ""
        return f"does not run: {seen.failure.message}{said}", False
    if seen.how == "kernel":
        return "runs: by this kernel itself", True
    handler = seen.handler
    return f"runs: by {f'entry {handler.name}' if handler else 'an entry of another place'}", True


def json_report(facts: HostFacts, seen: Explanation) -> str:
    """The JSON document, of the same shape as every other command's."""
    import json

    return json.dumps(document(facts, seen), indent=2) + "\n"


def document(facts: HostFacts, seen: Explanation) -> Json:
    """The explanation as plain data."""
    return {
        "schema_version": SCHEMA_VERSION,
        "command": "explain",
        "ok": seen.runs,
        "exit_code": 0 if seen.runs else 1,
        "host": host_row(facts),
        "platforms": [],
        "entries": [entry_row(facts, entry) for entry in facts.registry.entries],
        "findings": [],
        "errors": [],
        "explanation": _explanation_row(seen),
    }


def _explanation_row(seen: Explanation) -> Json:
    failure, near = seen.failure, seen.steps[-1].near
    return {
        "file": _file_row(seen.found),
        "tree": seen.tree,
        "runs": seen.runs,
        "how": seen.how,
        "handler": seen.handler.name if seen.handler else None,
        "cause": failure.code if failure else None,
        "errno": (failure.errno or None) if failure else None,
        "reason": failure.message if failure else "",
        "container": seen.container,
        "loader": {"path": seen.loader, "exists": seen.loader_there} if seen.loader else None,
        "steps": [_step_row(step) for step in seen.steps],
        "nearest": {
            "name": near.entry.name,
            "offset": near.at,
            "field": field_name(near.at, near.entry.registration.magic[4:5] == b"\x02"),
            "has": near.has,
            "wants": near.wants,
            "mask": near.mask,
            "differing_bytes": near.differing,
        }
        if near
        else None,
        "notes": list(seen.notes),
        "hints": list(seen.hints),
    }


def _step_row(step: Step) -> Json:
    return {
        "path": step.found.path,
        "by": step.by,
        "candidates": [
            {
                "name": c.entry.name,
                "state": c.state,
                "interpreter": c.entry.interpreter,
                "flags": c.entry.flags,
            }
            for c in step.candidates
        ],
    }


def _file_row(found: Specimen) -> Json:
    elf, details, script = found.elf, found.details, found.script
    target = elf.target if elf else None
    return {
        "path": found.path,
        "kind": found.kind,
        "size": found.size,
        "description": "; ".join(_what(found)),
        "executable": found.executable,
        "script_interpreter": script.interpreter if script else None,
        "target": target.name if target else None,
        "elf": {
            "class": elf.bits,
            "byte_order": elf.order,
            "machine": elf.machine,
            "machine_name": machine_words(elf.machine),
            "osabi": elf.osabi,
            "type": elf.elf_type,
            "flags": elf.flags,
            "abi": list(abi_words(elf)),
            "attributes": dict(details.attributes) if details else {},
            "loader": (details.loader or None) if details else None,
            "problem": details.problem if details else "",
        }
        if elf
        else None,
    }
