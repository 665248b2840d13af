"""Which entries take a file, and what of it loaders refuse: one step on a file's way."""

from __future__ import annotations

from binfmt_setup.explain.explanation import Candidate, Failure, NearMiss, Step
from binfmt_setup.explain.loading import is_for, kernel_refusal
from binfmt_setup.explain.mapping import lacks, refused

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.explain.loading import Loading
    from binfmt_setup.explain.mapping import Limits
    from binfmt_setup.explain.specimen import Specimen
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Target


_SMALLEST_LOADER = {32: 52, 64: 64}


def step_of(facts: HostFacts, found: Specimen) -> Step:
    """What the kernel does with one file; entries come before everything else."""
    candidates = tuple(_candidates(facts, found))
    if any(candidate.state == "handler" for candidate in candidates):
        return Step(found, "entry", candidates)
    if found.script is not None:
        return Step(found, "script", candidates)
    native = facts.kernel.native
    loading = found.as_one_of(native) if native else None
    if native and loading and is_for(loading, native) and not kernel_refusal(loading):
        return Step(found, "kernel", candidates)
    return Step(found, "nothing", candidates, None if candidates else nearest(facts, found))


def _candidates(facts: HostFacts, found: Specimen) -> list[Candidate]:
    """The entries that match, in the order in which the kernel asks them."""
    taken = False
    result = []
    for entry in facts.registry.entries:
        if not entry.registration.matches(found.head, found.path):
            continue
        live = entry.enabled and facts.registry.enabled is not False
        if not live:
            result.append(Candidate(entry, "disabled"))
        else:
            result.append(Candidate(entry, "shadowed" if taken else "handler"))
            taken = True
    return result


def nearest(facts: HostFacts, found: Specimen) -> NearMiss | None:
    """The entry for ELF programs that misses a file by the fewest bytes.

    One for the file's own target comes first: that it does not match is news.
    """
    if not found.starts_as_elf:
        return None
    target = found.elf.target if found.elf else None
    own = target.entry_name if target else ""
    misses = [
        miss for entry in facts.registry.entries if (miss := _miss(entry, found.head)) is not None
    ]  # fmt: skip
    return min(
        misses, key=lambda m: (not m.entry.name.startswith(own or "\0"), m.differing), default=None
    )


def _miss(entry: Entry, head: bytes) -> NearMiss | None:
    registration = entry.registration
    if registration.magic[:4] != b"\x7fELF" or registration.offset:
        return None
    mask = registration.mask or b"\xff" * len(registration.magic)
    padded = head[: len(mask)].ljust(len(mask), b"\0")
    differing = [
        at
        for at, (has, wants, bits) in enumerate(zip(padded, registration.magic, mask, strict=True))
        if (has ^ wants) & bits
    ]
    if not differing:
        return None
    at = differing[0]
    return NearMiss(entry, at, padded[at], registration.magic[at], mask[at], len(differing))


def next_file(step: Step) -> tuple[str, bool]:
    """The file that the kernel goes on with, and whether it is held open since registration."""
    if step.handler is not None:
        return step.handler.interpreter, "F" in step.handler.flags
    return (step.found.script.interpreter if step.found.script else ""), False


def unusable(there: Specimen, native: Target | None, limits: Limits) -> tuple[str, str] | None:
    """Why the kernel cannot use what lies at a loader's path, and the errno it gives."""
    words = {
        "missing": "is not there", "link-loop": "is a link that leads to itself",
        "unreadable": "may not be read",
    }.get(there.kind, "is no file")  # fmt: skip
    if there.kind != "file":
        number = {"missing": there.errno, "link-loop": "ELOOP"}.get(there.kind, "EACCES")
        return words, number
    if there.noexec or not there.executable:
        return "may not be executed", "EACCES"
    return _no_loader(there, native, limits) if native else None


def _no_loader(there: Specimen, native: Target, limits: Limits) -> tuple[str, str] | None:
    """The same of a file: it is looked at before there is no way back, and mapped after that."""
    if there.size < _SMALLEST_LOADER[native.bits]:
        return f"is {there.size} bytes long, too short for a program", "EIO"
    loading = there.as_one_of(native)
    if loading is None or not is_for(loading, native) or not loading.has_rows:
        return "is no program of this machine", "ELIBBAD"
    if not loading.is_program or lacks(loading, there.size):
        return ("is cut off" if loading.is_program else "is no program"), ""
    failure = refused(loading, there.size, "it", limits, is_loader=True)
    return (f"cannot be used: {failure.message}", "") if failure else None


def cut_off(found: Specimen) -> Failure:
    """How much of a file is there, of how much."""
    wanted = found.loading.ends if found.loading else 0
    if wanted > found.size:
        return Failure("cut-off", f"it is cut off: {found.size} of {wanted} bytes are there")
    if found.loading and found.loading.problem:
        return Failure("cut-off", f"it is cut off: {found.loading.problem.words}")
    return Failure("cut-off", f"it is cut off: {found.size} bytes are no whole ELF header")


def no_start(loading: Loading, what: str = "it") -> Failure | None:
    """Nothing can be said of a program but whether it has a place to start at."""
    if loading.starts:
        return None
    words = f"{what} is a shared library: it has no entry point"
    if loading.entry:
        words = f"{what} starts at {loading.entry:#x}, where nothing of it is loaded"
    return Failure("no-entry-point", words)
