"""Reading a host: which facts are where, all through the one door.

Nothing here changes anything, not even by looking: an untouched automount stays so.
"""

from __future__ import annotations

import errno

from binfmt_setup.emulators.choice import candidates, may_register
from binfmt_setup.emulators.package_managers.interface import managers_seen
from binfmt_setup.emulators.store import file_digest, stored_at
from binfmt_setup.emulators.version_line import version_in_file
from binfmt_setup.inspect.interpreters import Interpreters
from binfmt_setup.inspect.next_boot import boot_facts
from binfmt_setup.inspect.process import machine_here, standing_among
from binfmt_setup.model.facts import (
    Distribution,
    HostFacts,
    KernelFacts,
    ProcessFacts,
    container_kind,
    parse_os_release,
)
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter, InterpreterState
from binfmt_setup.model.mountinfo import parse_mountinfo
from binfmt_setup.model.reading import NOT_LOOKED_AT, Absent, Unreadable
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry
from binfmt_setup.model.registry_facts import RegistryFacts, UnreadEntry
from binfmt_setup.model.targets import TARGETS, Platform, Target, targets_of
from binfmt_setup.system.path_trust import trusted_owners
from binfmt_setup.system.registry import Registry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from binfmt_setup.system.host import Host


_CONTAINER_MARKERS = ("/.dockerenv", "/run/.containerenv")
_X86_LEVEL_FLAGS_LINE = "flags"


def snapshot(
    host: Host, wished: Sequence[Platform] = (), *, qemu_directory: str = "", emulator: str = ""
) -> HostFacts:
    """Read what findings and plans need to know of a host.

    Emulators are looked for only for the wished platforms' targets (all, when none is
    named), `qemu_directory` or `emulator` instead of the usual places when it is given.
    """
    mounts = parse_mountinfo(host.text("/proc/self/mountinfo"))
    targets = targets_of(wished) or list(TARGETS)
    facts = standing_among(host, mounts)
    facts = replace(
        facts,
        kernel=replace(facts.kernel, cpu_flags=_cpu_flags(host, wished)),
        process=replace(facts.process, container=_container(host)),
        registry=_with_marks(host, facts.process, with_entries(host, facts.registry)),
        boot=boot_facts(host, mounts),
        distribution=_distribution(host),
    )
    return _with_interpreters(host, facts, targets, (qemu_directory, emulator))


def looked_again(host: Host, facts: HostFacts) -> HostFacts:
    """The facts once an install has written: what that can change is read anew.

    The emulators, which are most of what a snapshot reads, are those that were registered.
    """
    return replace(
        facts,
        registry=_with_marks(host, facts.process, with_entries(host, facts.registry)),
        boot=boot_facts(host, parse_mountinfo(host.text("/proc/self/mountinfo"))),
    )


def emulation_facts(
    host: Host, targets: Iterable[Target], *, qemu_directory: str = ""
) -> HostFacts:
    """The few facts that choosing emulators takes: nothing of registries, boot or binfmt.d."""
    uid, machine = host.user_and_machine()
    facts = HostFacts(
        root=str(host.root),
        kernel=KernelFacts(
            host.text("/proc/sys/kernel/osrelease").strip(), machine_here(host, machine)
        ),
        process=ProcessFacts(effective_uid=uid),
        distribution=_distribution(host),
    )
    # They are for the namespace of the user who runs this, and for nobody else.
    return _with_interpreters(host, facts, targets, (qemu_directory, ""), trusted_owners())


