"""What is known about a host, and the pure parsers that fill it.

Everything here is data: `snapshot.snapshot` reads a host through the door in `host` and
fills a `HostFacts`; findings and plans are made from it and nothing else.
"""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal

from binfmt_setup.model.mountinfo import ABSENT, BinfmtMount
from binfmt_setup.model.records import NOTHING, Record
from binfmt_setup.model.registration import BadRegistration, Entry, Registration, parse_line
from binfmt_setup.model.targets import X86_LEVELS, Platform, Target, target_of_machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from binfmt_setup.model.elf import ElfFacts
    from binfmt_setup.model.mount_order import FstabLine

OWN_DIRECTORY = "/etc/binfmt.d"
VOLATILE_DIRECTORY = "/run/binfmt.d"
BINFMT_D = (OWN_DIRECTORY, VOLATILE_DIRECTORY, "/usr/local/lib/binfmt.d", "/usr/lib/binfmt.d")
"""Where systemd-binfmt and OpenRC look, the strongest first: a file masks those of the same
name further down (binfmt.d(5))."""

MARKER = "# Written by binfmt-setup, which removes it again: binfmt-setup uninstall"
"""The first line of every binfmt.d file this tool writes; it is how ownership is known."""
REPLACED = "# Stood here before: "
MADE_DIRECTORY = "# Made this directory, too"
PROBLEMS_KEPT = 10
"""Of what is wrong with one file so many are told one by one; the rest is counted."""
SWAP_PREFIX = "binfmt-setup-swap-"
"""Names the entries that cover a replacement; one left over belongs to a killed run."""
UNIT_DIRECTORY = "/etc/systemd/system"
UNIT_STEM = "binfmt-setup"
UNIT_PATH = f"{UNIT_DIRECTORY}/{UNIT_STEM}.service"
SCRIPT_PATH = "/etc/binfmt-setup/register"
"""What the units run: a shell script, as Python may not be there at boot."""
REGISTRY_UNIT = "proc-sys-fs-binfmt_misc"
"""The stem of systemd's own .mount and .automount units for the registry."""

_WHOLE_HOST = ["0", "0", "4294967295"]  # the uid map of the initial user namespace


class ConfigFile(Record):
    """One binfmt.d file.

    `replaced` is the registration that stood in the kernel when this tool wrote the file;
    `problems` are (line number, what is wrong) pairs, of which the first are kept, and
    `more_problems` counts the rest.
    """

    path: str
    owned: bool = False
    registrations: tuple[Registration, ...] = ()
    problems: tuple[tuple[int, str], ...] = ()
    replaced: Registration | None = None
    text: str = ""
    more_problems: int = 0

    @property
    def file_name(self) -> str:
        """The name by which files of the same name in other folders are masked."""
        return self.path.rsplit("/", 1)[-1]


class Interpreter(Record):
    """The file at an interpreter's path, followed through links.

    `problem` is empty for a readable regular file, else `missing`, `not-a-file` or
    `unreadable`. `writable_by_others` lists the file or those directories above it that
    every user can change. `version` is QEMU's own word, empty when nobody asked it.

    The security view alone asks for the rest: `package` is None when nobody knows and empty
    when there is none, `foreign_owners` lists what belongs to another user than root,
    `unfit_mount` says in words what is wrong with the file system.

    `source` and `sha256` are what was written down when --qemu brought the file; `digest` is
    what the file has now, empty when nobody asked.
    """

    path: str
    real_path: str = ""
    problem: str = ""
    elf: ElfFacts | None = None
    executable: bool = True
    writable_by_others: tuple[str, ...] = ()
    identity: tuple[int, int] = (0, 0)
    version: str = ""
    package: str | None = None
    foreign_owners: tuple[str, ...] = ()
    unfit_mount: str = ""
    source: str = ""
    sha256: str = ""
    digest: str = ""

    @property
    def needs_binfmt_flags(self) -> bool:
        """Debian's `-binfmt-P` names: QEMU takes P and O for granted and refuses without."""
        return self.path.endswith("-binfmt-P")


class BootFacts(Record):
    """What will happen at the next boot.

    `init` is what runs as PID 1 (or, for an offline tree, what would). `files` are this
    tool's units and their script by path, `unit_links` the links that enable those units,
    `masked` and `active` are names of units. `mounted` are mount points of the moment.
    """

    init: Literal["systemd", "openrc", "other", "none"]
    running: bool = False
    systemd_binfmt: str = ""
    openrc_enabled: bool = False
    files: Mapping[str, str] = NOTHING
    unit_links: tuple[str, ...] = ()
    masked: frozenset[str] = frozenset()
    active: frozenset[str] = frozenset()
    fstab: tuple[FstabLine, ...] = ()
    mounted: tuple[str, ...] = ()

    @property
    def unit_text(self) -> str | None:
        """The unit that registers at boot, as it is on disk; None when it is not there."""
        return self.files.get(UNIT_PATH)


class Distribution(Record):
    """Who made this system, from os-release(5)."""

    id: str = ""
    like: tuple[str, ...] = ()
    version: str = ""
    name: str = ""


