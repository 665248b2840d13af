"""The only writer: carries out a plan's steps, proves them, and takes back what fails.

A replacement leaves no gap. A temporary entry with the new registration, which as the
newest is matched first, covers the moment between deleting the old entry and writing the
new one; it is also what is proven, so a bad emulator is seen before the old entry goes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from binfmt_setup.changes import files
from binfmt_setup.changes.steps import (
    ChangeEntry,
    ChangeFile,
    ChangeLink,
    ControlUnit,
    Discard,
    Plan,
    Prepare,
    Step,
    TargetChange,
)
from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit
from binfmt_setup.model.facts import SWAP_PREFIX
from binfmt_setup.model.records import NOTHING, Record, replace
from binfmt_setup.system.registry import Registry, explained

if TYPE_CHECKING:
    from binfmt_setup.changes.steps import BootStep
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult

Prover = Callable[[Sequence[str]], Mapping[str, "ProbeResult"]]
_MODPROBE_SECONDS = 30.0
_RELOAD_SECONDS = 60.0
_UNIT_SECONDS = 120.0


class Outcome(Record):
    """What became of a step: `planned`, `done`, `failed` or `rolled-back`, and why."""

    step: Step
    result: str
    error: BinfmtSetupError | None = None


class Applied:
    """The outcomes so far, in order, and the newest result of each probe."""

    def __init__(self, probes: Mapping[str, ProbeResult] = NOTHING) -> None:
        self.outcomes: list[Outcome] = []
        self.probes = dict(probes)

    def note(self, step: Step, result: str = "done", error: BinfmtSetupError | None = None) -> None:
        """Write down what became of a step."""
        self.outcomes.append(Outcome(step, result, error))

    @property
    def errors(self) -> tuple[BinfmtSetupError, ...]:
        """What went wrong."""
        return tuple(o.error for o in self.outcomes if o.error is not None)


class _Swap:
    """One entry on its way to a new registration.

    `live` is the name it has in the kernel at the moment, `written` the files made so far.
    """

    def __init__(self, change: TargetChange, entry: ChangeEntry, after: Registration) -> None:
        self.change = change
        self.entry = entry
        self.after = after
        self.live = ""
        self.written: list[ChangeFile] = []

    @property
    def covered(self) -> bool:
        """Whether an older entry of the name stays until the new registration is proven."""
        return self.entry.before is not None


def prepare(host: Host, steps: Sequence[Prepare], *, private: bool = False) -> list[Outcome]:
    """Load the module and mount the registry; raises EnvironmentUnfit or PrivilegesMissing."""
    outcomes = []
    for step in steps:
        if step.kind == "load-module":
            host.checked(("modprobe", step.target), _MODPROBE_SECONDS)
            outcomes.append(Outcome(step, "done"))
            continue
        try:
            new = Registry(host).mount(again=private)
        except OSError as error:
            raise explained(error, f"cannot mount binfmt_misc on {step.target}") from error
        if new:
            outcomes.append(Outcome(step, "done"))
    return outcomes


def carry_out(host: Host, plan: Plan, prove: Prover, before: Mapping[str, ProbeResult]) -> Applied:
    """Carry out a plan: attempt every target, report each, take back those that fail.

    `before` holds the probes' results before anything was changed: a replacement may not
    break what ran.
    """
    done = Applied(before)
    swaps = _start_swaps(host, plan.targets, done)
    try:
        _prove(swaps, prove, before, done)
        swaps = [swap for swap in swaps if _keep_if_proven(host, swap, before, done)]
        _finish_swaps(host, swaps, prove, done)
    except BaseException:
        for swap in swaps:
            _withdraw(host, swap)
        raise
    for change in plan.targets:
        if change.entry is None or change.entry.after is None:
            _remove(host, change, done)
    for step in plan.boot:
        _boot_step(host, step, done)
    for leftover in plan.leftovers:
        _delete_noted(host, leftover, done)
    for discard in plan.discards:
        discard_emulators(host, discard, done)
    return done


def _start_swaps(host: Host, changes: Sequence[TargetChange], done: Applied) -> list[_Swap]:
    """Register every new registration, beside the old entry where there is one."""
    swaps = []
    for change in changes:
        if change.entry is None or change.entry.after is None:
            continue
        swap = _Swap(change, change.entry, change.entry.after)
        name = SWAP_PREFIX + change.target.name if swap.covered else swap.after.name
        try:
            Registry(host).register(replace(swap.after, name=name))
        except BinfmtSetupError as error:
            done.note(change.entry, "failed", error)
        else:
            swap.live = name
            swaps.append(swap)
    return swaps


def _prove(
    swaps: Sequence[_Swap], prove: Prover, before: Mapping[str, ProbeResult], done: Applied
) -> None:
    """Run the probes of everything that was just registered, all at once."""
    wanted = [p.probe for s in swaps if s.change.prove for p in s.change.platforms]
    if wanted:
        done.probes.update(prove([probe for probe in wanted if probe in before]))


def _keep_if_proven(
    host: Host, swap: _Swap, before: Mapping[str, ProbeResult], done: Applied
) -> bool:
    """Write the files of a proven registration; withdraw one that failed."""
    why = _disproof(swap, before, done.probes) if swap.change.prove else ""
    if why:
        _withdraw(host, swap)
        done.probes.update(
            {p.probe: before[p.probe] for p in swap.change.platforms if p.probe in before}
        )
        error = EnvironmentUnfit(
            f"{swap.after.interpreter} does not work and was taken back ({why})",
            hint="the host is as it was; try another QEMU with --qemu DIR",
            code="probe-failed",
        )
        done.note(swap.entry, "rolled-back", error)
        return False
    for file in swap.change.files:
        try:
            files.change_file(host, file)
        except BinfmtSetupError as error:
            _withdraw(host, swap)
            done.note(file, "failed", error)
            done.note(swap.entry, "rolled-back")
            return False
        swap.written.append(file)
    return True


def _disproof(
    swap: _Swap, before: Mapping[str, ProbeResult], now: Mapping[str, ProbeResult]
) -> str:
    """Why a new registration must go: it breaks what ran, or nothing runs with it."""
    probes = [p.probe for p in swap.change.platforms if p.probe in now]
    broken = [probe for probe in probes if not now[probe].ok]
    if len(broken) == len(probes) or any(before[probe].ok for probe in broken):
        return "; ".join(f"{probe}: {now[probe].why()}" for probe in broken)
    return ""


def _finish_swaps(host: Host, swaps: Sequence[_Swap], prove: Prover, done: Applied) -> None:
    """Give every proven registration its own name, still without a gap."""
    again: list[str] = []
    for swap in swaps:
        try:
            if swap.covered:
                _exchange(host, swap)
                again += [p.probe for p in swap.change.platforms if p.probe in done.probes]
        except BinfmtSetupError as error:
            _withdraw(host, swap)
            done.note(swap.entry, "failed", error)
        else:
            swap.live = ""
            done.note(swap.entry)
            while swap.written:
                done.note(swap.written.pop(0))
    if again:
        done.probes.update(prove(again))


def _exchange(host: Host, swap: _Swap) -> None:
    """Old entry out, new entry in, temporary entry out.

    Whatever stops it, even a signal: the temporary entry serves until the old one is back.
    """
    before = swap.entry.before
    try:
        Registry(host).delete(swap.entry.name)
        Registry(host).register(swap.after)
    except BaseException:
        Registry(host).delete(swap.entry.name)
        if before is not None:
            Registry(host).register(before)
        raise
    temporary, swap.live = swap.live, ""
    Registry(host).delete(temporary)


def _withdraw(host: Host, swap: _Swap) -> None:
    """Take back what was done so far; the entry that stood before was never touched."""
    while swap.written:
        file = swap.written.pop()
        files.change_file(host, ChangeFile(file.path, file.after, file.before))
    if swap.live:
        live, swap.live = swap.live, ""
        Registry(host).delete(live)


def _remove(host: Host, change: TargetChange, done: Applied) -> None:
    """Carry out a change that registers nothing: an entry goes, files come or go."""
    if change.entry is not None:
        _delete_noted(host, change.entry, done)
    for file in change.files:
        try:
            files.change_file(host, file)
        except BinfmtSetupError as error:
            done.note(file, "failed", error)
        else:
            done.note(file)


def _delete_noted(host: Host, entry: ChangeEntry, done: Applied) -> None:
    try:
        Registry(host).delete(entry.name)
    except BinfmtSetupError as error:
        done.note(entry, "failed", error)
    else:
        done.note(entry)


def _boot_step(host: Host, step: BootStep, done: Applied) -> None:
    try:
        if isinstance(step, ChangeFile):
            files.change_file(host, step)
        elif isinstance(step, ChangeLink):
            files.change_link(host, step)
        elif isinstance(step, ControlUnit):
            _control_unit(host, step)
        else:
            host.checked(("systemctl", "daemon-reload"), _RELOAD_SECONDS)
    except BinfmtSetupError as error:
        done.note(step, "failed", error)
    else:
        done.note(step)


def start_units(host: Host, plan: Plan, done: Applied) -> None:
    """Start what a plan starts: after `carry_out`, and when no lock on the registry is held.

    The units write to the registry themselves, and wait for that lock.
    """
    for step in plan.starts:
        _boot_step(host, step, done)


def _control_unit(host: Host, step: ControlUnit) -> None:
    host.checked(
        ("systemctl", step.kind.removesuffix("-unit"), step.target),
        _UNIT_SECONDS,
        hint=f"see why: systemctl status {step.target}",
    )


def discard_emulators(host: Host, step: Discard, done: Applied) -> None:
    """Remove a directory of emulators, unless something could not be freed of it before."""
    if done.errors:
        return
    from binfmt_setup.emulators import discard

    try:
        discard.remove(host, step.stored)
    except OSError as error:
        done.note(step, "failed", explained(error, f"cannot remove {step.stored.directory}"))
    else:
        done.note(step)
