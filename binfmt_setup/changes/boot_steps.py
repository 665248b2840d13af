"""The steps that bring units, their links and their script to what the binfmt.d files need."""

from __future__ import annotations

from binfmt_setup.boot import units
from binfmt_setup.boot.inits.interface import init_named, init_of
from binfmt_setup.changes.steps import (
    BootPlan,
    BootStep,
    ChangeFile,
    ChangeLink,
    ControlUnit,
    Reload,
)
from binfmt_setup.model.binfmt_d import (
    MADE_DIRECTORY,
    OWN_DIRECTORY,
    VOLATILE_DIRECTORY,
    parse_config,
)
from binfmt_setup.model.boot_facts import (
    DROP_IN_PATH,
    PRESET_PATH,
    RETURNED_PATH,
    SCRIPT_PATH,
    UNIT_DIRECTORY,
    UNIT_STEM,
    VOLATILE_DROP_IN_PATH,
    led_to,
)
from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.shell import moving_away, typed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from binfmt_setup.boot.inits.interface import Writes
    from binfmt_setup.changes.steps import TargetChange
    from binfmt_setup.model.boot_facts import BootFacts
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.request import Request
    from binfmt_setup.model.targets import Target


def boot_steps(
    facts: HostFacts, own: Sequence[Registration], request: Request, *, volatile: bool = False
) -> tuple[BootStep, ...]:
    """Write, renew or remove what is run at boot, as this tool's files left in binfmt.d need it.

    Under --no-persist nothing of that is written, and nothing that is there is taken away. But
    what is `volatile`, in /run/binfmt.d, must not make systemd-binfmt fail either.
    """
    steps = _for_the_next_boot(facts, own, request)
    steps += _until_the_next_boot(facts, wanted=volatile)
    if steps and systemd_listens(facts):
        steps.append(Reload())
    returned = facts.boot.returned
    if returned.there and (returned.given_up or not (own and units.is_kept(facts, request))):
        steps.append(ChangeFile(RETURNED_PATH, returned.text, None))
    return tuple(steps)


def _until_the_next_boot(facts: HostFacts, *, wanted: bool) -> list[BootStep]:
    """The drop-in for files in /run/binfmt.d, new or removed.

    Not where /run shows a host's systemd to a container that has none, and no systemctl.
    """
    needed = wanted and systemd_listens(facts) and facts.boot.loader
    path, after = VOLATILE_DROP_IN_PATH, units.drop_in_text() if needed else None
    before = facts.boot.files.get(path)
    differs = before != after and path not in facts.boot.occupied
    return [ChangeFile(path, before, after)] if differs else []


def _for_the_next_boot(
    facts: HostFacts, own: Sequence[Registration], request: Request
) -> list[BootStep]:
    """Units, their links and their script."""
    state = facts.boot
    kind = written(facts, request)
    if own and kind == "nothing":
        return []
    groups = units.groups_wished(facts, own, request) if kind == "units" else ()
    running = systemd_listens(facts)
    removals = tuple(_removals(state, groups))
    going = _names(step.path for step in removals if isinstance(step, ChangeFile))
    # systemd shows no sign of a path unit's being active; stopping one that is not is nothing.
    stops = [
        ControlUnit("stop-unit", name)
        for name in sorted(going)
        if running and (name in state.active or name.endswith(".path"))
    ]
    return [*stops, *removals, *_script(state, wanted=bool(own)), *_writings(state, groups)]


def conflict(
    facts: HostFacts, own: Sequence[Registration], entry_name: str, request: Request
) -> EnvironmentUnfit | None:
    """Why a registration cannot be kept by a unit: something of somebody else's lies there."""
    kind = written(facts, request)
    if kind == "nothing":
        return None
    for group in units.groups_wished(facts, own, request):
        needed = (SCRIPT_PATH, *(group.unit_paths if kind == "units" else ()))
        taken = next((path for path in needed if path in facts.boot.occupied), None)
        if taken and any(path.endswith(f"/{entry_name}.conf") for path in group.files):
            return _told(facts, taken, masked=facts.boot.occupied[taken] == "masked")
    return None


