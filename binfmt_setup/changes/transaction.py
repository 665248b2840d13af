"""The only writer: a transaction that tries out, begins, proves, commits, or rolls back.

What is written, in which order, and what a killed run leaves:

- an emulator is tried out where nobody else meets it; until then nothing is written;
- a new entry: its binfmt.d file, then the entry. Killed in between: a file without its entry,
  which the next run registers;
- a replacement: a covering entry with the new registration, which as the newest is matched
  first; it is proven; the file; the old entry out, the new one in; the covering entry out.
  Killed in between: the covering entry, by which `recovery` knows what to finish;
- a removal: the entry, then its file. So this tool's file is there whenever its entry is;
- units, their links and their script last, made from what was reached.

Each write is noted before it is made and says what stood before, so that whatever ends a
transaction early, it is taken back in reverse order. Signals wait while something is written.
"""

from __future__ import annotations

from binfmt_setup.changes import files
from binfmt_setup.changes.boot_steps import boot_plan
from binfmt_setup.changes.proof import pinned_another, require_judged, why_broken
from binfmt_setup.changes.recovery import covered_name
from binfmt_setup.changes.steps import (
    ChangeEntry,
    ChangeFile,
    ChangeLink,
    ControlUnit,
    Discard,
    Outcome,
    Reload,
    reverse,
)
from binfmt_setup.changes.work import Work
from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit
from binfmt_setup.model.records import NOTHING
from binfmt_setup.system.registry import Registry
from binfmt_setup.system.signals import undisturbed
from binfmt_setup.system.trial import Candidate

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from binfmt_setup.changes.steps import BootStep, Plan, Step, Written
    from binfmt_setup.changes.work import State
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult

    Examiner = Callable[[Sequence[Candidate], Sequence[str]], Mapping[str, str]]
    """Tells, by probe, why candidates are not to serve; and is told which probes run today."""


_RELOAD_SECONDS = 60.0
_UNIT_SECONDS = 120.0


