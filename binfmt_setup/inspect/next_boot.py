"""Reading what the next boot will read: binfmt.d, units and their links, fstab, the init."""

from __future__ import annotations

from contextlib import suppress

from binfmt_setup.boot.inits.interface import found_in, init_named
from binfmt_setup.boot.inits.systemd import is_masked
from binfmt_setup.inspect.unit_conditions import unmet_condition
from binfmt_setup.model.binfmt_d import (
    BINFMT_D,
    MARKER,
    ConfigFile,
    parse_config,
    parse_update_binfmts,
    systemd_lines,
)
from binfmt_setup.model.boot_facts import (
    DROP_IN_PATH,
    PRESET_PATH,
    REGISTRY_UNIT,
    RETURNED_PATH,
    SCRIPT_PATH,
    SYSTEMD_BINFMT,
    UNIT_DIRECTORY,
    UNIT_STEM,
    VOLATILE_DROP_IN_PATH,
    WRITTEN_TO,
    BootFacts,
    Returned,
    led_to,
)
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.mount_order import mount_point_of, parse_fstab
from binfmt_setup.model.mountinfo import mount_points, read_only_places
from binfmt_setup.model.reading import Absent, Unreadable, UnreadFile
from binfmt_setup.model.records import replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Literal

    from binfmt_setup.model.boot_facts import Condition
    from binfmt_setup.model.mountinfo import Mount
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.system.host import Host


_SYSTEMCTL_SECONDS = 10.0
_PROPERTIES = ("ActiveState", "ConditionResult", "ConditionTimestampMonotonic")
UPDATE_BINFMTS = "/var/lib/binfmts"
_MEMORY = ("tmpfs", "ramfs")
_SYSCTL_D = ("/usr/lib/sysctl.d", "/usr/local/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d")
_SWITCH = "fs.binfmt_misc.status"
_DIRECTORIES = (*BINFMT_D, PRESET_PATH.rpartition("/")[0])
_MASKABLE = (SYSTEMD_BINFMT, f"{REGISTRY_UNIT}.mount", f"{REGISTRY_UNIT}.automount")