def _told(facts: HostFacts, path: str, *, masked: bool) -> EnvironmentUnfit:
    unit = path.rpartition("/")[2]
    if masked:
        systemctl = ("systemctl",) if facts.live else ("systemctl", f"--root={facts.root}")
        without = "--no-keep" if path.endswith(units.KEEPERS) else "--no-persist"
        return EnvironmentUnfit(
            f"{unit} is masked, and is needed for what was asked for",
            hint=f"run: {typed((*systemctl, 'unmask', unit))}   (or use {without})",
            code="config-conflict",
        )
    return EnvironmentUnfit(
        f"{path} is there already and was not written by this tool",
        hint=f"look at it and move it away: {moving_away(facts.root, path)}",
        code="config-conflict",
    )


def written(facts: HostFacts, request: Request) -> Writes:
    """What this tool writes beside binfmt.d files: for the init that runs, and for systemd.

    That one is served wherever it is installed: an image may be made in a container. Where units
    cannot be written, systemd-binfmt reads the binfmt.d files all the same, if there is one.
    """
    if not request.persist:
        return "nothing"
    if serves_units(facts):
        return "nothing" if facts.boot.units_read_only else "units"
    return init_of(facts.boot).writes


def serves_units(facts: HostFacts) -> bool:
    """Whether an init that runs, or is installed, reads units."""
    names = (facts.boot.init, *facts.boot.installed)
    return any(init_named(name).writes == "units" for name in names)


def systemd_listens(facts: HostFacts) -> bool:
    """Whether there is a systemd that can be told to start and stop units."""
    return facts.live and facts.boot.running and init_of(facts.boot).writes == "units"


def start_steps(
    facts: HostFacts,
    own: Sequence[Registration],
    steps: Sequence[BootStep],
    request: Request,
    *,
    lost: bool = False,
) -> tuple[ControlUnit, ...]:
    """Start what `systemctl enable --now` would, and watch the files that are named now.

    Where entries were lost all the same, what should have brought them back does not see them:
    another mount covers what it watches.
    """
    state = facts.boot
    if not (systemd_listens(facts) and written(facts, request) == "units"):
        return ()
    rewritten = _names({s.path for s in steps if isinstance(s, ChangeFile)})
    starts = []
    for group in units.groups_wished(facts, own, request):
        service = _names(group.unit_paths)[0]
        if f"{UNIT_DIRECTORY}/{service}" in state.occupied:
            continue  # not ours to start
        if service not in state.active:
            starts.append(ControlUnit("start-unit", service))
        else:
            starts += [
                ControlUnit("restart-unit", path)
                for path in group.watches
                if path in rewritten or (lost and path.endswith(units.KEEP_PATH))
            ]
    return tuple(starts)


def _names(paths: Iterable[str]) -> list[str]:
    return [path.rpartition("/")[2] for path in paths]


def _writings(state: BootFacts, groups: Sequence[units.UnitGroup]) -> Iterator[BootStep]:
    occupied = state.occupied  # is never written over: `conflict` has told of it
    for path, text in beside_units(state, groups).items():
        if text != state.files.get(path) and path not in occupied:
            yield ChangeFile(path, state.files.get(path), text)
    for group in groups:
        old = {path: state.files.get(path) for path in group.unit_paths}
        if not all(units.is_current(text, group) for text in old.values()):
            for path, text in units.render_units(group).items():
                if text != old[path] and path not in occupied:
                    yield ChangeFile(path, old[path], text)
    for group in groups:
        for link, target in group.links.items():
            if link not in state.unit_links and target not in occupied:
                yield ChangeLink(link, None, target)


def beside_units(state: BootFacts, groups: Sequence[units.UnitGroup]) -> dict[str, str]:
    """What is written for other units and for systemctl, by path; nothing without units."""
    if not groups:
        return {}
    before, folder = state.files.get(PRESET_PATH, ""), PRESET_PATH.rpartition("/")[0]
    made = folder in state.missing_directories or MADE_DIRECTORY in before
    return {
        DROP_IN_PATH: units.drop_in_text(),
        PRESET_PATH: units.preset_text(groups, made_directory=made),
    }


