"""Judging a host: facts and probe results become typed findings and verdicts.

The probe decides whether a platform works; findings explain. A cause that lies with the
whole host is named once, and the platforms it breaks do not repeat it.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import init_of
from binfmt_setup.boot.lost import RegistryMasked
from binfmt_setup.boot.survival import NotMounted, boot_troubles, why_lost
from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.diagnosis.failed_probes import (
    catching,
    entry_path,
    install,
    install_command,
    no_emulator,
    removal,
    why_not,
)
from binfmt_setup.diagnosis.finding import Finding, Remedy, for_user, shell
from binfmt_setup.diagnosis.verdict import PlatformState, Verdict
from binfmt_setup.diagnosis.working_entries import handler_findings
from binfmt_setup.emulators import choice
from binfmt_setup.model.binfmt_d import PROBLEMS_KEPT
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Absent, Unreadable
from binfmt_setup.model.records import replace
from binfmt_setup.model.shell import typed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Literal

    from binfmt_setup.boot.survival import NotRegistered
    from binfmt_setup.diagnosis.verdict import How
    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.registry_facts import UnreadEntry
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.probes import ProbeResult

    Source = Literal["tried", "entry", "version"]


FIRST_KERNEL_WITH_F = (4, 8)
_CURED_BY_INSTALL = frozenset(("automount-only", "not-mounted"))
"""Causes on the host that may come with a second one: QEMU may be missing as well."""


def judge(
    facts: HostFacts, wished: Sequence[Platform], probes: Mapping[str, ProbeResult], *,
    named: bool = False,
) -> Verdict:  # fmt: skip
    """The verdict on the wished platforms and on the host as far as they depend on it.

    Where they were `named`, what cures the host is for these platforms alone.
    """
    results = [p for w in wished if (p := probes.get(w.probe)) and not p.not_run]
    isolation = tuple(dict.fromkeys(word for p in results for word in p.isolation))
    broken = (w for w in wished if not ((p := probes.get(w.probe)) and p.ok))
    asked = tuple(broken) if named else ()
    uid = facts.process.effective_uid
    found = (*_host_findings(facts, results, asked), *_orphans(facts, wished))
    host = tuple(for_user(finding, uid) for finding in found)
    errors = (finding for finding in host if finding.severity == "error")
    explained = frozenset(f.code for f in errors if not isinstance(f.fact, known.ReadOnly))
    states = (_platform_state(facts, p, probes.get(p.probe), explained) for p in wished)
    return Verdict(tuple(states), host, isolation)


def knows_f(facts: HostFacts, *, emulated: bool) -> Source | None:
    """How it is known that this kernel has the F flag; None when it has not.

    Vendors backport: an entry that shows F, or a program that was emulated without its
    interpreter in reach, says more than a version.
    """
    if emulated:
        return "tried"
    if any("F" in entry.flags for entry in facts.registry.entries):
        return "entry"
    return "version" if facts.kernel.version >= FIRST_KERNEL_WITH_F else None


def _host_findings(
    facts: HostFacts, probes: Sequence[ProbeResult], asked: Sequence[Platform]
) -> Iterator[Finding]:
    """What is wrong with the host as a whole; harmless where everything runs anyway.

    A container sees no registry and yet runs foreign programs through the host's.
    """
    if not facts.live and not facts.kernel.release:
        yield from _files_findings(facts)
        return
    broken = any(not probe.ok for probe in probes)
    if facts.registry.mount.read_only and facts.registry.mount.state == "mounted":
        writable = Remedy(("mount", "-o", "remount,rw", BINFMT_MISC))
        yield Finding(known.ReadOnly(broken), remedy=writable)  # before those that write there
    yield from _kernel_findings(facts, probes, asked, broken=broken)
    if not facts.process.initial_namespace:
        yield Finding(known.PrivateNamespace())
    yield from _unread_registry(facts, broken=broken)
    yield from _bad_entries(facts.registry.unread)
    yield from not_read(facts)
    for unit in facts.boot.failed:
        restart = Remedy(("systemctl", "restart", unit))
        yield Finding(known.SystemdBinfmtFailed(unit), remedy=restart)
    own = any(config.owned for config in facts.boot.configs)
    if own and facts.boot.units_read_only and not facts.boot.unit_links:
        yield Finding(known.UnitsReadOnly(facts.boot.units_read_only))
    if facts.boot.returned.given_up:
        yield Finding(known.DroppedAgain(facts.boot.returned.times))
    yield from (_boot_trouble(facts, trouble) for trouble in boot_troubles(facts))
    yield from _files_findings(facts)


def _files_findings(facts: HostFacts) -> Iterator[Finding]:
    """What the files of the next boot say, which an offline tree has, too."""
    yield from _invalid_files(facts.boot.configs)
    if facts.registry.own and not facts.process.own_files:
        return  # the files are the host's, and the registry goes with its namespace
    from binfmt_setup.diagnosis.next_boot import next_boot_findings

    yield from next_boot_findings(facts)


def _unread_registry(facts: HostFacts, *, broken: bool) -> Iterator[Finding]:
    """A registry that is there and may not be read: that is no "no entry", and no "disabled"."""
    registry = facts.registry
    for path, said in (
        (BINFMT_MISC, registry.listing),
        (f"{BINFMT_MISC}/status", registry.enabled),
    ):
        if isinstance(said, Unreadable):
            look = Remedy(("ls", "-ld", path))
            yield Finding(known.RegistryUnreadable(broken, path, said), remedy=look)


def not_read(facts: HostFacts) -> Iterator[Finding]:
    """Files that could not be read, so that nothing is concluded from them."""
    for file in facts.unread:
        look = Remedy(("ls", "-ld", file.path))
        yield Finding(known.NotRead(file.path, file.reason), remedy=look)


def _boot_trouble(facts: HostFacts, trouble: NotMounted | NotRegistered) -> Finding:
    """What the last boot failed to do; only a mount's absence is a matter of one command."""
    if isinstance(trouble, NotMounted):
        remedy, unmask = Remedy(install(facts)), init_of(facts.boot).cure(RegistryMasked())
        if unmask:  # which mounts nothing by itself
            remedy = shell(f"{typed(unmask)} && {typed(install(facts))}")
        return Finding(known.NotThereAfterBoot(trouble), remedy=remedy)
    if trouble.mount:
        return Finding(known.NotRegisteredInOrder(trouble))
    return Finding(known.NotThereAfterBoot(trouble))


