"""What `install` does once it may: read, plan, apply, prove, and tell what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.changes import conditions, plan, transaction
from binfmt_setup.changes.steps import Plan, Prepare, Wish
from binfmt_setup.changes.transaction import Applied, Outcome
from binfmt_setup.commands.request import Asked, probe, selected
from binfmt_setup.emulators import choice
from binfmt_setup.inspect.snapshot import looked_again, snapshot, with_versions
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.targets import targets_of
from binfmt_setup.system import probes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from binfmt_setup.commands.request import InstallOptions
    from binfmt_setup.diagnosis.verdict import Verdict
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.report.result import Result
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


class Provided(Record):
    """The platforms that were meant, the host before, what was planned, and what was done."""

    platforms: tuple[Platform, ...]
    before: HostFacts
    plan: Plan
    applied: Applied


def provide(
    host: Host,
    asked: Asked,
    options: InstallOptions,
    results: Callable[[], Mapping[str, ProbeResult]],
    prepared: list[Outcome],
) -> Provided:
    """Plan and carry out the plan; `results` waits for the probes, which run already.

    Raises the typed error for whatever makes it pointless to try.
    """
    facts = snapshot(host, asked.platforms, qemu_directory=options.qemu_directory)
    conditions.require_registry(facts)
    found = results()
    wished = selected(facts, asked, found)
    todo = planned(host, facts, wished, found, options)
    lacking = without_emulator(todo, wished, asked)
    if lacking and options.install_qemu:
        prepared.append(_install_packages(host, facts, lacking))
        facts = snapshot(host, asked.platforms, qemu_directory=options.qemu_directory)
        found = probe(host, asked.platforms)
        wished = selected(facts, asked, found)
        todo = planned(host, facts, wished, found, options)
    if not wished:
        raise choice.missing(facts, targets_of(asked.platforms))
    for change in todo.targets:
        if change.entry is not None and change.entry.after is not None:
            host.say(choice.choice_explained(facts, change.target))
    return Provided(wished, facts, todo, transaction.carry_out(host, todo, _prove, found))


def _prove(names: Sequence[str]) -> Mapping[str, ProbeResult]:
    """Run probes; what judges and prints is imported in the time that they take."""
    with probes.running_probes(names) as results:
        from binfmt_setup.diagnosis import judge  # noqa: F401 - for those who need them next
        from binfmt_setup.report import text_report  # noqa: F401

        return results()


def concluded(
    host: Host, provided: Provided, prepared: Sequence[Outcome], *, persist: bool
) -> Result:
    """Start what is to run from now on, look at the host again, and judge it."""
    from binfmt_setup.boot.survival import no_init
    from binfmt_setup.diagnosis.judge import judge
    from binfmt_setup.report.result import Result

    facts, done = provided.before, provided.applied
    transaction.start_units(host, provided.plan, done)
    if prepared or done.outcomes:
        facts = looked_again(host, facts)
    verdict = judge(facts, provided.platforms, done.probes)
    errors = (*done.errors, *(error for _, error in provided.plan.problems))
    if persist and not errors and (why := no_init(facts)):
        verdict = _lost_at_reboot(verdict, why)
    return Result("install", facts, verdict, (*prepared, *done.outcomes), errors)


def _lost_at_reboot(verdict: Verdict, why: str) -> Verdict:
    """Everything was done but for what was asked: that it lasts. Said once, for all."""
    from binfmt_setup.diagnosis.verdict import Finding

    lost = Finding(
        "not-persistent", "warning", f"nothing of this will survive a reboot: {why}",
        "if that is fine (a container, a CI job): use --no-persist",
    )  # fmt: skip
    states = tuple(
        replace(state, findings=tuple(f for f in state.findings if f.code != lost.code))
        for state in verdict.platforms
    )
    return replace(verdict, platforms=states, findings=(*verdict.findings, lost))


def wish_of(options: InstallOptions) -> Wish:
    """What the plan depends on of the switches of `install`."""
    return Wish(
        options.persist, options.credentials, bool(options.qemu_directory), options.take_over
    )


def planned(
    host: Host,
    facts: HostFacts,
    wished: Sequence[Platform],
    found: Mapping[str, ProbeResult],
    options: InstallOptions,
) -> Plan:
    """The plan; QEMU is asked for its version only where the P flag depends on it."""
    chosen = (choice.choose(facts, target) for target in targets_of(wished))
    unsure = [c.path for c in chosen if c is not None and not c.needs_binfmt_flags]
    if facts.live:
        facts = with_versions(host, facts, unsure)
    return plan.plan_install(facts, wished, found, wish_of(options))


def without_emulator(todo: Plan, wished: Sequence[Platform], asked: Asked) -> tuple[Platform, ...]:
    """The platforms that wait for a package: without names, all container platforms."""
    if not wished:
        return asked.platforms
    lacking = {target for target, error in todo.problems if isinstance(error, NoEmulator)}
    return tuple(platform for platform in wished if platform.target in lacking)


def package_step(facts: HostFacts, lacking: Sequence[Platform]) -> Prepare:
    """The step that brings what these platforms lack."""
    from binfmt_setup.emulators.packages import package_command

    return Prepare("install-package", package_command(facts, targets_of(lacking)))


def _install_packages(host: Host, facts: HostFacts, lacking: Sequence[Platform]) -> Outcome:
    from binfmt_setup.emulators.packages import install_packages

    step = package_step(facts, lacking)
    install_packages(host, facts, targets_of(lacking))
    return Outcome(step, "done")
