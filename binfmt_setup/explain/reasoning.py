"""Why a file runs, or why it does not: what the kernel would do with it, step by step.

Pure: facts of the host and a way to look at files go in, an `Explanation` comes out. It
follows exec_binprm() (fs/exec.c): entries are asked first, the newest first; then `#!`;
then the kernel's own ELF loader; and whatever names an interpreter starts it all again
for that file. Where an entry or a relative of this machine decides, a probe has the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.ownership import left_by
from binfmt_setup.explain import advice
from binfmt_setup.explain.explanation import Cause, Explanation, Failure, Step
from binfmt_setup.explain.loading import is_for, kernel_refusal, qemu_refusal
from binfmt_setup.explain.mapping import UNLIMITED, lacks, refused
from binfmt_setup.explain.matching import cut_off, next_file, no_start, step_of, unusable
from binfmt_setup.explain.rights import rights_words
from binfmt_setup.explain.scripts import call_of_env
from binfmt_setup.model.reading import Unreadable
from binfmt_setup.model.targets import target_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.explain.loading import Loading
    from binfmt_setup.explain.mapping import Limits
    from binfmt_setup.explain.scripts import EnvCall, Script
    from binfmt_setup.explain.specimen import Specimen
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Platform, Target
    from binfmt_setup.system.probes import ProbeResult

MAX_REWRITES = 5
"""Interpreters of interpreters that the kernel follows: one more is ELOOP (exec_binprm)."""
_MAX_STARTS = 5  # programs that start each other, as env(1) does

Look = Callable[[str], "Specimen"]
Prove = Callable[["Platform"], "ProbeResult | None"]
Start = Callable[["Platform", str], "ProbeResult | None"]
Find = Callable[[str, "str | None"], str]


@dataclass
class _Walk:
    """The way of one file through the kernel, while it is being followed."""

    facts: HostFacts
    look: Look
    look_on_host: Look
    prove: Prove
    start: Start
    find: Find
    tree: str
    limits: Limits
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    loader: str = ""
    loader_there: bool = False
    probed: ProbeResult | None = None
    starts: int = 0

    def follow(self, path: str) -> Failure | None:
        """Take every step of one execve; what stops it, or None at a good end."""
        pinned = opened = False
        first = len(self.steps)
        for _ in range(MAX_REWRITES + 1):
            found = (self.look_on_host if pinned else self.look)(path)
            refused = self._refused(found, pinned=pinned, first=len(self.steps) == first)
            if refused is not None:
                self.steps.append(Step(found, "nothing"))
                return refused
            if pinned and found.kind != "file":
                self.notes.append(_gone(self.facts, path, self.steps[-1].handler))
                return self._guest_problem(first)
            step = step_of(self.facts, found)
            self.steps.append(step)
            if step.by not in ("entry", "script"):
                return self._end(found, first)
            path, pinned = next_file(step)
            if opened:
                return self._second_rewrite(step, path, pinned=pinned)
            opened = step.handler is not None and "O" in step.handler.flags
        return Failure("loop", _loop_words(self.steps), "ELOOP")

    def _end(self, found: Specimen, first: int) -> Failure | None:
        """What becomes of it when the kernel's own loader is all that is left."""
        if self.steps[-1].by == "nothing":
            return self._unhandled(found, first)
        native = self.facts.kernel.native
        loading = found.as_one_of(native) if native else None
        return (
            self._loader_problem(found, loading, native, first)
            or self._script_problem(first)
            or self._guest_problem(first)
        )

    def _second_rewrite(self, step: Step, path: str, *, pinned: bool) -> Failure:
        """The kernel holds the first file open for its interpreter, and gives up at a second."""
        refused = self._refused((self.look_on_host if pinned else self.look)(path), pinned=pinned)
        if refused is not None:
            return refused
        entry = next(s.handler for s in self.steps if s.handler is not None)
        what = "a script" if step.by == "script" else f"run by entry {step.handler_name}"
        words = (
            f"entry {entry.name} has the program opened for its interpreter (flag O), and "
            f"{step.found.path} is {what} in turn"
        )
        return Failure("second-interpreter", words, "ENOEXEC")

    def _refused(self, found: Specimen, *, pinned: bool, first: bool = False) -> Failure | None:
        """What keeps the kernel from opening a file for execution (do_open_execat)."""
        if pinned:
            return None
        if found.kind == "missing":
            return self._missing(found, first=first)
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
            reasons["file"] = "not-executable", "has no executable bit for this user"
        if found.kind not in reasons:
            return None
        code, words = reasons[found.kind]
        return Failure(code, f"{what} {words}", "ELOOP" if code == "link-loop" else "EACCES")

    def _missing(self, found: Specimen, *, first: bool) -> Failure:
        """A file, or an interpreter, that is not where the step before wants it."""
        before = None if first or not self.steps else self.steps[-1]
        where = self._where
        if before is None:
            return Failure("missing", f"there is no {found.path}{where}", found.errno)
        if before.handler is not None:
            words = f"entry {before.handler.name} has no F flag, and {found.path} is not there"
            return Failure("flag-f-missing", words + where, found.errno)
        if found.path.endswith("\r"):
            words = "its first line ends with CR LF, as on Windows: the CR counts as a part of"
            return Failure("carriage-return", f"{words} the interpreter's name", found.errno)
        words = f"its interpreter {found.path} (from the `#!` line) is not there"
        return Failure("script-interpreter-missing", words + where, found.errno)

    @property
    def _where(self) -> str:
        return f" in {self.tree}" if self.tree != "/" else ""

    def _loader_problem(
        self, found: Specimen, loading: Loading | None, target: Target | None, first: int
    ) -> Failure | None:
        """What stops a program of this machine: its loader, or how it wants to be loaded."""
        if loading is None:
            return cut_off(found)
        name = loading.loader
        if name is not None and (broken := self._broken_loader(found, name, target, first)):
            return broken
        what = "it" if found is self.steps[0].found else found.path
        return self._segment_problem(found, loading, what, self.limits)

    def _segment_problem(
        self, found: Specimen, loading: Loading, what: str, limits: Limits | None
    ) -> Failure | None:
        """What comes of its segments; what is missing behind a file's end reads as zeros."""
        if lacks(loading, found.size):
            return cut_off(found)
        missing = loading.ends - found.size
        if missing > 0:
            self.notes.append(f"{what} is cut off: its last {missing} bytes are zeros when it runs")
        return refused(loading, found.size, what, limits)

    def _broken_loader(
        self, found: Specimen, loader: str, target: Target | None, first: int
    ) -> Failure | None:
        there = self._seen_loader(loader, ours=found is self.steps[0].found)
        broken = unusable(there, target, self.limits)
        if broken is None:
            return None
        words, number = broken
        if any(step.handler for step in self.steps[first:]):
            words = f"{found.path} is dynamically linked, and its loader {loader} {words}"
            return Failure("interpreter-dynamic", words + self._where, number)
        what = "its loader" if len(self.steps) == 1 else f"the loader of {found.path},"
        code: Cause = "loader-missing" if there.kind == "missing" else "loader-unusable"
        return Failure(code, f"{what} {loader} {words}{self._where}", number)

    def _script_problem(self, first: int) -> Failure | None:
        """What stops a script, or the script that stands for an emulator, once its shell runs."""
        for number, step in enumerate(self.steps[first:], first):
            if step.by != "script" or step.found.script is None:
                continue
            handler = self.steps[number - 1].handler if number > first else None
            if handler is not None and self.look(step.found.path).kind != "file":
                words = f"{step.found.path} is a script: its shell opens it by its path, which"
                return Failure("interpreter-script", f"{words} is not there{self._where}")
            if (problem := self._argument_problem(step.found.script)) is not None:
                return problem
        return None

    def _argument_problem(self, script: Script) -> Failure | None:
        """What an interpreter makes of the one argument that the kernel hands over."""
        if script.stumbles:
            words = "its first line ends with CR LF, as on Windows: the CR counts as a part of"
            return Failure("carriage-return", f"{words} what {script.interpreter} is given")
        return self._env_problem(script) if script.is_env else None

    def _env_problem(self, script: Script) -> Failure | None:
        """What becomes of the program that env(1) is to start."""
        call, env = call_of_env(script.argument), script.interpreter
        if call is None:
            self.notes.append(f"what {env} does with its options is not known")
            return None
        if call.program is None and not call.refused:
            self.notes.append(f"{env} prints something, and starts no program")
            return None
        path = ""
        if (problem := self._nothing_for_env(call, env)) is None and call.program:
            path = call.program if "/" in call.program else self.find(call.program, call.path)
            problem = None if path else self._not_found(call.program, env)
        if problem is not None:
            return problem
        self.starts += 1
        if self.starts > _MAX_STARTS:
            return Failure("loop", "more than five programs start each other")
        failure = self.follow(path)
        return None if failure is None else Failure(failure.code, failure.message)

    def _nothing_for_env(self, call: EnvCall, env: str) -> Failure | None:
        """Why env does not even look for a program."""
        if call.program == "":
            words = f"its first line names no program, so {env} starts it again, and again"
            return Failure("loop", words)
        words = f"{env} {call.refused}" if call.refused else ""
        if call.directory and self.look(call.directory).kind != "directory":
            words = f"{env} cannot change to {call.directory}{self._where}"
        return Failure("script-interpreter-missing", words) if words else None

    def _not_found(self, name: str, env: str) -> Failure:
        split = "" if " " not in name else ", which is one name without env -S"
        words = f"{env} finds no {name} in PATH{self._where}{split}"
        return Failure("script-interpreter-missing", words)

    def _guest_problem(self, first: int) -> Failure | None:
        """What stops an emulated program once its emulator runs; its probe decides about that."""
        emulated = (s for s in self.steps[first:] if s.handler and s.found.starts_as_elf)
        step = next(emulated, None)
        if step is None or step.handler is None:
            return None
        return self._emulator_problem(step, step.handler) or self._guest_file_problem(
            step.found, step.handler
        )

    def _guest_file_problem(self, found: Specimen, handler: Entry) -> Failure | None:
        loading, qemu = found.loading, "qemu" in handler.interpreter
        if loading is None:
            return cut_off(found) if found.cut_off or qemu else None
        refusal = qemu_refusal(loading) if qemu else loading.problem
        if refusal is not None and refusal.cut:
            return cut_off(found)
        if refusal is not None:
            return Failure("no-program", refusal.words)
        problem = self._segment_problem(found, loading, "it", None) if qemu else no_start(loading)
        if problem is not None or loading.loader is None:
            return problem
        return self._guest_loader_problem(found, loading.loader, needs_it=qemu)

    def _guest_loader_problem(
        self, found: Specimen, loader: str, *, needs_it: bool
    ) -> Failure | None:
        there = self._seen_loader(loader, ours=True)
        if there.kind == "file" or self._in_prefix(found, loader):
            return None
        if not needs_it:
            self.notes.append(f"its loader {loader} is not there; its interpreter may not need it")
            return None
        return Failure("loader-missing", f"its loader {loader} is not there{self._where}")

    def _emulator_problem(self, step: Step, handler: Entry) -> Failure | None:
        """A probe of the same target that the same entry takes has the last word on it.

        Without F no empty root has the interpreter: there it is started directly on the probe.
        """
        target = step.found.elf.target if step.found.elf else None
        platform = advice.variant(step.found, target) if target else None
        if platform is None or self.facts.registry.handler(platform.header) is not handler:
            return None
        result = self.probed = self.prove(platform)
        if result is not None and result.errno and "F" not in handler.flags:
            result = self.start(platform, handler.interpreter)
        if result is None or result.ok:
            return None
        if result.errno and not self._alone(handler):
            return None  # no more is said than that an empty root has not what it needs
        words = f"{handler.interpreter} does not run the probe of {platform}: {result.why()}"
        if result.arguments_shifted:
            words = f"kernel and {handler.interpreter} disagree about the P flag"
        return Failure("emulator-fails", words, advice.errno_name(result.errno))

    def _alone(self, handler: Entry) -> bool:
        """Whether an interpreter needs nothing but itself."""
        file = self.facts.emulators.file_at(handler.interpreter)
        return file is not None and file.elf is not None and file.elf.static

    def _in_prefix(self, found: Specimen, loader: str) -> bool:
        """Whether a loader lies where Debian's QEMU looks before it looks in the tree."""
        target = found.elf.target if found.elf else None
        prefix = f"/etc/qemu-binfmt/{target.name}" if target else ""
        if not prefix or self.look(prefix + loader).kind != "file":
            return False
        self.notes.append(f"its loader is found below {prefix}, where Debian's QEMU looks")
        return True

    def _seen_loader(self, loader: str, *, ours: bool) -> Specimen:
        found = self.look(loader)
        if ours:
            self.loader, self.loader_there = loader, found.kind == "file"
        return found

    def _unhandled(self, found: Specimen, first: int) -> Failure | None:
        """No entry and no loader of the kernel's for a file; None when it runs all the same."""
        facts, elf = self.facts, found.elf
        if found.loader:
            self._seen_loader(found.loader, ours=found is self.steps[0].found)
        for relative in _relatives(facts):
            loading = found.as_one_of(relative)
            fits = loading and is_for(loading, relative) and not kernel_refusal(loading)
            if fits and self._runs_itself(relative):
                self.steps[-1] = Step(found, "kernel")
                return self._loader_problem(found, loading, relative, first)
        target = elf.target if elf else None
        if target is None or not facts.live or not _blind(facts):
            return advice.unhandled(facts, found, is_first=first == len(self.steps) - 1)
        result = self.probed = self.prove(advice.variant(found, target))
        if result is not None and result.ok:
            self.notes.append(f"an entry not visible from here runs {target.name}: a probe did")
            problem = self._loader_problem(found, found.loading, target, first)
            return Failure(problem.code, problem.message) if problem else None
        return advice.unseen(facts, found, result)

    def _runs_itself(self, relative: Target) -> bool:
        """Whether this kernel runs a relative of its machine, entries or not."""
        if relative.name in self.facts.kernel.behind_entries:
            return True
        result = self.prove(relative.platforms[0]) if self.facts.live else None
        if result is None or not result.ok or not result.native:
            return False
        self.notes.append(f"this kernel runs {relative.name} programs by itself: a probe did")
        return True