def _bad_entries(bad: Sequence[UnreadEntry]) -> Iterator[Finding]:
    """Entries that cannot be read; beyond some only how many."""
    for entry in bad[:PROBLEMS_KEPT]:
        look = Remedy(("cat", f"{BINFMT_MISC}/{entry.name}"))
        yield Finding(known.EntryUnreadable(entry.name, entry.problem), remedy=look)
    if more := len(bad[PROBLEMS_KEPT:]):
        fact = known.MoreUnreadable("", "", more, len(bad))
        yield Finding(fact, remedy=Remedy(("ls", BINFMT_MISC)))


def _invalid_files(configs: Iterable[ConfigFile]) -> Iterator[Finding]:
    """What is wrong with binfmt.d files; beyond some files only how many."""
    bad = [config for config in configs if config.problems]
    for config in bad[:PROBLEMS_KEPT]:
        yield from _invalid_lines(config)
    if more := len(bad[PROBLEMS_KEPT:]):
        yield Finding(known.MoreFilesInvalid(bad[-1].path, 0, "", "", more))


def _invalid_lines(config: ConfigFile) -> Iterator[Finding]:
    """What is wrong with a binfmt.d file, line by line; beyond some lines only how many."""
    lines = config.text.split("\n") if config.problems else []
    for number, problem in config.problems:
        yield Finding(known.ConfigInvalid(config.path, number, problem, lines[number - 1]))
    if config.more_problems:
        yield Finding(known.MoreInvalid(config.path, len(lines), "", "", config.more_problems))


def _kernel_findings(
    facts: HostFacts, probes: Sequence[ProbeResult], asked: Sequence[Platform], *, broken: bool
) -> Iterator[Finding]:
    """The one root cause in the way to a registry: kernel, module, mount, switch."""
    emulated = any(probe.ok and not probe.native for probe in probes)
    if facts.kernel.release and not knows_f(facts, emulated=emulated):
        yield Finding(known.KernelTooOld(broken, facts.kernel.release))
    elif facts.kernel.support == "absent":
        yield Finding(known.BinfmtMissing(broken, facts.kernel.release))
    elif facts.registry.mount.state == "automount":
        yield Finding(known.AutomountOnly(broken), remedy=_install_for(facts, asked))
    elif facts.registry.mount.state == "absent":
        yield _not_mounted(facts, asked, broken=broken)
    elif facts.registry.enabled is False:
        yield Finding(
            known.GloballyDisabled(broken), remedy=shell(f"echo 1 > {entry_path('status')}")
        )


def _not_mounted(facts: HostFacts, asked: Sequence[Platform], *, broken: bool) -> Finding:
    if not facts.out_of_reach:
        return Finding(known.RegistryNotMounted(broken), remedy=_install_for(facts, asked))
    fact = known.RegistryOutOfReach(broken, facts.process.container)
    return Finding(fact, remedy=_install_for(facts, asked))


def _install_for(facts: HostFacts, asked: Sequence[Platform]) -> Remedy:
    """The install that cures a host, for what was asked about and not for everything else."""
    if not asked:
        command = ("binfmt-setup", "install") if facts.out_of_reach else install(facts)
        return Remedy(command, on_host=facts.out_of_reach)
    lacking = (p for p in asked if not choice.choose(facts, p.target))
    one = install_command(facts, next(lacking, asked[0]))
    return replace(one, platform="", platforms=tuple(platform.name for platform in asked))


