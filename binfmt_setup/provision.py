"""The commands that change a host: install and uninstall, from facts to what was done."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from binfmt_setup import apply, boot, emulators, guards, packages, plan, probes, store
from binfmt_setup.apply import Applied, Outcome
from binfmt_setup.commands import Asked, Result, asked_for, probe, proving, selected, targets_of
from binfmt_setup.errors import (
    EnvironmentUnfit,
    NoEmulator,
)
from binfmt_setup.facts import OWN_DIRECTORY, SCRIPT_PATH, UNIT_PATH, HostFacts
from binfmt_setup.findings import Finding, Verdict, judge, knows_f
from binfmt_setup.persistence import no_init
from binfmt_setup.snapshot import looked_again, snapshot, standing, with_versions
from binfmt_setup.steps import Discard, Plan, Prepare, Step, Unpack, Wish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from binfmt_setup.host import Host
    from binfmt_setup.probes import ProbeResult
    from binfmt_setup.sources import Brought, Source
    from binfmt_setup.targets import Platform


@dataclass(frozen=True)
class InstallOptions:
    """The switches of `install`."""

    check: bool = False
    persist: bool = True
    private: bool = False
    credentials: bool = False
    qemu_directory: str = ""
    install_qemu: bool = False
    take_over: bool = False
    source: Source | None = None

    @property
    def wish(self) -> Wish:
        """Those that the plan depends on."""
        return Wish(self.persist, self.credentials, bool(self.qemu_directory), self.take_over)


def install(host: Host, names: Sequence[str], options: InstallOptions) -> Result:
    """Reach the wished state, or with `check` say what that would take.

    Raises the typed error for whatever stops the command as a whole.
    """
    asked = asked_for(names)
    facts = standing(host)
    guards.refuse_wrong_namespace(facts, private=options.private)
    if options.check:
        facts = snapshot(host, asked.platforms, qemu_directory=options.qemu_directory)
        return _install_planned(host, asked, facts, options)
    guards.require_root(facts)
    with guards.locked(host, private=options.private):
        steps = plan.prepare(facts, private=options.private)
        prepared = apply.prepare(host, steps, private=options.private)
        with _qemu_at_hand(host, facts, options, prepared) as ready, guards.registry_locked(host):
            facts, wished, todo, done = _install_locked(host, asked, ready, prepared)
    apply.start_units(host, todo, done)
    if prepared or done.outcomes:
        facts = looked_again(host, facts)
    result = _result(facts, wished, todo, prepared, done)
    if options.persist and not result.errors and (why := no_init(facts)):
        result = replace(result, verdict=_lost_at_reboot(result.verdict, why))
    return result


def _lost_at_reboot(verdict: Verdict, why: str) -> Verdict:
    """Everything was done but for what was asked: that it lasts. Said once, for all."""
    lost = Finding(
        "not-persistent", "warning", f"nothing of this will survive a reboot: {why}",
        "if that is fine (a container, a CI job): use --no-persist",
    )  # fmt: skip
    states = tuple(
        replace(state, findings=tuple(f for f in state.findings if f.code != lost.code))
        for state in verdict.platforms
    )
    return replace(verdict, platforms=states, findings=(*verdict.findings, lost))


@contextmanager
def _qemu_at_hand(
    host: Host, facts: HostFacts, options: InstallOptions, prepared: list[Outcome]
) -> Iterator[InstallOptions]:
    """The options with what --qemu names unpacked; gone again if nothing came to use it."""
    if options.source is None:
        yield options
        return
    from binfmt_setup import sources  # archive formats cost start-up time

    brought = sources.bring(host, facts, options.source, write=True)
    if brought.new:
        prepared.append(Outcome(_unpack_step(options.source, brought), "done"))
    try:
        yield replace(options, qemu_directory=brought.directory)
    finally:
        stored = store.stored_at(host, brought.directory) if brought.new else None
        if stored and stored.directory not in store.referenced(snapshot(host)):
            host.log(f"nothing uses {stored.directory}: removed again")
            apply.discard_emulators(host, Discard(stored), Applied())


def _unpack_step(source: Source, brought: Brought) -> Unpack:
    return Unpack(brought.directory, source.name, brought.digest)


def _install_locked(
    host: Host, asked: Asked, options: InstallOptions, prepared: list[Outcome]
) -> tuple[HostFacts, tuple[Platform, ...], Plan, Applied]:
    with proving(host, asked.platforms) as results:
        facts = snapshot(host, asked.platforms, qemu_directory=options.qemu_directory)
        guards.require_registry(facts)
        found = results()
    wished = selected(facts, asked, found)
    todo = _planned(host, facts, wished, found, options)
    lacking = _without_emulator(todo, wished, asked)
    if lacking and options.install_qemu:
        prepared.append(_install_packages(host, facts, lacking))
        facts = snapshot(host, asked.platforms, qemu_directory=options.qemu_directory)
        found = probe(host, asked.platforms)
        wished = selected(facts, asked, found)
        todo = _planned(host, facts, wished, found, options)
    if not wished:
        raise emulators.missing(facts, targets_of(asked.platforms))
    for change in todo.targets:
        if change.entry is not None and change.entry.after is not None:
            host.say(emulators.choice_explained(facts, change.target))
    return facts, wished, todo, apply.carry_out(host, todo, probes.run_probes, found)


def _result(
    facts: HostFacts,
    wished: Sequence[Platform],
    todo: Plan,
    prepared: Sequence[Outcome],
    done: Applied,
) -> Result:
    stopped = tuple(error for _, error in todo.problems)
    return Result(
        "install",
        facts,
        judge(facts, wished, done.probes),
        (*prepared, *done.outcomes),
        (*done.errors, *stopped),
    )


def _install_planned(host: Host, asked: Asked, facts: HostFacts, options: InstallOptions) -> Result:
    """What install would do; writes nothing, mounts nothing, installs nothing."""
    steps: tuple[Step, ...] = plan.prepare(facts, private=options.private)
    if options.source is not None:
        facts, options, unpack = _foreseen(host, asked, facts, options, options.source)
        steps = (*steps, *unpack)
    if any(isinstance(step, Prepare) for step in steps):
        # What a registry holds that is yet to be mounted cannot be known: it is taken for empty.
        facts = replace(facts, entries=())
    found = probe(host, asked.platforms)
    wished = selected(facts, asked, found)
    todo = _planned(host, facts, wished, found, options)
    lacking = _without_emulator(todo, wished, asked)
    planned = [Outcome(step, "planned") for step in (*steps, *todo.steps)]
    errors = tuple(error for _, error in todo.problems)
    if lacking and options.install_qemu:
        packages = _package_step(facts, lacking)
        planned.insert(len(steps), Outcome(packages, "planned"))
        errors = tuple(e for e in errors if not isinstance(e, NoEmulator))
    elif not wished:
        raise emulators.missing(facts, targets_of(asked.platforms))
    _require_f(facts, found)
    verdict = judge(facts, wished, found)
    return Result("install", facts, verdict, tuple(planned), errors, check=True)


def _require_f(facts: HostFacts, found: Mapping[str, ProbeResult]) -> None:
    """What --check can foresee of a kernel without F; install itself tries, and sees."""
    emulated = any(probe.ok and not probe.native for probe in found.values())
    if facts.live and facts.kernel and not knows_f(facts, emulated=emulated):
        raise EnvironmentUnfit(
            f"Linux {facts.kernel} has no F flag, without which nothing works in containers",
            hint="update the kernel: Linux 4.8 or newer is needed", code="kernel-too-old",
        )  # fmt: skip


def _foreseen(
    host: Host, asked: Asked, facts: HostFacts, options: InstallOptions, source: Source
) -> tuple[HostFacts, InstallOptions, tuple[Unpack, ...]]:
    """The facts as they would be once the source is unpacked, and the step that it takes."""
    from binfmt_setup import sources  # archive formats cost start-up time

    brought = sources.bring(host, facts, source, write=False)
    options = replace(options, qemu_directory=brought.directory)
    facts = snapshot(host, asked.platforms, qemu_directory=brought.directory)
    unpack = (_unpack_step(source, brought),) if brought.new else ()
    return sources.foreseen(facts, brought, source), options, unpack


def _planned(
    host: Host,
    facts: HostFacts,
    wished: Sequence[Platform],
    found: Mapping[str, ProbeResult],
    options: InstallOptions,
) -> Plan:
    """The plan; QEMU is asked for its version only where the P flag depends on it."""
    chosen = (emulators.choose(facts, target) for target in targets_of(wished))
    unsure = [c.path for c in chosen if c is not None and not c.needs_binfmt_flags]
    if facts.live:
        facts = with_versions(host, facts, unsure)
    return plan.plan_install(facts, wished, found, options.wish)


def _without_emulator(todo: Plan, wished: Sequence[Platform], asked: Asked) -> tuple[Platform, ...]:
    """The platforms that wait for a package: without names, all container platforms."""
    if not wished:
        return asked.platforms
    lacking = {target for target, error in todo.problems if isinstance(error, NoEmulator)}
    return tuple(platform for platform in wished if platform.target in lacking)


def _package_step(facts: HostFacts, lacking: Sequence[Platform]) -> Prepare:
    return Prepare("install-package", packages.package_command(facts, targets_of(lacking)))


def _install_packages(host: Host, facts: HostFacts, lacking: Sequence[Platform]) -> Outcome:
    step = _package_step(facts, lacking)
    packages.install_packages(host, facts, targets_of(lacking))
    return Outcome(step, "done")


def uninstall(
    host: Host, names: Sequence[str], *, check_only: bool = False, force: bool = False,
    private: bool = False,
) -> Result:  # fmt: skip
    """Remove exactly what this tool made for these platforms (all: none named)."""
    targets = targets_of(asked_for(names).platforms) if names else []
    facts = snapshot(host)
    guards.refuse_wrong_namespace(facts, private=private)
    kept = _kept(host, facts)
    todo = plan.plan_uninstall(facts, targets, kept)
    if check_only:
        planned = tuple(Outcome(step, "planned") for step in todo.steps)
        return Result("uninstall", facts, outcomes=planned, check=True)
    guards.require_root(facts)
    with guards.locked(host, private=private), guards.registry_locked(host):
        facts = snapshot(host)
        todo = plan.plan_uninstall(facts, targets, _kept(host, facts))
        if not force:
            _refuse_while_in_use(host, facts, todo)
        done = apply.carry_out(host, todo, lambda _: {}, {})
    apply.start_units(host, todo, done)
    return Result("uninstall", snapshot(host), outcomes=tuple(done.outcomes), errors=done.errors)


def _kept(host: Host, facts: HostFacts) -> list[store.Stored]:
    """All that --qemu brought, in the usual place and beside what entries point to."""
    pointed_to = (d for d in store.referenced(facts) if store.stored_at(host, d))
    places = {store.STORE, *(directory.rpartition("/")[0] for directory in pointed_to)}
    return [stored for place in sorted(places) for stored in store.everything_in(host, place)]


def _refuse_while_in_use(host: Host, facts: HostFacts, todo: Plan) -> None:
    """Raises EnvironmentUnfit while programs run under an emulator that is about to go."""
    going = [c.target for c in todo.targets if c.entry is not None and c.entry.after is None]
    paths = [c.entry.before.interpreter for c in todo.targets if c.entry and c.entry.before]
    if not going or not host.live:
        return
    pinned = probes.run_probes([p.probe for target in going for p in target.platforms])
    identities = {result.pinned for result in pinned.values() if result.pinned}
    identities |= {facts.interpreter(path).identity for path in paths}
    running = host.processes_of({i for i in identities if i != (0, 0)})
    if running:
        listed = "\n".join(f"  {pid}  {command}" for pid, command in running[:20])
        raise EnvironmentUnfit(
            f"{len(running)} running processes depend on an emulator that would go:\n{listed}",
            hint="end them first, or use --force: they run on but cannot start new programs",
            code="in-use",
        )


def unit(
    host: Host, names: Sequence[str], options: InstallOptions
) -> tuple[HostFacts, str, dict[str, str]]:
    """The unit that install would write, and the texts of all other files by their paths."""
    asked = asked_for(names)
    facts = snapshot(host, asked.platforms, qemu_directory=options.qemu_directory)
    if options.source is not None:
        facts, options, _ = _foreseen(host, asked, facts, options, options.source)
    wished = selected(facts, asked, probe(host, asked.platforms))
    registrations = []
    for target in targets_of(wished):
        chosen = emulators.choose(facts, target)
        if chosen is None:
            raise emulators.missing(facts, [target])
        facts = with_versions(host, facts, [] if chosen.needs_binfmt_flags else [chosen.path])
        chosen = facts.interpreter(chosen.path)
        registrations.append(plan.wished_registration(facts, target, chosen, options.wish))
    if not registrations:
        raise emulators.missing(facts, targets_of(asked.platforms))
    files = {f"{OWN_DIRECTORY}/{r.name}.conf": boot.config_text(r, None) for r in registrations}
    files[SCRIPT_PATH] = boot.script_text()
    for group in boot.unit_groups(facts, registrations):
        files |= boot.render_units(group)
    main = UNIT_PATH if UNIT_PATH in files else next(p for p in files if p.endswith(".service"))
    text = files.pop(main)
    return facts, text, files
