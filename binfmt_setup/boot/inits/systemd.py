"""systemd: systemd-binfmt reads binfmt.d, and units of ours register whatever becomes of that."""

from __future__ import annotations

from binfmt_setup.boot import units
from binfmt_setup.boot.inits.interface import UPDATE_BINFMTS_SERVICE, InitSystem, in_runlevel
from binfmt_setup.boot.lost import (
    NoSystemdBinfmt,
    RegistryMasked,
    SystemdBinfmtDepends,
    SystemdBinfmtMasked,
    SystemdBinfmtSkipped,
)
from binfmt_setup.model.binfmt_d import BINFMT_D
from binfmt_setup.model.boot_facts import (
    REGISTRY_UNIT,
    SYSTEMD_BINFMT,
    UNIT_DIRECTORY,
    UNIT_PLACES,
    led_to,
)

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.system.host import Host

_HELPERS = ("/usr/lib/systemd/systemd-binfmt", "/lib/systemd/systemd-binfmt")
_NIXOS_HELPER = "/run/current-system/systemd/lib/systemd/systemd-binfmt"
UNMASK_REGISTRY = ("systemctl", "unmask", f"{REGISTRY_UNIT}.mount")


class Systemd(InitSystem):
    """systemd; it may be built without systemd-binfmt."""

    name, words, in_json = "systemd", "systemd", "systemd"
    folders = BINFMT_D
    writes = "units"

    def loader(self, host: Host) -> str:
        """The program that systemd-binfmt.service runs."""
        # NixOS always has the program, and the unit only where boot.binfmt names something.
        with_unit = host.exists(f"{UNIT_DIRECTORY}/{SYSTEMD_BINFMT}")
        places = (*_HELPERS, _NIXOS_HELPER) if with_unit else _HELPERS
        return next((path for path in places if host.exists(path)), "")

    def enabled(self, host: Host) -> bool:
        """It is linked into sysinit.target; masks and conditions are told one by one."""
        del host
        return True

    def obstacle(self, facts: HostFacts) -> Lost | None:
        """A mask, or a systemd that was built without it."""
        masked = facts.boot.masked
        if f"{REGISTRY_UNIT}.mount" in masked:
            return RegistryMasked()
        if not facts.boot.loader:
            return NoSystemdBinfmt()
        if SYSTEMD_BINFMT in masked:
            return SystemdBinfmtMasked()
        unmet = facts.boot.unmet
        if unmet is None:
            return None
        kind = SystemdBinfmtSkipped if unmet.sure else SystemdBinfmtDepends
        return kind(unmet.path, unmet.text)

    def runs_update_binfmts(self, host: Host) -> bool:
        """Its unit is enabled, and not masked; without a unit the link of System V counts.

        Source: systemd-sysv-generator(8), which leaves a service alone that has a unit.
        """
        unit = f"{UPDATE_BINFMTS_SERVICE}.service"
        if not unit_file(host, unit):
            return in_runlevel(host)
        wanted = host.is_there(f"{UNIT_DIRECTORY}/multi-user.target.wants/{unit}")
        return wanted and not is_masked(host, unit)

    def keeps(self, facts: HostFacts, registrations: Sequence[Registration]) -> bool:
        """Whether a unit of ours names their files and is enabled, and the registry is mounted."""
        state = facts.boot
        groups = units.unit_groups(facts, registrations)
        started = {link.rpartition("/")[2] for link in state.unit_links}
        return (
            bool(groups)
            and f"{REGISTRY_UNIT}.mount" not in state.masked
            and all(
                group.unit_paths[0] in state.files and f"{group.name}.service" in started
                for group in groups
            )
        )

    def cure(self, lost: Lost) -> tuple[str, ...]:
        """The mount is unmasked; of everything else an install takes care."""
        return UNMASK_REGISTRY if isinstance(lost, RegistryMasked) else ()

    def load_command(self, facts: HostFacts, path: str) -> tuple[str, ...]:
        """It leaves all entries alone but those of this file."""
        return (facts.boot.loader, path) if facts.boot.loader else ()


def unit_file(host: Host, unit: str) -> str:
    """Where the next boot finds a unit; empty where it has none. What lies in /run is gone then."""
    lasting = (f"{place}/{unit}" for place in UNIT_PLACES if not place.startswith("/run/"))
    return next((path for path in lasting if host.is_there(path)), "")


def is_masked(host: Host, unit: str) -> bool:
    """Whether the next boot finds a link to nothing, or an empty file, in the unit's place."""
    path = unit_file(host, unit)
    target = led_to(path, host.link_target(path))
    status = host.status_of(path) if path else None
    return target == "/dev/null" or (status is not None and status.st_size == 0)


INIT = Systemd()
