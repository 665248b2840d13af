"""What will happen at the next boot, as far as files tell. Pure."""

from __future__ import annotations

import posixpath
from functools import cached_property

from binfmt_setup.model.binfmt_d import FIRST, OWN_DIRECTORY, ConfigFile, effective_configs
from binfmt_setup.model.records import NOTHING, Record, replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.mount_order import FstabLine
    from binfmt_setup.model.reading import UnreadFile
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.targets import Target


UNIT_DIRECTORY = "/etc/systemd/system"
UNIT_PLACES = (
    UNIT_DIRECTORY, "/run/systemd/system", "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system", "/lib/systemd/system",
)  # fmt: skip
"""Where systemd looks for units, the strongest first (systemd.unit(5))."""
UNIT_STEM = "binfmt-setup"
UNIT_PATH = f"{UNIT_DIRECTORY}/{UNIT_STEM}.service"
SCRIPT_PATH = "/etc/binfmt-setup/register"
"""What the units run: a shell script, as Python may not be there at boot."""
WRITTEN_TO = (OWN_DIRECTORY, UNIT_DIRECTORY, SCRIPT_PATH.rpartition("/")[0])
"""The directories of what this tool writes for the next boot."""
RETURNED_PATH = "/run/binfmt-setup-keep/returned"
"""Where that script writes down what it brought back (`install --keep`): a line for each time."""
SYSTEMD_BINFMT = "systemd-binfmt.service"
DROP_IN_PATH = f"{UNIT_DIRECTORY}/{SYSTEMD_BINFMT}.d/{UNIT_STEM}.conf"
"""What keeps systemd-binfmt from failing where it could not register everything."""
VOLATILE_DROP_IN_PATH = DROP_IN_PATH.replace("/etc/", "/run/", 1)
"""The same until the next reboot, for `install --no-persist`."""
PRESET_PATH = f"/etc/systemd/system-preset/50-{UNIT_STEM}.preset"
"""What keeps the units enabled where a boot, as an image's first one may, presets all of them."""
REGISTRY_UNIT = "proc-sys-fs-binfmt_misc"
"""The stem of systemd's own .mount and .automount units for the registry."""


def led_to(link: str, target: str) -> str:
    """The absolute path that a symbolic link says, from where it lies; empty when it is none."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(link), target)) if target else ""


class Condition(Record):
    """A line of a unit that decides whether it is started; not `sure`: no file tells how."""

    path: str
    text: str
    sure: bool = True

    def unsure(self) -> Condition:
        """The same, where nobody can tell whether it holds."""
        return replace(self, sure=False)


class Returned(Record):
    """What `install --keep` brought back since the boot: how often, and whether it gave up."""

    text: str = ""
    there: bool = False

    @property
    def times(self) -> int:
        """How often entries that were dropped came back."""
        return sum(line[:1].isdecimal() for line in self.text.splitlines())

    @property
    def given_up(self) -> bool:
        """Whether they came back so often within minutes that they do not any more."""
        return any(line.startswith("given-up") for line in self.text.splitlines())


class BootFacts(Record):
    """What will happen at the next boot.

    `init` names what runs as PID 1 (or, for an offline tree, what would), `running` tells whether
    a file of its own shows that it runs, `installed` names all that could. `loader` is what
    registers at boot under it, `loader_enabled` whether it is run. `files` are this
    tool's units and their script by path, `occupied` the paths of theirs where something
    of somebody else's lies, as a mask does, `unit_links` the links that enable units of those
    names, each with what it says, `masked`, `active` and `failed` are names of units. `unmet` is
    the condition that keeps systemd-binfmt away, or may do so. `mounted` are mount points of now,
    `in_memory` those whose files are gone after a reboot, `read_only` those directories of
    WRITTEN_TO that cannot be written to. `forgotten` are files that only the upper layer of an
    overlay over / has, with the mount in memory that this lies in. `switched_off` is the line of
    sysctl.d, file and number, that switches the registry off.
    `configs` are all binfmt.d files, the masked ones too. `update_binfmts` names what Debian's
    update-binfmts(8) keeps in /var/lib/binfmts, `imported` what it registers of that as it
    stands, where the boot runs it (`update_binfmts_runs`). `unread` is what of all
    this could not be read. `returned` is what `install --keep` brought back since the boot.
    `culprits` tells, by path, what of it others than root can change; the security view alone asks.
    """

    init: str = "none"
    running: bool = False
    installed: frozenset[str] = frozenset()
    loader: str = ""
    loader_enabled: bool = False
    files: Mapping[str, str] = NOTHING
    occupied: Mapping[str, Literal["masked", "theirs"]] = NOTHING
    unit_links: Mapping[str, str] = NOTHING
    masked: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    unmet: Condition | None = None
    fstab: tuple[FstabLine, ...] = ()
    mounted: tuple[str, ...] = ()
    in_memory: frozenset[str] = frozenset()
    read_only: frozenset[str] = frozenset()
    forgotten: Mapping[str, str] = NOTHING
    switched_off: tuple[str, int] | None = None
    configs: tuple[ConfigFile, ...] = ()
    update_binfmts: frozenset[str] = frozenset()
    imported: Mapping[str, Registration] = NOTHING
    update_binfmts_runs: bool = False
    missing_directories: frozenset[str] = frozenset()
    unread: tuple[UnreadFile, ...] = ()
    returned: Returned = Returned()
    culprits: Mapping[str, Culprit] = NOTHING

    def update_binfmts_keeps(self, entry: Registration) -> bool:
        """Whether update-binfmts registers this very entry; a stale file of its name does not.

        With a detector, or in a form that is not known here, it registers a program of its own.
        """
        if entry.name not in self.update_binfmts:
            return False
        known = self.imported.get(entry.name)
        if known is None:
            return entry.interpreter.endswith("/run-detectors")
        return known.says_the_same(entry)

    @property
    def units_read_only(self) -> str:
        """The directory that keeps units, or their script, from being written; empty if none."""
        return next((place for place in WRITTEN_TO[1:] if place in self.read_only), "")

    @property
    def unit_text(self) -> str | None:
        """The unit that registers at boot, as it is on disk; None when it is not there."""
        return self.files.get(UNIT_PATH)

    def own_config(self, target: Target) -> ConfigFile | None:
        """The binfmt.d file that this tool wrote for a target."""
        name = f"{target.entry_name}.conf"
        return next((c for c in self.configs if c.owned and c.file_name == name), None)

    def config_of(self, entry_name: str) -> ConfigFile | None:
        """The binfmt.d file that registers an entry of this name at boot.

        Masked files do not count; where several files name the entry, the last one read
        wins, as systemd-binfmt replaces what an earlier file registered.
        """
        return self._config_by_entry.get(entry_name)

    def config_of_others(self, entry_name: str) -> ConfigFile | None:
        """The same, but for files of this tool."""
        configs = effective_configs(tuple(c for c in self.configs if not c.owned))
        named = (c for c in configs if any(r.name == entry_name for r in c.registrations))
        return next(reversed([*named]), None)

    @property
    def preferred(self) -> tuple[ConfigFile, ...]:
        """This tool's files that let entries of others come first."""
        return tuple(c for c in self.configs if c.owned and c.file_name.startswith(FIRST))

    @cached_property
    def _config_by_entry(self) -> Mapping[str, ConfigFile]:
        configs = effective_configs(self.configs)
        return {r.name: config for config in configs for r in config.registrations}
