"""What `install` would do, and write: for --check and for `unit`, with nothing changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.boot import units
from binfmt_setup.changes import plan
from binfmt_setup.changes.preparation import prepare
from binfmt_setup.changes.steps import Prepare, Step, Unpack
from binfmt_setup.changes.transaction import Outcome
from binfmt_setup.commands.provision import package_step, planned, wish_of, without_emulator
from binfmt_setup.commands.request import Asked, asked_for, probe, selected
from binfmt_setup.diagnosis.judge import judge, knows_f
from binfmt_setup.emulators import choice
from binfmt_setup.inspect.process import standing
from binfmt_setup.inspect.snapshot import snapshot, with_versions
from binfmt_setup.model.errors import EnvironmentUnfit, NoEmulator
from binfmt_setup.model.facts import OWN_DIRECTORY, SCRIPT_PATH, UNIT_PATH, HostFacts
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import targets_of
from binfmt_setup.report.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from binfmt_setup.commands.request import InstallOptions
    from binfmt_setup.system.host import Host
    from binfmt_setup.system.probes import ProbeResult


def install_planned(host: Host, facts: HostFacts, asked: Asked, options: InstallOptions) -> Result:
    """What install would do; writes nothing, mounts nothing, installs nothing.

    `facts` are those about where the process stands.
    """
    preparing = prepare(facts, private=options.private)
    facts, options, unpack = _foreseen(host, facts, asked, options)
    steps: tuple[Step, ...] = (*preparing, *unpack)
    if any(isinstance(step, Prepare) for step in steps):
        # What a registry holds that is yet to be mounted cannot be known: it is taken for empty.
        facts = replace(facts, entries=())
    found = probe(host, asked.platforms)
    wished = selected(facts, asked, found)
    todo = planned(host, facts, wished, found, options)
    lacking = without_emulator(todo, wished, asked)
    outcomes = [Outcome(step, "planned") for step in (*steps, *todo.steps)]
    errors = tuple(error for _, error in todo.problems)
    if lacking and options.install_qemu:
        packages = package_step(facts, lacking)
        outcomes.insert(len(steps), Outcome(packages, "planned"))
        errors = tuple(e for e in errors if not isinstance(e, NoEmulator))
    elif not wished:
        raise choice.missing(facts, targets_of(asked.platforms))
    _require_f(facts, found)
    verdict = judge(facts, wished, found)
    return Result("install", facts, verdict, tuple(outcomes), errors, check=True)


def _require_f(facts: HostFacts, found: Mapping[str, ProbeResult]) -> None:
    """What --check can foresee of a kernel without F; install itself tries, and sees."""
    emulated = any(probe.ok and not probe.native for probe in found.values())
    if facts.live and facts.kernel and not knows_f(facts, emulated=emulated):
        raise EnvironmentUnfit(
            f"Linux {facts.kernel} has no F flag, without which nothing works in containers",
            hint="update the kernel: Linux 4.8 or newer is needed", code="kernel-too-old",
        )  # fmt: skip


def _foreseen(
    host: Host, facts: HostFacts, asked: Asked, options: InstallOptions
) -> tuple[HostFacts, InstallOptions, tuple[Unpack, ...]]:
    """The host as it would be once a source is unpacked, and the step that this takes."""
    if options.source is None:
        facts = snapshot(host, asked.platforms, qemu_directory=options.qemu_directory)
        return facts, options, ()
    from binfmt_setup.sources import qemu_source  # archive formats cost start-up time

    source = options.source
    brought = qemu_source.bring(host, facts, source, write=False)
    options = replace(options, qemu_directory=brought.directory)
    facts = snapshot(host, asked.platforms, qemu_directory=brought.directory)
    unpack = (qemu_source.unpack_step(source, brought),) if brought.new else ()
    return qemu_source.foreseen(facts, brought, source), options, unpack


def unit(
    host: Host, names: Sequence[str], options: InstallOptions
) -> tuple[HostFacts, str, dict[str, str]]:
    """The unit that install would write, and the texts of all other files by their paths."""
    asked = asked_for(names)
    facts, options, _ = _foreseen(host, standing(host), asked, options)
    wished = selected(facts, asked, probe(host, asked.platforms))
    registrations = []
    for target in targets_of(wished):
        chosen = choice.choose(facts, target)
        if chosen is None:
            raise choice.missing(facts, [target])
        facts = with_versions(host, facts, [] if chosen.needs_binfmt_flags else [chosen.path])
        chosen = facts.interpreter(chosen.path)
        registrations.append(plan.wished_registration(facts, target, chosen, wish_of(options)))
    if not registrations:
        raise choice.missing(facts, targets_of(asked.platforms))
    files = {f"{OWN_DIRECTORY}/{r.name}.conf": units.config_text(r, None) for r in registrations}
    files[SCRIPT_PATH] = units.script_text()
    for group in units.unit_groups(facts, registrations):
        files |= units.render_units(group)
    main = UNIT_PATH if UNIT_PATH in files else next(p for p in files if p.endswith(".service"))
    text = files.pop(main)
    return facts, text, files