def explain(  # noqa: PLR0913 - two trees, a judge, PATH and limits are what it takes
    facts: HostFacts,
    path: str,
    *,
    look: Look,
    look_on_host: Look,
    prove: Prove,
    start: Start = lambda _, __: None,
    find: Find = lambda _name, _path: "",
    tree: str = "/",
    limits: Limits = UNLIMITED,
) -> Explanation:
    """What becomes of the program at `path` when `tree` is the root directory.

    `look` reads a file of the tree, `look_on_host` one of the host, where interpreters
    with the F flag come from; `prove` runs a platform's probe, or gives None, and
    `start` an emulator on it directly; `find` looks a name
    up in the tree: in a PATH, or where that is None in the caller's.
    """
    walk = _Walk(facts, look, look_on_host, prove, start, find, tree, limits)
    failure = walk.follow(path)
    notes = (*walk.notes, *_caught(facts, walk.steps), *rights_words(walk.steps))
    seen = Explanation(
        path, tree, tuple(walk.steps), failure, notes, walk.loader, walk.loader_there
    )
    return advice.advised(facts, seen, walk.probed)


def _caught(facts: HostFacts, steps: list[Step]) -> Iterator[str]:
    """Entries on the way that take what this kernel runs itself."""
    for step in steps:
        for name in facts.kernel.caught_by(step.handler.registration) if step.handler else ():
            entry = step.handler_name
            yield f"this kernel runs {name} programs by itself: entry {entry} is in the way"


def _blind(facts: HostFacts) -> bool:
    """Whether there may be entries that cannot be seen."""
    registry = facts.registry
    unread = not registry.complete
    return registry.mount.state != "mounted" or unread or isinstance(registry.enabled, Unreadable)


def _relatives(facts: HostFacts) -> Iterator[Target]:
    """The other targets whose programs this machine's kernel may run itself."""
    native = facts.kernel.native
    return (target_named(name) for name in native.runs_also) if native else iter(())


def _gone(facts: HostFacts, path: str, entry: Entry | None) -> str:
    left = left_by(facts, entry) if entry else ""
    return f"{path} is not there any more{left}: what F pinned runs until the next reboot"


def _loop_words(steps: list[Step]) -> str:
    last = steps[-1]
    if last.handler is not None and last.handler.interpreter == last.found.path:
        return f"entry {last.handler.name} catches its own interpreter, {last.found.path}"
    return f"more than {MAX_REWRITES} interpreters call each other"