def _orphans(facts: HostFacts, wished: Sequence[Platform]) -> Iterator[Finding]:
    """Entries whose program is gone; those of a platform in question are judged with it.

    A container may see the entries of its host, and not the programs. A path that leads each
    process elsewhere says nothing.
    """
    process = facts.process
    if process.container or not (process.sees_files and process.initial_namespace):
        return
    judged = {facts.registry.handler(platform.header) for platform in wished}
    for entry in facts.registry.entries:
        path = entry.interpreter
        of_each_process = not path.startswith("/") or path.startswith("/proc/")
        held = "F" in entry.flags or not entry.enabled or entry in judged or of_each_process
        if not held and isinstance(facts.emulators.at(path), Absent):
            orphan = known.OrphanedEntry(entry.name, path)
            yield Finding(orphan, remedy=removal(entry), seen=(entry,))


def _platform_state(
    facts: HostFacts, platform: Platform, probe: ProbeResult | None, explained: frozenset[str]
) -> PlatformState:
    handler = facts.registry.handler(platform.header)
    state = _bare_state(facts, platform, probe, handler)
    ran = probe is not None and probe.ok
    found: list[Finding] = [] if ran else list(_cpu_findings(facts, platform))
    ready = _prepared(facts, platform)
    if ready is False:
        found.append(_not_prepared(facts, platform))
    elif probe is None or probe.not_run:
        found.append(_unproven(facts, platform, handler, probe.not_run if probe else ""))
    elif found:
        pass  # the processor of this host is the cause
    elif not probe.ok and not explained:
        found.append(why_not(facts, platform, probe))
    elif not probe.ok and explained <= _CURED_BY_INSTALL and _wants_emulator(facts, platform):
        found.append(no_emulator(facts, platform))
    elif probe.ok and handler is not None:
        found += handler_findings(facts, platform, handler, probe)
    elif probe.ok and (taker := facts.registry.taker(platform.target)) is not None:
        caught = catching(facts, platform, taker)
        found += [] if caught is None else [caught]
    return PlatformState(
        platform,
        ran=state.ran,
        how=state.how,
        handler=handler,
        pinned_version=state.pinned_version,
        disk_version=state.disk_version,
        persistent=state.persistent,
        prepared=ready,
        findings=tuple(for_user(finding, facts.process.effective_uid) for finding in found),
    )


def _not_prepared(facts: HostFacts, platform: Platform) -> Finding:
    """What an offline tree lacks: its entry, or the emulator as well."""
    from binfmt_setup.diagnosis.failed_probes import install_command

    problem = why_lost(facts, platform.target.entry_name)
    fact = known.NotPrepared(problem)
    if facts.boot.switched_off:
        return Finding(fact, platform.name)
    if problem is not None and (command := init_of(facts.boot).cure(problem)):
        return Finding(fact, platform.name, Remedy(("chroot", facts.root, *command)))
    return Finding(fact, platform.name, install_command(facts, platform))


def _prepared(facts: HostFacts, platform: Platform) -> bool | None:
    """Whether the first boot will have it, of an offline tree alone."""
    if facts.live:
        return None
    from binfmt_setup.diagnosis.next_boot import prepared

    return prepared(facts, platform)


def _wants_emulator(facts: HostFacts, platform: Platform) -> bool:
    """Whether QEMU is missing besides what is wrong with the host; a container needs none."""
    unserved = facts.registry.handler(platform.header) is None and not facts.out_of_reach
    return unserved and not choice.choose(facts, platform.target)


def _bare_state(
    facts: HostFacts, platform: Platform, probe: ProbeResult | None, handler: Entry | None
) -> PlatformState:
    """The verdict without its explanations."""
    ok = probe is not None and probe.ok
    how: How = "none"
    if probe is not None and probe.ok:
        how = "native" if probe.native else "emulated"
    disk = facts.emulators.file_at(handler.interpreter) if handler else None
    same = probe is not None and disk is not None and probe.pinned == disk.identity
    persistent = None
    if how == "native":
        persistent = True
    elif handler is not None and facts.process.sees_files:
        persistent = not why_lost(facts, handler.name)
    version = disk.version if disk else ""
    pinned = version if same else probe.pinned_version if probe else ""
    return PlatformState(platform, ok, how, handler, pinned, version, persistent)


def _unproven(facts: HostFacts, platform: Platform, handler: Entry | None, not_run: str) -> Finding:
    """What can be said of a platform without a probe, or whose probe could not be run."""
    complete = facts.registry.complete
    if facts.live and handler is None and facts.registry.mount.state == "mounted" and complete:
        missing = known.NoEntryFits()
        return Finding(missing, platform.name, install_command(facts, platform))
    if not_run:
        return Finding(known.ProbeNotRun(facts.live, not_run), platform.name)
    return Finding(known.NotProbed(facts.live), platform.name)


def _cpu_findings(facts: HostFacts, platform: Platform) -> Iterator[Finding]:
    """Of an x86-64 host that does not run a level, what its processor lacks."""
    lacking = facts.kernel.cpu_lacks(platform)
    if lacking and facts.kernel.native == platform.target:
        yield Finding(known.CpuTooOld(platform.variant.suffix, lacking), platform.name)
