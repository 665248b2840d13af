"""Reading a host: which facts are where, all through the one door.

Nothing here changes anything, not even by looking: an untouched automount stays so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from binfmt_setup.emulators.choice import candidates, may_register
from binfmt_setup.emulators.store import file_digest, stored_at
from binfmt_setup.emulators.version_line import version_in_file
from binfmt_setup.inspect.interpreters import Interpreters
from binfmt_setup.inspect.process import machine_of_tree, standing_among
from binfmt_setup.model.facts import (
    BINFMT_D,
    MARKER,
    REGISTRY_UNIT,
    SCRIPT_PATH,
    UNIT_DIRECTORY,
    UNIT_STEM,
    BootFacts,
    ConfigFile,
    Distribution,
    HostFacts,
    container_kind,
    parse_config,
    parse_os_release,
)
from binfmt_setup.model.mount_order import parse_fstab
from binfmt_setup.model.mountinfo import BinfmtMount, Mount, parse_mountinfo
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import TARGETS, Platform, Target, targets_of
from binfmt_setup.system.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from binfmt_setup.system.host import Host
    from binfmt_setup.system.registry import Entries

_HELPERS = ("/usr/lib/systemd/systemd-binfmt", "/lib/systemd/systemd-binfmt")
_MASKABLE = ("systemd-binfmt.service", f"{REGISTRY_UNIT}.mount", f"{REGISTRY_UNIT}.automount")
_CONTAINER_MARKERS = ("/.dockerenv", "/run/.containerenv")
_X86_LEVEL_FLAGS_LINE = "flags"


def snapshot(host: Host, wished: Sequence[Platform] = (), *, qemu_directory: str = "") -> HostFacts:
    """Read what findings and plans need to know of a host.

    Emulators are looked for only for the wished platforms' targets (all, when none is
    named), `qemu_directory` instead of the usual places when it is given.
    """
    mounts = parse_mountinfo(host.text("/proc/self/mountinfo"))
    targets = targets_of(wished) or list(TARGETS)
    facts = standing_among(host, mounts)
    entries, bad = _entries(host, facts.mount)
    facts = replace(
        facts,
        container=_container(host),
        entries=entries,
        bad_entries=bad,
        configs=_configs(host),
        update_binfmts=frozenset(host.names("/var/lib/binfmts")),
        missing_directories=_missing_directories(host),
        boot=_boot(host, mounts),
        cpu_flags=_cpu_flags(host, wished),
        distribution=_distribution(host),
    )
    return _with_interpreters(host, facts, targets, qemu_directory)


def looked_again(host: Host, facts: HostFacts) -> HostFacts:
    """The facts once an install has written: what that can change is read anew.

    The emulators, which are most of what a snapshot reads, are those that were registered.
    """
    entries, bad = _entries(host, facts.mount)
    return replace(
        facts,
        entries=entries,
        bad_entries=bad,
        configs=_configs(host),
        missing_directories=_missing_directories(host),
        boot=_boot(host, parse_mountinfo(host.text("/proc/self/mountinfo"))),
    )


def _missing_directories(host: Host) -> frozenset[str]:
    return frozenset(directory for directory in BINFMT_D if not host.exists(directory))


def emulation_facts(
    host: Host, targets: Iterable[Target], *, qemu_directory: str = ""
) -> HostFacts:
    """The few facts that choosing emulators takes: nothing of registries, boot or binfmt.d."""
    uid, machine = host.user_and_machine()
    facts = HostFacts(
        root=str(host.root),
        kernel=host.text("/proc/sys/kernel/osrelease").strip(),
        machine=machine or machine_of_tree(host),
        effective_uid=uid,
        distribution=_distribution(host),
    )
    return _with_interpreters(host, facts, targets, qemu_directory)


def _with_interpreters(
    host: Host, facts: HostFacts, targets: Iterable[Target], directory: str
) -> HostFacts:
    """Add the emulators there are to choose from and what entries and binfmt.d point to."""
    read = Interpreters(host)
    emulators = {}
    for target in targets:
        kept = () if directory else _kept_choice(host, facts, target)
        found = _up_to_the_choice(host, facts, read, (*kept, *candidates(target, directory)))
        if found:
            emulators[target.name] = found
    paths = {e.interpreter for e in facts.entries if e.registration.magic}
    paths |= {r.interpreter for c in facts.configs for r in c.registrations if r.magic}
    paths |= {c.replaced.interpreter for c in facts.configs if c.replaced is not None}
    for path in sorted(paths):
        read.at(path)
    return replace(facts, emulators=emulators, interpreters=read.seen)


def _up_to_the_choice(
    host: Host, facts: HostFacts, read: Interpreters, paths: Iterable[str]
) -> tuple[str, ...]:
    """Those of the paths where there is something; what comes after a good one is not read."""
    found = []
    for path in paths:
        if host.exists(path):
            found.append(path)
            if may_register(facts, read.at(path)):
                break
    return tuple(found)


def _kept_choice(host: Host, facts: HostFacts, target: Target) -> tuple[str, ...]:
    """The emulator that an earlier --qemu brought and that is registered now.

    It stays the choice until another one is asked for, so that a later run without --qemu
    does not go back to the one that the user turned away from.
    """
    entry = facts.entry(target.entry_name)
    path = entry.interpreter if entry else ""
    return (path,) if path and stored_at(host, path.rpartition("/")[0]) else ()


def with_versions(host: Host, facts: HostFacts, paths: Iterable[str]) -> HostFacts:
    """Read the version out of the interpreters at these paths (a few ms each)."""
    read = dict(facts.interpreters)
    for path in sorted(set(paths)):
        found = read.get(path)
        if found and not found.problem and found.elf and not found.version:
            read[path] = replace(found, version=version_in_file(host, found.real_path))
    return replace(facts, interpreters=read)


def with_digests(host: Host, facts: HostFacts) -> HostFacts:
    """Compute the SHA-256 of what --qemu brought, as only of that one is written down (10 ms)."""
    read = dict(facts.interpreters)
    for path, found in facts.interpreters.items():
        if found.sha256 and not found.problem:
            read[path] = replace(found, digest=file_digest(host, path))
    return replace(facts, interpreters=read)


def _entries(host: Host, mount: BinfmtMount) -> Entries:
    return Registry(host).entries() if mount.state == "mounted" else ((), ())


def _distribution(host: Host) -> Distribution:
    return parse_os_release(host.text("/etc/os-release") or host.text("/usr/lib/os-release"))


def _container(host: Host) -> str:
    markers = frozenset(path for path in _CONTAINER_MARKERS if host.exists(path))
    return container_kind(host.text("/proc/1/environ"), markers)


def _cpu_flags(host: Host, wished: Sequence[Platform]) -> frozenset[str]:
    """The processor's features, read only when an x86-64 level asks for them."""
    if not any(p.target.name == "x86_64" and p.variant.suffix for p in wished):
        return frozenset()
    for line in host.text("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == _X86_LEVEL_FLAGS_LINE:
            return frozenset(value.split())
    return frozenset()


def _configs(host: Host) -> tuple[ConfigFile, ...]:
    """All binfmt.d files, the masked ones too; a link to /dev/null registers nothing."""
    found = []
    for directory in BINFMT_D:
        for name in host.names(directory):
            if name.endswith(".conf"):
                path = f"{directory}/{name}"
                masked = host.link_target(path) == "/dev/null"
                found.append(parse_config(path, "" if masked else host.text(path)))
    return tuple(found)


def _boot(host: Host, mounts: tuple[Mount, ...]) -> BootFacts:
    """Which init there is and what of ours it will find."""
    helper = next((path for path in _HELPERS if host.exists(path)), "")
    running = host.exists("/run/systemd/system")
    installed = any(host.exists(f"{d}/systemd/systemd") for d in ("/usr/lib", "/lib"))
    openrc = host.exists("/run/openrc") or (not installed and host.exists("/sbin/openrc"))
    levels = ("boot", "default", "sysinit")
    init: Literal["systemd", "openrc", "other", "none"] = "none"
    if running or (not host.live and installed):
        init = "systemd"
    elif openrc:
        init = "openrc"
    elif host.text("/proc/1/comm").strip() in ("init", "runit", "s6-svscan", "launchd"):
        init = "other"
    names = host.names(UNIT_DIRECTORY)
    files = _boot_files(host, names)
    return BootFacts(
        init=init,
        running=running,
        systemd_binfmt=helper,
        openrc_enabled=any(host.exists(f"/etc/runlevels/{level}/binfmt") for level in levels),
        files=files,
        unit_links=_unit_links(host, names),
        masked=frozenset(unit for unit in _MASKABLE if _is_masked(host, unit)),
        active=_active_units(host, files),
        fstab=parse_fstab(host.text("/etc/fstab")),
        mounted=tuple(dict.fromkeys(mount.point for mount in mounts)),
    )


def _boot_files(host: Host, names: Sequence[str]) -> dict[str, str]:
    """Units and script that bear this tool's mark."""
    own = (n for n in names if n.startswith(UNIT_STEM) and not n.endswith(".wants"))
    paths = [SCRIPT_PATH, *(f"{UNIT_DIRECTORY}/{n}" for n in own if "." in n)]
    texts = {path: host.text(path) for path in paths if not host.link_target(path)}
    return {path: text for path, text in texts.items() if MARKER in text.splitlines()[:2]}


def _unit_links(host: Host, names: Sequence[str]) -> tuple[str, ...]:
    """The links in systemd's `.wants` directories to units of this tool's name."""
    folders = (f"{UNIT_DIRECTORY}/{n}" for n in names if n.endswith(".wants"))
    links = (f"{d}/{name}" for d in folders for name in host.names(d) if name.startswith(UNIT_STEM))
    return tuple(link for link in links if host.link_target(link))


def _is_masked(host: Host, unit: str) -> bool:
    places = (UNIT_DIRECTORY, "/run/systemd/system")
    return any(host.link_target(f"{place}/{unit}") == "/dev/null" for place in places)


def _active_units(host: Host, files: Iterable[str]) -> frozenset[str]:
    """Which of our services are active: systemd keeps a link for each while it is.

    Source: `unit_export_invocation_id` in src/core/unit.c; asking systemctl takes a process.
    """
    names = (path.rpartition("/")[2] for path in files)
    return frozenset(n for n in names if host.link_target(f"/run/systemd/units/invocation:{n}"))
