"""What becomes of a file, as plain data."""

from __future__ import annotations

from binfmt_setup.explain.abi import abi_words, machine_words
from binfmt_setup.report.specimen_words import described, field_name

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.explain.explanation import Explanation, Step
    from binfmt_setup.explain.specimen import Specimen


def explanation_row(seen: Explanation) -> dict[str, object]:
    """The file, who runs it, and why not."""
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


def _step_row(step: Step) -> dict[str, object]:
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


def _problem(found: Specimen) -> str:
    """What is wrong with its program headers."""
    return found.loading.problem.words if found.loading and found.loading.problem else ""


def _file_row(found: Specimen) -> dict[str, object]:
    elf, details, script = found.elf, found.details, found.script
    target = elf.target if elf else None
    return {
        "path": found.path,
        "kind": found.kind,
        "size": found.size,
        "description": "; ".join(described(found)),
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
            "loader": found.loader or None,
            "problem": (details.problem if details else "") or _problem(found),
        }
        if elf
        else None,
    }
