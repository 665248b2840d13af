"""`unit`: what `install` would write so that registrations survive a reboot."""

from __future__ import annotations

from binfmt_setup.boot import units
from binfmt_setup.changes import registrations as registering
from binfmt_setup.changes.boot_steps import beside_units
from binfmt_setup.commands import preparing
from binfmt_setup.commands.request import probe, selected
from binfmt_setup.emulators import choice
from binfmt_setup.inspect.process import standing
from binfmt_setup.inspect.snapshot import snapshot, with_versions
from binfmt_setup.model.binfmt_d import OWN_DIRECTORY
from binfmt_setup.model.boot_facts import SCRIPT_PATH, UNIT_PATH
from binfmt_setup.model.targets import targets_of
from binfmt_setup.report.result import UnitResult

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.request import Request
    from binfmt_setup.system.host import Host


def unit(host: Host, request: Request) -> UnitResult:
    """The unit that install would write, and the texts of all other files by their paths."""
    facts = standing(host)
    ground = preparing.foreseen(host, facts, request)
    facts = ground.seen(snapshot(host, request.platforms, qemu_directory=ground.qemu_directory))
    registrations = []
    for target in targets_of(selected(facts, request, probe(host, request.platforms))):
        chosen = choice.choose(facts, target)
        if chosen is None:
            raise choice.missing(facts, [target], request.source)
        facts = with_versions(host, facts, [] if chosen.needs_binfmt_flags else [chosen.path])
        chosen = facts.emulators.file_at(chosen.path) or chosen
        registrations.append(registering.wished_registration(facts, target, chosen, request))
    if not registrations:
        raise choice.missing(facts, targets_of(request.platforms), request.source)
    files = {f"{OWN_DIRECTORY}/{r.name}.conf": units.config_text(r, None) for r in registrations}
    groups = units.groups_wished(facts, registrations, request)
    files |= {SCRIPT_PATH: units.script_text(), **beside_units(facts.boot, groups)}
    for group in groups:
        files |= units.render_units(group)
    main = UNIT_PATH if UNIT_PATH in files else next(p for p in files if p.endswith(".service"))
    text = files.pop(main)
    return UnitResult(facts, text=text, files=files)