def _script(state: BootFacts, *, wanted: bool) -> Iterator[ChangeFile]:
    """The script, new or removed."""
    before, after = state.files.get(SCRIPT_PATH), units.script_text() if wanted else None
    if before != after and SCRIPT_PATH not in state.occupied:
        yield ChangeFile(SCRIPT_PATH, before, after)


def _removals(state: BootFacts, groups: Sequence[units.UnitGroup]) -> Iterator[BootStep]:
    """Links and files of ours that no group needs; those of other names are left alone.

    A link of such a name that leads elsewhere is somebody else's, though it enables a unit of ours.
    """
    files = {path for group in groups for path in group.unit_paths} | {SCRIPT_PATH}
    files |= {VOLATILE_DROP_IN_PATH, *((DROP_IN_PATH, PRESET_PATH) if groups else ())}
    links = {link for group in groups for link in group.links}
    ours = set(_names(state.files.keys() | files)) | {f"{UNIT_STEM}.service"}
    ours -= set(_names(state.occupied))
    for link, target in state.unit_links.items():
        name = link.rpartition("/")[2]
        leads_to_ours = led_to(link, target) == f"{UNIT_DIRECTORY}/{name}"
        if link not in links and name in ours and leads_to_ours:
            yield ChangeLink(link, target, None)
    for path, text in state.files.items():
        if path not in files:
            yield ChangeFile(path, text, None)


def unit_conflicts(
    facts: HostFacts, changes: Sequence[TargetChange], wished: Iterable[Target], request: Request
) -> dict[Target, BinfmtSetupError]:
    """The targets that need a unit where somebody else's lies, or a mask.

    Those that are as they should be are told, too: after the next boot they would not be.
    """
    if not (facts.boot.occupied and facts.process.own_files):
        return {}
    own = _own_after(facts, changes)
    found = {target: conflict(facts, own, target.entry_name, request) for target in wished}
    return {target: error for target, error in found.items() if error is not None}


def unwritable(facts: HostFacts, changes: Sequence[TargetChange]) -> dict[Target, BinfmtSetupError]:
    """The targets whose binfmt.d file cannot be written, all for one reason that is told once."""
    if OWN_DIRECTORY not in facts.boot.read_only:
        return {}
    error = EnvironmentUnfit(
        f"{OWN_DIRECTORY} is on a read-only file system: nothing can be registered at boot",
        hint="use --no-persist to register until the next reboot only; what shall last is to be "
        "part of what this system is made from: see binfmt-setup unit",
        code="config-unwritable",
    )
    kept = (c for c in changes if any(f.path.startswith(OWN_DIRECTORY) for f in c.files))
    return {change.target: error for change in kept}


def boot_plan(facts: HostFacts, reached: Sequence[TargetChange], request: Request) -> BootPlan:
    """What units need once these changes are made: no other file will be there.

    Nothing where the files are the host's and this is a user namespace's root.
    """
    if not facts.process.own_files:
        return BootPlan()
    own = _own_after(facts, reached)
    volatile = bool(_own_after(facts, reached, VOLATILE_DIRECTORY))
    steps = boot_steps(facts, own, request, volatile=volatile)
    lost = any(change.entry and change.entry.before is None for change in reached)
    return BootPlan(steps, start_steps(facts, own, steps, request, lost=lost))


def _own_after(
    facts: HostFacts, changes: Sequence[TargetChange], directory: str = OWN_DIRECTORY
) -> tuple[Registration, ...]:
    """What this tool's files in a directory of binfmt.d register once the changes are made."""
    kept = {
        c.path: c.registrations
        for c in facts.boot.configs
        if c.owned and c.path.startswith(directory + "/")
    }
    for change in changes:
        for file in change.files:
            kept.pop(file.path, None)
            if file.after is not None and file.path.startswith(directory + "/"):
                kept[file.path] = parse_config(file.path, file.after).registrations
    return tuple(r for path in sorted(kept) for r in kept[path])