class Transaction:
    """A plan that is carried out: every target by itself, done or taken back.

    `probes` holds the newest result of each probe; one that was got before the last change of
    its target is in `_stale` until it ran again; where the kernel then starts the very file that
    ran it in the trial, registered in the same way, that is its proof (`_tried`). Left early, by
    whatever, it rolls back. While probes run, `meanwhile` is called: one piece of other work each
    time.
    """

    def __init__(  # noqa: PLR0913 - the last two are for whoever has something to do
        self, host: Host, plan: Plan, facts: HostFacts,
        found: Mapping[str, ProbeResult] = NOTHING, meanwhile: Callable[[], None] = lambda: None, *,
        examine: Examiner | None = None,
    ) -> None:  # fmt: skip
        self.outcomes: list[Outcome] = []
        self.probes = dict(found)
        self.works = [Work(change) for change in plan.targets]
        self._host, self._plan, self._facts = host, plan, facts
        self._registry = Registry(host)
        self._meanwhile = meanwhile
        self._examine = examine
        self._before = dict(found)
        self._stale: set[str] = set()
        self._tried: Mapping[str, ProbeResult] = NOTHING
        self._starts: Sequence[ControlUnit] = ()

    @property
    def errors(self) -> tuple[BinfmtSetupError, ...]:
        """What went wrong."""
        return tuple(o.error for o in self.outcomes if o.error is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is not None:
            for work in self._those("begun", "proven"):
                self._roll_back(work)

    def carry_out(self) -> None:
        """Do all of it, up to what must be started without a lock."""
        with self:
            self.try_out()
            self.begin()
            self.prove()
            self.commit()
            self.settle()
        self.write_boot_files()
        self._discard()

    # -- the phases --------------------------------------------------------------------

    def try_out(self) -> None:
        """Let nobody else meet an emulator that does not work; writes nothing."""
        works = [w for w in self._those("planned") if self._needs_trial(w)]
        candidates = [
            Candidate(entry.after, tuple(p for p in work.probes if p in self._before))
            for work in works
            if (entry := work.change.entry) and entry.after
        ]
        if not candidates:
            return
        seen = self._host.try_out(candidates, self._meanwhile)
        for work in works:
            if why := why_broken(work.probes, self._before, seen):
                work.state = "rolled back"
                self._tell_failure(work, f"does not work and was not used ({why})")
        self._tried = {name: result for name, result in seen.items() if result.ok}
        self._examine_closely([work for work in works if work.state == "planned"], candidates)

    def _examine_closely(self, works: Sequence[Work], candidates: Sequence[Candidate]) -> None:
        """Let nobody else meet an emulator at which programs fail, where that was asked for."""
        left = {p for work in works for p in work.probes}
        wanted = [c for c in candidates if left.intersection(c.probes)]
        if self._examine is None or not wanted:
            return
        serving = [p for c in wanted for p in c.probes if self._before[p].ok]
        unfit = self._examine(wanted, serving)
        for work in works:
            if why := "; ".join(unfit[p] for p in work.probes if p in unfit):
                work.state = "rolled back"
                self._tell_failure(work, f"was not used ({why})")

    def begin(self) -> None:
        """Write what can be proven: new entries, and those that cover a replacement."""
        for work in self._those("planned"):
            self._write_all(work, work.beginning(), "begun")

    def prove(self) -> None:
        """Run the probes of what was begun, in the registry that everybody uses."""
        wanted = [w for w in self._those("begun") if w.change.prove and w.registers]
        self._run_again([probe for work in wanted for probe in work.probes])
        for work in self._those("begun"):
            if work in wanted and (why := self._disproof(work)):
                self._fail(work, f"{why} and was taken back")
            else:
                work.state = "proven"

    def commit(self) -> None:
        """Write the rest of each target that was proven."""
        for work in self._those("proven"):
            self._write_all(work, work.rest(), "committed")
        for leftover in self._plan.leftovers:
            self._remove_leftover(leftover)

    def settle(self) -> None:
        """Prove once more what changed since its proof: the last proof follows the last change."""
        self._run_again(sorted(self._stale))
        for work in self._those("committed"):
            if work.change.prove and work.registers and (why := self._disproof(work)):
                self._fail(work, f"{why} and was taken back")
        self._run_again(sorted(self._stale))
        for work in self._those("committed"):
            if work.change.entry:
                self._note(work.change.entry)
            for file in work.change.files:
                self._note(file)

    def write_boot_files(self) -> None:
        """Bring units, links and script to what was reached; all of them, or none."""
        reached = [work.change for work in self._those("committed")]
        boot = self._plan.boot
        if len(reached) < len(self.works):
            boot = boot_plan(self._facts, reached, self._plan.request)
        done: list[BootStep] = []
        try:
            for step in boot.steps:
                done.append(step)  # before it is done: so it is taken back for sure
                self._boot_step(step)
        except BinfmtSetupError as error:
            self._take_back_boot(done)
            if isinstance(done[-1], Reload) and not self._plan.request.persist:
                # Until the reboot it does without: a container may see a systemd and not reach it.
                self._host.say(error.message)
                self._note(done[-1], "rolled-back")
            else:
                self._note(done[-1], "failed", error)
        except BaseException:
            self._take_back_boot(done)
            raise
        else:
            for step in boot.steps:
                self._note(step)
            self._starts = boot.starts

    def start_units(self) -> None:
        """Start what is to run from now on: when no lock on the registry is held any more.

        The units write to the registry themselves, and wait for that lock; so all is proven
        once more after them.
        """
        for step in self._starts:
            try:
                self._control(step)
            except BinfmtSetupError as error:
                self._note(step, "failed", error)
            else:
                self._note(step)
        if self._starts:
            self._run_again([probe for work in self.works for probe in work.probes])

    # -- their parts -------------------------------------------------------------------

    def _those(self, *states: State) -> list[Work]:
        return [work for work in self.works if work.state in states]

    def _needs_trial(self, work: Work) -> bool:
        """Whether nobody knows yet that this very file does this: most that is registered.

        Where the same file serves already and works, and the program's name is passed on in the
        same way, a registration that differs in other flags needs no trial.
        """
        entry = work.change.entry
        if not (work.change.prove and entry and entry.after):
            return False
        disk = self._facts.emulators.identity_at(entry.after.interpreter)
        known = [self._before[probe] for probe in work.probes if probe in self._before]
        serves = entry.before is not None and ("P" in entry.before.flags) is (
            "P" in entry.after.flags
        )
        return bool(known) and not (serves and all(r.ok and r.pinned == disk for r in known))

    def _disproof(self, work: Work) -> str:
        """What speaks against a registration now that its probes ran; empty when nothing does."""
        if why := why_broken(work.probes, self._before, self.probes):
            return f"does not work ({why})"
        entry = work.change.entry
        after = entry.after if entry else None
        if after and pinned_another(self._facts.emulators, after, work.probes, self.probes):
            return "was replaced after it was judged"
        return ""

    def _require_judged_file(self, step: Written) -> None:
        """What is registered is the file that was judged, before and after; or EnvironmentUnfit."""
        if isinstance(step, ChangeEntry) and step.after is not None:
            path = step.after.interpreter
            require_judged(self._facts.emulators, path, self._host.status_of(path))

    def _run_again(self, probes: Sequence[str]) -> None:
        wanted = [probe for probe in dict.fromkeys(probes) if probe in self._before]
        if wanted:
            with self._host.prove(wanted, known=self._tried) as results:
                self._meanwhile()
                self._meanwhile()
                self.probes.update(results())
        self._stale.difference_update(probes)

    def _write_all(self, work: Work, steps: Sequence[Written], state: State) -> None:
        """Write all of it, or take back what the target has got so far."""
        if steps:
            self._stale.update(work.probes)
        step = None
        with undisturbed():
            try:
                for step in steps:
                    work.written.append(step)  # before it is done: so it is taken back for sure
                    self._require_judged_file(step)
                    self._write(step)
                    self._require_judged_file(step)
            except BinfmtSetupError as error:
                self._roll_back(work)
                self._tell_stop(work, step, error)
            else:
                work.state = state

    def _write(self, step: Written) -> None:
        if isinstance(step, ChangeFile):
            files.change_file(self._host, step)
        elif isinstance(step, ChangeLink):
            files.change_link(self._host, step)
        elif step.after is None:
            self._registry.delete(step.name)
        else:
            self._registry.register(step.after, mark=self._marks(step))

    def _marks(self, step: ChangeEntry) -> bool:
        """Whether the entry needs a mark to be known for ours: not one that comes back."""
        if self._facts.process.own_files or not self._facts.registry.own:
            return False
        stood = self._facts.registry.entry(step.name)
        return (
            stood is None
            or stood.standing != step.after
            or (step.name in self._facts.registry.marked)
        )

    def _fail(self, work: Work, words: str) -> None:
        self._roll_back(work)
        self._tell_failure(work, words)

    def _roll_back(self, work: Work) -> None:
        with undisturbed():
            self._stale.update(work.probes)
            work.state = "rolled back"
            self._take_back(work.written)

    def _take_back(self, written: list[Written]) -> None:
        """Undo in reverse order, each step only where it was really done."""
        while written:
            step = reverse(written.pop())
            if self._stands(step.after, step):
                continue
            if isinstance(step, ChangeEntry) and not self._stands(step.before, step):
                continue  # someone else's by now, or it never came
            try:
                self._write(step)
            except BinfmtSetupError as error:
                self._note(step, "failed", error)
                if isinstance(step, ChangeEntry) and step.after is not None:
                    return  # what covers it stays: the next run brings it to an end

    def _stands(self, wanted: object, step: Written) -> bool:
        """Whether what a step is about is in this state already."""
        if isinstance(step, ChangeEntry):
            entry = self._registry.entry(step.name)
            return (entry.standing if entry else None) == wanted
        if isinstance(step, ChangeLink):
            return (self._host.link_target(step.path) or None) == wanted
        there = self._host.text(step.path) if self._host.exists(step.path) else None
        return there == wanted

    def _remove_leftover(self, leftover: ChangeEntry) -> None:
        """What a killed run left goes once something else does its work, and not before."""
        if self._registry.entry(covered_name(leftover.name)) is None:
            return
        self._stale.update(self._before)
        try:
            self._registry.delete(leftover.name)
        except BinfmtSetupError as error:
            self._note(leftover, "failed", error)
        else:
            self._note(leftover)

    def _boot_step(self, step: BootStep) -> None:
        if isinstance(step, ChangeFile | ChangeLink):
            with undisturbed():
                self._write(step)
        elif isinstance(step, ControlUnit):
            self._control(step)
        else:
            self._host.checked(("systemctl", "daemon-reload"), _RELOAD_SECONDS)

    def _take_back_boot(self, done: Sequence[BootStep]) -> None:
        """Have the files as they were; a unit that was stopped runs on, without waiting for it."""
        with undisturbed():
            self._take_back([step for step in done if isinstance(step, ChangeFile | ChangeLink)])
        for step in done:
            if isinstance(step, ControlUnit):
                self._host.run(("systemctl", "--no-block", "start", step.target), _UNIT_SECONDS)

    def _control(self, step: ControlUnit) -> None:
        self._host.checked(
            ("systemctl", step.kind.removesuffix("-unit"), step.target),
            _UNIT_SECONDS,
            hint=f"see why: systemctl status {step.target}",
        )

    def _discard(self) -> None:
        for discard in self._plan.discards:
            if not self.errors:
                self._outcome_of_discard(discard)

    def _outcome_of_discard(self, discard: Discard) -> None:
        if error := files.discard_emulators(self._host, discard):
            self._note(discard, "failed", error)
        else:
            self._note(discard)

    # -- telling -----------------------------------------------------------------------

    def _note(
        self, step: Step, result: str = "done", error: BinfmtSetupError | None = None
    ) -> None:
        self.outcomes.append(Outcome(step, result, error))

    def _tell_failure(self, work: Work, words: str) -> None:
        entry = work.change.entry
        if entry and entry.after:
            error = EnvironmentUnfit(
                f"{entry.after.interpreter} {words}",
                hint="for its programs the host is as it was; try another QEMU with --qemu DIR",
                code="probe-failed",
            )
            self._note(entry, "rolled-back", error)

    def _tell_stop(self, work: Work, step: Written | None, error: BinfmtSetupError) -> None:
        """A step failed, and with it went its target."""
        entry = work.change.entry
        if isinstance(step, ChangeFile):
            self._note(step, "failed", self._persistence(error))
            if entry:
                self._note(entry, "rolled-back")
        elif entry:
            self._note(entry, "failed", error)

    def _persistence(self, error: BinfmtSetupError) -> BinfmtSetupError:
        """What to do where a binfmt.d file cannot be written, where one was asked for."""
        if self._plan.request.persist and error.code in ("read-only", "no-space"):
            hint = "use --no-persist to register until the next reboot only"
            return EnvironmentUnfit(error.message, hint=f"{error.hint}; or {hint}", code=error.code)
        return error