class _Reader:
    """Reads files and directories, and keeps which of them could not be read."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.unread: list[UnreadFile] = []

    def text(self, path: str) -> str | Unreadable:
        """A file's text; empty when there is no such file."""
        found = self._host.read(path)
        if isinstance(found, Unreadable):
            self.unread.append(UnreadFile(path, found))
            return found
        return "" if isinstance(found, Absent) else found

    def known(self, path: str) -> str:
        """The same, and empty too when it could not be read."""
        found = self.text(path)
        return "" if isinstance(found, Unreadable) else found

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory; none when there is no such directory."""
        found = self._host.listed(path)
        if isinstance(found, Unreadable):
            self.unread.append(UnreadFile(path, found))
        return () if isinstance(found, Absent | Unreadable) else found

    def configured(self, path: str) -> list[str]:
        """The names of what counts in a directory of *.d; hidden files do not (binfmt.d(5))."""
        return [n for n in self.names(path) if n.endswith(".conf") and not n.startswith(".")]


def boot_facts(host: Host, mounts: tuple[Mount, ...]) -> BootFacts:
    """What the next boot will find, and what of it could not be read."""
    read = _Reader(host)
    facts = _init(host)
    names = read.names(UNIT_DIRECTORY)
    paths = _own_paths(names)
    files = _boot_files(host, read, paths)
    configs = _configs(host, read)
    names_of_others = read.names(UPDATE_BINFMTS)
    service = _service_state(host, facts, configs)
    return replace(
        facts,
        files=files,
        occupied=_occupied(host, paths, files),
        unit_links=_unit_links(host, read, names),
        masked=frozenset(unit for unit in _MASKABLE if is_masked(host, unit)),
        active=_active_units(host, files),
        failed=frozenset({SYSTEMD_BINFMT} if service.get("ActiveState") == "failed" else ()),
        unmet=_unmet_condition(host, facts, read, service),
        fstab=parse_fstab(read.known("/etc/fstab")),
        mounted=mount_points(mounts),
        in_memory=frozenset(m.point for m in mounts if m.fs_type in _MEMORY and m.point != "/"),
        read_only=_read_only(host, mounts),
        forgotten=_forgotten(host, mounts, configs),
        switched_off=_switched_off(read, by_systemd=init_named(facts.init).writes == "units"),
        configs=configs,
        update_binfmts=frozenset(names_of_others),
        imported=_imported(read, names_of_others),
        update_binfmts_runs=bool(names_of_others)
        and init_named(facts.init).runs_update_binfmts(host),
        missing_directories=frozenset(d for d in _DIRECTORIES if not host.exists(d)),
        returned=_returned(host, read),
        unread=tuple(read.unread),
    )


def _init(host: Host) -> BootFacts:
    """Which init there is, and what registers at boot under it."""
    found = found_in(host)
    init = init_named(found.name)
    return BootFacts(
        found.name, found.running, found.installed, init.loader(host), init.enabled(host)
    )


def _forgotten(
    host: Host, mounts: tuple[Mount, ...], configs: tuple[ConfigFile, ...]
) -> dict[str, str]:
    """Of files and interpreters, what an overlay keeps in memory: overlayroot, a stick, on /usr."""
    overlays = {mount.point: mount for mount in mounts if mount.fs_type == "overlay"}
    if not overlays:
        return {}
    points = mount_points(mounts)
    rules = (rule for config in configs for rule in config.registrations)
    paths = {*(c.path for c in configs), *(host.followed_inside(r.interpreter) for r in rules)}
    found: dict[str, str] = {}
    for path in paths:
        overlay = overlays.get(mount_point_of(path, points))
        if overlay is not None and (memory := _memory_of(host, mounts, overlay, path)):
            found[path] = memory
    return found


def _memory_of(host: Host, mounts: tuple[Mount, ...], overlay: Mount, path: str) -> str:
    """The mount in memory that alone has a file of an overlay; empty when none, or none is seen.

    Where the layer below cannot be seen, as on most live systems, nobody can tell. A layer that the
    overlay itself covers is not seen either, but then its upper layer is: what this has is lost.
    """
    words = dict(option.partition("=")[::2] for option in overlay.options)
    upper, below = words.get("upperdir", ""), words.get("lowerdir", "").split(":")
    memory = mount_point_of(upper, mount_points(mounts))
    if not upper or not any(m.point == memory and m.fs_type in _MEMORY for m in mounts):
        return ""
    point = overlay.point.rstrip("/")
    inside = path.removeprefix(point)
    if point and any(f"{layer}/".startswith(f"{point}/") for layer in below):
        return memory if host.exists(upper + inside) else ""
    seen = all(map(host.exists, below))
    lost = seen and not any(host.exists(f"{layer}{inside}") for layer in below)
    return memory if lost else ""


def _read_only(host: Host, mounts: tuple[Mount, ...]) -> frozenset[str]:
    """Which directories cannot be written to; on NixOS one is a link to where nothing can be."""
    if not host.live:
        return frozenset()
    real = {host.followed_inside(place): place for place in WRITTEN_TO}
    return frozenset(real[path] for path in read_only_places(mounts, real))


def _own_paths(names: Sequence[str]) -> tuple[str, ...]:
    """Where this tool writes what runs at boot; drop-ins beside it are their makers' affair."""
    kinds = (".service", ".path")
    units = (n for n in names if n.startswith(UNIT_STEM) and n.endswith(kinds))
    beside = (SCRIPT_PATH, DROP_IN_PATH, VOLATILE_DROP_IN_PATH, PRESET_PATH)
    return (*beside, *(f"{UNIT_DIRECTORY}/{name}" for name in units))


def _boot_files(host: Host, read: _Reader, paths: Sequence[str]) -> dict[str, str]:
    """Units and script that bear this tool's mark."""
    texts = {path: read.known(path) for path in paths if not host.link_target(path)}
    return {path: text for path, text in texts.items() if MARKER in text.splitlines()[:2]}


def _occupied(
    host: Host, paths: Sequence[str], own: Mapping[str, str]
) -> dict[str, Literal["masked", "theirs"]]:
    """What lies there and is not ours: a link to /dev/null is somebody's decision, too."""
    others: dict[str, Literal["masked", "theirs"]] = {}
    for path in paths:
        target = led_to(path, host.link_target(path))
        if target == "/dev/null":
            others[path] = "masked"
        elif target or (path not in own and host.exists(path)):
            others[path] = "theirs"
    return others


def _unit_links(host: Host, read: _Reader, names: Sequence[str]) -> dict[str, str]:
    """The links in systemd's `.wants` directories to units of this tool's name."""
    folders = (f"{UNIT_DIRECTORY}/{n}" for n in names if n.endswith(".wants"))
    links = (f"{d}/{name}" for d in folders for name in read.names(d) if name.startswith(UNIT_STEM))
    return {link: target for link in links if (target := host.link_target(link))}


def _active_units(host: Host, files: Iterable[str]) -> frozenset[str]:
    """Which of our services are active: systemd keeps a link for each while it is.

    Source: `unit_export_invocation_id` in src/core/unit.c; asking systemctl takes a process.
    """
    names = (path.rpartition("/")[2] for path in files)
    return frozenset(n for n in names if host.link_target(f"/run/systemd/units/invocation:{n}"))