def _with_interpreters(
    host: Host, facts: HostFacts, targets: Iterable[Target], named: tuple[str, str],
    owners: Collection[int] | None = None,
) -> HostFacts:  # fmt: skip
    """Add the emulators there are to choose from and what entries and binfmt.d point to.

    A directory may be `named` to look in, or the one emulator that there is to choose.
    """
    directory, emulator = named
    read = Interpreters(host, owners)
    emulators = {}
    for target in targets:
        kept = () if directory else _kept_choice(host, facts, target)
        places = (emulator,) if emulator else (*kept, *candidates(target, directory))
        found = _up_to_the_choice(facts, read, places)
        if found:
            emulators[target.name] = found
    paths = {entry.interpreter for entry in facts.registry.entries}
    paths |= {r.interpreter for c in facts.boot.configs for r in c.registrations}
    paths |= {rule.interpreter for rule in facts.boot.imported.values()}
    paths |= {c.replaced.interpreter for c in facts.boot.configs if c.replaced is not None}
    for path in sorted(paths):
        read.at(path)
    return replace(facts, emulators=EmulatorFacts(emulators, read.seen))


def _up_to_the_choice(
    facts: HostFacts, read: Interpreters, paths: Iterable[str]
) -> tuple[str, ...]:
    """Those of the paths where there is something; what comes after a good one is not read."""
    found = []
    for path in paths:
        state = read.at(path)
        if not isinstance(state, Absent):
            found.append(path)
            if may_register(facts, path, state):
                break
    return tuple(found)


def _kept_choice(host: Host, facts: HostFacts, target: Target) -> tuple[str, ...]:
    """The emulator that --emulator named, or that an earlier --qemu brought and is registered now.

    It stays the choice until another one is asked for, so that a later run without the option
    does not go back to the one that the user turned away from.
    """
    own = facts.boot.own_config(target)
    if own is not None and own.chosen:
        return tuple(rule.interpreter for rule in own.registrations)
    entry = facts.registry.entry(target.entry_name)
    path = entry.interpreter if entry else ""
    return (path,) if path and stored_at(host, path.rpartition("/")[0]) else ()


def with_versions(host: Host, facts: HostFacts, paths: Iterable[str]) -> HostFacts:
    """Read the version out of the interpreters at these paths (a few ms each)."""
    read: dict[str, InterpreterState] = dict(facts.emulators.files)
    for path in sorted(set(paths)):
        found = read.get(path)
        if isinstance(found, Interpreter) and found.elf and not found.version:
            read[path] = replace(found, version=version_in_file(host, found.real_path))
    return replace(facts, emulators=replace(facts.emulators, files=read))


def with_digests(host: Host, facts: HostFacts) -> HostFacts:
    """Compute the SHA-256 of what --qemu brought, as only of that one is written down (10 ms)."""
    read: dict[str, InterpreterState] = dict(facts.emulators.files)
    for path, found in facts.emulators.files.items():
        if isinstance(found, Interpreter) and found.sha256:
            read[path] = replace(found, digest=file_digest(host, path))
    return replace(facts, emulators=replace(facts.emulators, files=read))


def with_entries(host: Host, registry: RegistryFacts) -> RegistryFacts:
    """The registry with its entries, and what of them could not be read."""
    if registry.mount.state != "mounted":
        return replace(registry, entries=(), unread=(), listing=NOT_LOOKED_AT)
    try:
        read = tuple(Registry(host).entries())
    except OSError as error:
        reason = Unreadable(error.errno or errno.EIO)
        return replace(registry, entries=(), unread=(), listing=reason)
    return replace(
        registry,
        entries=tuple(entry for entry in read if isinstance(entry, Entry)),
        unread=tuple(entry for entry in read if isinstance(entry, UnreadEntry)),
        listing=None,
    )


def _with_marks(host: Host, process: ProcessFacts, registry: RegistryFacts) -> RegistryFacts:
    """The marks on entries, which count only where no file of ours can tell whose they are."""
    if process.own_files or not registry.own:
        return registry
    return replace(registry, marked=Registry(host).marked())


def _distribution(host: Host) -> Distribution:
    said = parse_os_release(host.text("/etc/os-release") or host.text("/usr/lib/os-release"))
    return replace(said, managers=managers_seen(host, said))


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
