"""Why a file runs, or why it does not: what the kernel would do with it, step by step.

Pure: facts of the host and a way to look at files go in, an `Explanation` comes out. It
follows exec_binprm() (fs/exec.c): entries are asked first, the newest first; then `#!`;
then the kernel's own ELF loader; and whatever names an interpreter starts it all again
for that file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.ownership import left_by
from binfmt_setup.explain import advice
from binfmt_setup.explain.abi import has_entry_point, kernel_refusal
from binfmt_setup.explain.explanation import Candidate, Cause, Explanation, Failure, NearMiss, Step
from binfmt_setup.explain.rights import rights_words

if TYPE_CHECKING:
    from binfmt_setup.explain.specimen import Specimen
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.probes import ProbeResult

MAX_REWRITES = 5
"""Interpreters of interpreters that the kernel follows: one more is ELOOP (exec_binprm)."""

Look = Callable[[str], "Specimen"]
Prove = Callable[["Target"], "ProbeResult | None"]


@dataclass
class _Walk:
    """The way of one file through the kernel, while it is being followed."""

    facts: HostFacts
    look: Look
    look_on_host: Look
    prove: Prove
    tree: str
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    loader: str = ""
    loader_there: bool = False

    def follow(self, path: str) -> Failure | None:
        """Take every step; what stops it, or None at a good end."""
        pinned = False
        for _ in range(MAX_REWRITES + 1):
            found = (self.look_on_host if pinned else self.look)(path)
            refused = self._refused(found, pinned=pinned)
            if refused is not None:
                self.steps.append(Step(found, "nothing"))
                return refused
            if pinned and found.kind != "file":
                self.notes.append(_gone(self.facts, path, self.steps[-1].handler))
                return self._guest_problem()
            step = _step(self.facts, found)
            self.steps.append(step)
            if step.handler is not None:
                path, pinned = step.handler.interpreter, "F" in step.handler.flags
            elif step.by == "script" and found.script:
                path, pinned = found.script.interpreter, False
            elif step.by == "kernel":
                return self._loader_problem(found) or self._guest_problem()
            else:
                return self._unhandled(found)
        return Failure("loop", _loop_words(self.steps), "ELOOP")

    def _refused(self, found: Specimen, *, pinned: bool) -> Failure | None:
        """What keeps the kernel from opening a file for execution (do_open_execat)."""
        if pinned:
            return None
        if found.kind == "missing":
            return self._missing(found)
        what = found.path if self.steps else "it"
        reasons: dict[str, tuple[Cause, str]] = {
            "link-loop": ("link-loop", "is a symbolic link that leads to itself"),
            "unreadable": ("unreadable", "may not be read by this user"),
            "fifo": ("not-a-file", "is a named pipe"),
            "directory": ("not-a-file", "is a directory"),
            "device": ("not-a-file", "is a device"),
            "socket": ("not-a-file", "is a socket"),
        }
        if found.noexec:
            reasons["file"] = "noexec", "lies on a mount with the option noexec"
        elif not found.executable:
            reasons["file"] = "not-executable", "has no executable bit"
        if found.kind not in reasons:
            return None
        code, words = reasons[found.kind]
        return Failure(code, f"{what} {words}", "ELOOP" if code == "link-loop" else "EACCES")

    def _missing(self, found: Specimen) -> Failure:
        """An interpreter that is not where the step before wants it."""
        before = self.steps[-1] if self.steps else None
        where = f" in {self.tree}" if self.tree != "/" else ""
        if before is None:
            return Failure("missing", f"there is no {found.path}{where}", "ENOENT")
        if before.handler is not None:
            words = f"entry {before.handler.name} has no F flag, and {found.path} is not there"
            return Failure("flag-f-missing", words + where, "ENOENT")
        if found.path.endswith("\r"):
            words = "its first line ends with CR LF, as on Windows: the CR counts as a part of"
            return Failure("carriage-return", f"{words} the interpreter's name", "ENOENT")
        words = f"its interpreter {found.path} (from the `#!` line) is not there"
        return Failure("script-interpreter-missing", words + where, "ENOENT")

    def _loader_problem(self, found: Specimen) -> Failure | None:
        """What stops a program of this machine: a cut-off file, or no loader."""
        if found.cut_off:
            return _cut_off(found)
        loader = found.details.loader if found.details else ""
        if not loader:
            return _no_start(found)
        there = self._loader_is_there(loader, ours=found is self.steps[0].found)
        if there:
            return None
        where = f" in {self.tree}" if self.tree != "/" else ""
        if any(step.handler for step in self.steps):
            words = f"{found.path} is dynamically linked, and its loader {loader} is not there"
            return Failure("interpreter-dynamic", words + where, "ENOENT")
        what = "its loader" if len(self.steps) == 1 else f"the loader of {found.path},"
        return Failure("loader-missing", f"{what} {loader} is not there{where}", "ENOENT")

    def _guest_problem(self) -> Failure | None:
        """What stops an emulated program once its emulator runs."""
        emulated = (s for s in self.steps if s.handler is not None and s.found.starts_as_elf)
        step = next(emulated, None)
        if step is None or step.handler is None:
            return None
        found = step.found
        if found.cut_off or found.elf is None:
            return _cut_off(found)
        loader = found.details.loader if found.details else ""
        if not loader:
            return _no_start(found)
        if self._loader_is_there(loader, ours=True) or self._in_prefix(found, loader):
            return None
        if "qemu" not in step.handler.interpreter:
            self.notes.append(f"its loader {loader} is not there; its interpreter may not need it")
            return None
        where = f" in {self.tree}" if self.tree != "/" else ""
        return Failure("loader-missing", f"its loader {loader} is not there{where}")

    def _in_prefix(self, found: Specimen, loader: str) -> bool:
        """Whether a loader lies where Debian's QEMU looks before it looks in the tree."""
        target = found.elf.target if found.elf else None
        prefix = f"/etc/qemu-binfmt/{target.name}" if target else ""
        if not prefix or self.look(prefix + loader).kind != "file":
            return False
        self.notes.append(f"its loader is found below {prefix}, where Debian's QEMU looks")
        return True

    def _loader_is_there(self, loader: str, *, ours: bool) -> bool:
        there = self.look(loader).kind == "file"
        if ours:
            self.loader, self.loader_there = loader, there
        return there

    def _unhandled(self, found: Specimen) -> Failure | None:
        """No entry and no loader of the kernel's for a file; None when it runs all the same."""
        facts, elf = self.facts, found.elf
        if found.details and found.details.loader:
            self._loader_is_there(found.details.loader, ours=found is self.steps[0].found)
        target = elf.target if elf else None
        relative = (
            facts.kernel.native is not None
            and target
            and target.name in facts.kernel.native.runs_also
        )
        blind = facts.registry.mount.state != "mounted"
        if target is not None and (relative or blind) and facts.live:
            result = self.prove(target)
            if result is not None and result.ok:
                self.notes.append(_proven(result, target))
                return self._guest_of_unseen(found, native=result.native)
        return advice.unhandled(facts, found, is_first=len(self.steps) == 1)

    def _guest_of_unseen(self, found: Specimen, *, native: bool) -> Failure | None:
        """A program that something runs, though no entry for it is to be seen."""
        if native:
            self.steps[-1] = Step(found, "kernel")
        problem = self._loader_problem(found)
        if problem is not None and not native:
            return Failure(problem.code, problem.message)
        return problem