def _returned(host: Host, read: _Reader) -> Returned:
    """What was brought back since the boot; a killed script may have left a directory alone."""
    there = host.live and host.exists(RETURNED_PATH.rpartition("/")[0])
    return Returned(read.known(RETURNED_PATH), there) if there else Returned()


def _service_state(
    host: Host, facts: BootFacts, configs: Sequence[ConfigFile]
) -> Mapping[str, str]:
    """What systemd says of systemd-binfmt, where that should be active and is not.

    systemctl is asked only where the link is missing that an active service has.
    """
    link = f"/run/systemd/units/invocation:{SYSTEMD_BINFMT}"
    reads = facts.running and facts.loader and init_named(facts.init).writes == "units"
    expected = reads and any(config.text for config in configs)
    if not (host.live and expected) or host.link_target(link):
        return {}
    asked = (f"--property={','.join(_PROPERTIES)}", SYSTEMD_BINFMT)
    with suppress(BinfmtSetupError):
        said = host.run(("systemctl", "show", *asked), _SYSTEMCTL_SECONDS)
        pairs = (line.partition("=") for line in said.output.splitlines())
        return {key: value for key, _, value in pairs}
    return {}


def _unmet_condition(
    host: Host, facts: BootFacts, read: _Reader, service: Mapping[str, str]
) -> Condition | None:
    """The condition that keeps systemd-binfmt away; one that never was looked at may hold."""
    if init_named(facts.init).writes != "units":
        return None
    looked = service.get("ConditionTimestampMonotonic", "0") != "0"
    skipped = looked and service.get("ConditionResult") == "no"
    return unmet_condition(host, read, skipped=skipped)


def _switched_off(read: _Reader, *, by_systemd: bool) -> tuple[str, int] | None:
    """The line of sysctl.d(5) that switches all entries off at boot.

    Of one name the last line counts. Patterns apply one after the other, none where a line names
    the switch itself. What the kernel refuses changes nothing (parse_command in fs/binfmt_misc.c).
    systemd reads /etc/sysctl.conf where a link in sysctl.d leads to it, as Debian 12 has one.
    """
    files = {name: f"{folder}/{name}" for folder in _SYSCTL_D for name in read.configured(folder)}
    paths = [files[name] for name in sorted(files)]
    lines: dict[str, tuple[str, tuple[str, int]]] = {}
    for path in (*paths, *(() if by_systemd else ("/etc/sysctl.conf",))):
        text = read.known(path)
        for number, line in systemd_lines(text) if "binfmt_misc" in text else ():
            key, equals, value = line.removeprefix("-").partition("=")
            name, value = key.strip(" \t").replace("/", "."), value.strip(" \t")
            excluded = line.startswith("-") and not equals
            if (equals or excluded) and _is_switch(name):
                before = lines.get(name)
                if before is None or before[0] != value:
                    lines.pop(name, None)  # another value applies where it stands
                    lines[name] = value, (path, number)
    off = None
    for value, where in [lines[_SWITCH]] if _SWITCH in lines else lines.values():
        if value in ("0", "1"):
            off = where if value == "0" else None
    return off


def _is_switch(name: str) -> bool:
    """Whether a name or pattern of sysctl.d means the switch."""
    if name == _SWITCH or not name.startswith("fs.") or set("*?[").isdisjoint(name):
        return name == _SWITCH
    from fnmatch import fnmatchcase

    return fnmatchcase(_SWITCH, name)


def _imported(read: _Reader, names: Sequence[str]) -> dict[str, Registration]:
    """What update-binfmts registers of what it keeps, as it stands there."""
    texts = {name: read.known(f"{UPDATE_BINFMTS}/{name}") for name in names}
    parsed = {name: parse_update_binfmts(name, text) for name, text in texts.items()}
    return {name: rule for name, rule in parsed.items() if rule is not None}


def _configs(host: Host, read: _Reader) -> tuple[ConfigFile, ...]:
    """All binfmt.d files, the masked ones too; a link to /dev/null registers nothing."""
    paths = [f"{d}/{name}" for d in BINFMT_D for name in read.configured(d)]
    return tuple(_config(host, read, path) for path in paths)


def _config(host: Host, read: _Reader, path: str) -> ConfigFile:
    if led_to(path, host.link_target(path)) == "/dev/null":
        return parse_config(path, "")
    text = read.text(path)
    if isinstance(text, Unreadable):
        return ConfigFile(path, unread=text)
    return parse_config(path, text)