class HostFacts(Record):
    """All that findings and plans may look at.

    `root` is "/" for the running host, else an offline tree, whose kernel is not there to
    be asked. Entries come in match order: the kernel picks the first that fits.
    `own_registry` and `own_files` say whether the visible registry and the files below /etc
    belong to this user namespace: a container's do, those of a bare `unshare` are the host's.
    `update_binfmts` names what Debian's update-binfmts(8) keeps in /var/lib/binfmts.
    """

    root: str
    kernel: str = ""
    machine: str = ""
    support: Literal["present", "module", "absent", "unknown"] = "unknown"
    mount: BinfmtMount = ABSENT
    enabled: bool | None = None
    initial_namespace: bool = True
    maps_outer_root: bool = True
    own_registry: bool = False
    own_files: bool = True
    container: str = ""
    effective_uid: int = 0
    entries: tuple[Entry, ...] = ()
    bad_entries: tuple[tuple[str, str], ...] = ()
    configs: tuple[ConfigFile, ...] = ()
    update_binfmts: frozenset[str] = frozenset()
    missing_directories: frozenset[str] = frozenset()
    boot: BootFacts = BootFacts("none")
    interpreters: Mapping[str, Interpreter] = NOTHING
    emulators: Mapping[str, tuple[str, ...]] = NOTHING
    cpu_flags: frozenset[str] = frozenset()
    distribution: Distribution = Distribution()

    @property
    def live(self) -> bool:
        """Whether this is the running host, with a kernel to ask."""
        return self.root == "/"

    @property
    def out_of_reach(self) -> bool:
        """Whether this is a container that cannot see its host's registry, nor mount it.

        Engines give containers a read-only /proc/sys, unless they are privileged ones.
        """
        return bool(self.container) and self.mount.state == "absent" and self.mount.read_only

    @property
    def native(self) -> Target | None:
        """The target whose programs this host's kernel runs without help."""
        return target_of_machine(self.machine)

    @property
    def kernel_version(self) -> tuple[int, int]:
        """Major and minor of the kernel; (0, 0) when unknown."""
        return version_pair(self.kernel)

    def entry(self, name: str) -> Entry | None:
        """The entry of this name."""
        return next((entry for entry in self.entries if entry.name == name), None)

    def handler(self, header: bytes) -> Entry | None:
        """The entry the kernel picks for a program that starts so: the newest enabled match."""
        hits = (e for e in self.entries if e.enabled and e.registration.matches(header))
        return next(hits, None)

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

    @cached_property
    def _config_by_entry(self) -> Mapping[str, ConfigFile]:
        configs = effective_configs(self.configs)
        return {r.name: config for config in configs for r in config.registrations}

    def interpreter(self, path: str) -> Interpreter:
        """What is known of the file at a path; one that was not looked at is missing."""
        return self.interpreters.get(path) or Interpreter(path, problem="missing")

    def cpu_lacks(self, platform: Platform) -> tuple[str, ...]:
        """CPU features that an x86-64 level needs and this processor does not show."""
        if platform.variant.suffix not in X86_LEVELS:
            return ()
        wanted: set[str] = set()
        for level, flags in X86_LEVELS.items():
            wanted |= flags
            if level == platform.variant.suffix:
                break
        return tuple(sorted(wanted - self.cpu_flags))


def version_pair(text: str) -> tuple[int, int]:
    """The first two numbers of a version; (0, 0) when there are none."""
    found = re.match(r"\D*(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def effective_configs(configs: tuple[ConfigFile, ...]) -> tuple[ConfigFile, ...]:
    """The files that count, in the order in which they are applied (binfmt.d(5))."""
    strongest: dict[str, ConfigFile] = {}
    for directory in reversed(BINFMT_D):
        for config in configs:
            if config.path.startswith(directory + "/"):
                strongest[config.file_name] = config
    return tuple(strongest[name] for name in sorted(strongest))


def is_initial_namespace(uid_map: str) -> bool:
    """Whether /proc/self/uid_map is that of the host's own user namespace.

    An unreadable (empty) map is taken for a kernel without user namespaces.
    """
    rows = [line.split() for line in uid_map.splitlines()]
    return rows in ([], [_WHOLE_HOST])


def maps_outer_root(uid_map: str) -> bool:
    """Whether a user namespace's root, or another of its users, is root of the one outside."""
    rows = [line.split() for line in uid_map.splitlines()]
    return not rows or any(len(row) == 3 and row[1] == "0" for row in rows)


@cache  # an install reads the files twice, and has changed few of them
def parse_config(path: str, text: str) -> ConfigFile:
    """Read a binfmt.d file; bad lines become problems, as systemd-binfmt reports them."""
    registrations, problems = [], []
    replaced: Registration | None = None
    lines = text.split("\n")  # as systemd does: no other character ends a line
    for number, line in enumerate(lines, 1):
        if line.startswith(REPLACED):
            replaced = _registration_or_none(line.removeprefix(REPLACED))
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        try:
            registrations.append(parse_line(stripped))
        except BadRegistration as error:
            problems.append((number, str(error)))
    kept = tuple(problems[:PROBLEMS_KEPT])
    more = len(problems) - len(kept)
    owned = lines[0] == MARKER
    return ConfigFile(path, owned, tuple(registrations), kept, replaced, text, more)


def _registration_or_none(line: str) -> Registration | None:
    try:
        return parse_line(line)
    except BadRegistration:
        return None


def parse_os_release(text: str) -> Distribution:
    """Read os-release(5)."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        values[key.strip()] = value.strip().strip("\"'")
    return Distribution(
        values.get("ID", ""),
        tuple(values.get("ID_LIKE", "").split()),
        values.get("VERSION_ID", ""),
        values.get("PRETTY_NAME", ""),
    )


def container_kind(environ: str, markers: frozenset[str]) -> str:
    """Which container this is, from PID 1's `container=` word and well-known files."""
    for assignment in environ.split("\0"):
        key, _, value = assignment.partition("=")
        if key == "container" and value:
            return value
    for path, kind in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if path in markers:
            return kind
    return ""