def explain(  # noqa: PLR0913 - two trees and a judge are what it takes
    facts: HostFacts,
    path: str,
    *,
    look: Look,
    look_on_host: Look,
    prove: Prove,
    tree: str = "/",
) -> Explanation:
    """What becomes of the program at `path` when `tree` is the root directory.

    `look` reads a file of the tree, `look_on_host` one of the host, where interpreters
    with the F flag come from; `prove` runs a target's probe, or gives None.
    """
    walk = _Walk(facts, look, look_on_host, prove, tree)
    failure = walk.follow(path)
    notes = (*walk.notes, *rights_words(walk.steps))
    seen = Explanation(
        path, tree, tuple(walk.steps), failure, notes, walk.loader, walk.loader_there
    )
    return advice.advised(facts, seen)


def _step(facts: HostFacts, found: Specimen) -> Step:
    """What the kernel does with one file; entries come before everything else."""
    candidates = tuple(_candidates(facts, found))
    if any(candidate.state == "handler" for candidate in candidates):
        return Step(found, "entry", candidates)
    if found.script is not None:
        return Step(found, "script", candidates)
    elf, native = found.elf, facts.kernel.native
    if elf is not None and native is not None and elf.machine == native.machine:
        same = elf.bits == native.bits and elf.order == native.order
        if same and not kernel_refusal(elf):
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


def _cut_off(found: Specimen) -> Failure:
    wanted = found.details.ends if found.details else 0
    if wanted > found.size:
        return Failure("cut-off", f"it is cut off: {found.size} of {wanted} bytes are there")
    return Failure("cut-off", f"it is cut off: {found.size} bytes are no whole ELF header")


def _no_start(found: Specimen) -> Failure | None:
    """A static program needs nothing more than a place to start at."""
    if found.elf is None or has_entry_point(found.elf):
        return None
    return Failure("no-entry-point", "it is a shared library: it has no entry point")


def _gone(facts: HostFacts, path: str, entry: Entry | None) -> str:
    left = left_by(facts, entry) if entry else ""
    return f"{path} is not there any more{left}: what F pinned runs until the next reboot"


def _loop_words(steps: list[Step]) -> str:
    last = steps[-1]
    if last.handler is not None and last.handler.interpreter == last.found.path:
        return f"entry {last.handler.name} catches its own interpreter, {last.found.path}"
    return f"more than {MAX_REWRITES} interpreters call each other"


def _proven(result: ProbeResult, target: Target) -> str:
    if result.native:
        return f"this kernel runs {target.name} programs by itself: a probe did"
    return f"an entry not visible from here runs {target.name} programs: a probe did"
