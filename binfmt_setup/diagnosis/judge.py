"""Judging a host: facts and probe results become typed findings and verdicts.

The probe decides whether a platform works; findings explain. A cause that lies with the
whole host is named once, and the platforms it breaks do not repeat it.
"""

from __future__ import annotations

import os
import shlex
from itertools import chain
from typing import TYPE_CHECKING

from binfmt_setup.boot.survival import (
    NOT_MOUNTED,
    SWITCH_ON,
    SWITCHED_OFF,
    boot_troubles,
    persistence_problem,
)
from binfmt_setup.diagnosis.failed_probes import install, install_command, no_emulator, why_not
from binfmt_setup.diagnosis.verdict import Finding, How, PlatformState, Severity, Verdict
from binfmt_setup.diagnosis.working_entries import handler_findings
from binfmt_setup.emulators import choice
from binfmt_setup.model.binfmt_d import PROBLEMS_KEPT
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.registry_facts import UnreadEntry
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.probes import ProbeResult

__all__ = ["Finding", "PlatformState", "Severity", "Verdict", "judge", "why_not"]
FIRST_KERNEL_WITH_F = (4, 8)
_CURED_BY_INSTALL = frozenset(("automount-only", "not-mounted"))
"""Causes on the host that leave room for a second one: QEMU may be missing as well."""


def judge(
    facts: HostFacts, wished: Sequence[Platform], probes: Mapping[str, ProbeResult]
) -> Verdict:
    """The verdict on the wished platforms and on the host as far as they depend on it."""
    results = [p for w in wished if (p := probes.get(w.probe)) and not p.not_run]
    isolation = tuple(dict.fromkeys(word for p in results for word in p.isolation))
    host = tuple(_host_findings(facts, results))
    explained = frozenset(finding.code for finding in host if finding.severity == "error")
    states = (_platform_state(facts, p, probes.get(p.probe), explained) for p in wished)
    return Verdict(tuple(states), host, isolation)


def knows_f(facts: HostFacts, *, emulated: bool) -> str:
    """How it is known that this kernel has the F flag; empty when it has not.

    Vendors backport: an entry that shows F, or a program that was emulated without its
    interpreter in reach, says more than a version.
    """
    if emulated:
        return "tried: a pinned emulator ran"
    if any("F" in entry.flags for entry in facts.registry.entries):
        return "an entry has it"
    return "by its version" if facts.kernel.version >= FIRST_KERNEL_WITH_F else ""


def _host_findings(facts: HostFacts, probes: Sequence[ProbeResult]) -> Iterator[Finding]:
    """What is wrong with the host as a whole; harmless where everything runs anyway.

    A container sees no registry and yet runs foreign programs through the host's.
    """
    if not facts.live and not facts.kernel.release:
        return
    broken = any(not probe.ok for probe in probes)
    yield from _kernel_findings(facts, probes, "error" if broken else "info")
    if facts.registry.mount.read_only and facts.registry.mount.state == "mounted":
        yield Finding(
            "read-only", "info", "binfmt_misc is mounted read-only here: nothing can be registered",
            f"run: mount -o remount,rw {BINFMT_MISC}", evidence="/proc/self/mountinfo: ro",
        )  # fmt: skip
    if not facts.process.initial_namespace:
        yield Finding(
            "private-namespace", "info",
            "this is a user namespace of its own: what is said holds here, not for the host",
            evidence="/proc/self/uid_map does not map all users",
        )  # fmt: skip
    yield from _bad_entries(facts.registry.unread)
    for code, message, hint in boot_troubles(facts):
        yield Finding(
            code, "warning", message, hint, evidence="the files and units that the next boot reads"
        )
    yield from chain.from_iterable(map(_invalid_lines, facts.boot.configs))


def _bad_entries(bad: Sequence[UnreadEntry]) -> Iterator[Finding]:
    """Entries that cannot be read; beyond some only how many."""
    yield from map(_unread_entry, bad[:PROBLEMS_KEPT])
    if more := len(bad[PROBLEMS_KEPT:]):
        yield Finding(
            "entry-unreadable", "warning", f"and {more:,} more entries make no sense",
            f"look at them: ls {BINFMT_MISC}", evidence=f"{len(bad):,} entries",
        )  # fmt: skip


def _invalid_lines(config: ConfigFile) -> Iterator[Finding]:
    """What is wrong with a binfmt.d file, line by line; beyond some lines only how many."""
    lines = config.text.split("\n") if config.problems else []
    for number, problem in config.problems:
        yield Finding(
            "config-invalid", "warning", f"{config.path}:{number}: {problem}",
            f"correct or remove line {number} of {config.path}",
            evidence=lines[number - 1],
        )  # fmt: skip
    if config.more_problems:
        yield Finding(
            "config-invalid", "warning",
            f"{config.path}: and {config.more_problems:,} more lines that register nothing",
            f"correct or remove {config.path}", evidence=f"{len(lines):,} lines",
        )  # fmt: skip


def _unread_entry(entry: UnreadEntry) -> Finding:
    """An entry that the kernel uses and nobody here can look at."""
    path = f"{BINFMT_MISC}/{entry.name}"
    if isinstance(entry.problem, Unreadable):
        words = f"entry {entry.name} cannot be read: {os.strerror(entry.problem.errno)}"
    else:
        words = f"entry {entry.name} makes no sense: {entry.problem}"
    return Finding(
        "entry-unreadable", "warning", words, f"look at it: cat {shlex.quote(path)}", evidence=path
    )


def _kernel_findings(
    facts: HostFacts, probes: Sequence[ProbeResult], severity: Severity
) -> Iterator[Finding]:
    """The one root cause in the way to a registry: kernel, module, mount, switch."""
    emulated = any(probe.ok and not probe.native for probe in probes)
    if facts.kernel.release and not knows_f(facts, emulated=emulated):
        yield Finding(
            "kernel-too-old", severity,
            f"Linux {facts.kernel.release} has no F flag: containers and chroots cannot emulate",
            "update the kernel: Linux 4.8 or newer is needed",
            evidence="/proc/sys/kernel/osrelease; no entry shows F, no foreign program ran",
        )  # fmt: skip
    elif facts.kernel.support == "absent":
        yield Finding(
            "binfmt-missing", severity, f"Linux {facts.kernel.release} comes without binfmt_misc",
            "install the kernel's extra modules, or a kernel with CONFIG_BINFMT_MISC",
            evidence="neither /proc/filesystems nor modules.dep has binfmt_misc",
        )  # fmt: skip
    elif facts.registry.mount.state == "automount":
        yield Finding(
            "automount-only", severity, "binfmt_misc is only an automount that nobody triggered",
            f"run: {install(facts)}",
            evidence="/proc/self/mountinfo: autofs, and no binfmt_misc over it",
        )  # fmt: skip
    elif facts.registry.mount.state == "absent":
        yield _not_mounted(facts, severity)
    elif facts.registry.enabled is False:
        yield Finding(
            "globally-disabled", "error", SWITCHED_OFF, SWITCH_ON,
            evidence=f"{BINFMT_MISC}/status: disabled",
        )  # fmt: skip


def _not_mounted(facts: HostFacts, severity: Severity) -> Finding:
    evidence = f"/proc/self/mountinfo has nothing at {BINFMT_MISC}"
    if not facts.out_of_reach:
        return Finding(
            "not-mounted", severity, NOT_MOUNTED, f"run: {install(facts)}", evidence=evidence
        )
    rest = ", and its host emulates nothing" if severity == "error" else ""
    return Finding(
        "not-mounted", severity,
        f"binfmt_misc does not show in this {facts.process.container} container{rest}",
        "run on the host: binfmt-setup install", evidence=evidence,
    )  # fmt: skip


def _platform_state(
    facts: HostFacts, platform: Platform, probe: ProbeResult | None, explained: frozenset[str]
) -> PlatformState:
    handler = facts.registry.handler(platform.target.magic)
    state = _bare_state(facts, platform, probe, handler)
    found: list[Finding] = list(_cpu_findings(facts, platform))
    if probe is None or probe.not_run:
        found.append(_unproven(facts, platform, handler, probe.not_run if probe else ""))
    elif not probe.ok and not explained:
        found.append(why_not(facts, platform, probe))
    elif not probe.ok and explained <= _CURED_BY_INSTALL and _wants_emulator(facts, platform):
        found.append(no_emulator(facts, platform))
    elif probe.ok and handler is not None:
        found += handler_findings(facts, platform, handler, probe)
    missing_cpu = any(finding.code == "cpu-too-old" for finding in found)
    return PlatformState(
        platform,
        ran=state.ran and not missing_cpu,
        how=state.how,
        handler=handler,
        pinned_version=state.pinned_version,
        disk_version=state.disk_version,
        persistent=state.persistent,
        findings=tuple(found),
    )


def _wants_emulator(facts: HostFacts, platform: Platform) -> bool:
    """Whether QEMU is missing besides what is wrong with the host; a container needs none."""
    unserved = facts.registry.handler(platform.target.magic) is None and not facts.out_of_reach
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
    elif handler is not None:
        persistent = not persistence_problem(facts, handler.name)
    version = disk.version if disk else ""
    pinned = version if same else probe.pinned_version if probe else ""
    return PlatformState(platform, ok, how, handler, pinned, version, persistent)


def _unproven(facts: HostFacts, platform: Platform, handler: Entry | None, not_run: str) -> Finding:
    """What can be said of a platform without a probe, or whose probe could not be run."""
    name = platform.name
    if facts.live and handler is None and facts.registry.mount.state == "mounted":
        return Finding(
            "entry-missing", "error", f"{name}: no entry for {platform.target.name} programs",
            install_command(facts, platform), name, "no entry's magic and mask fit its programs",
        )  # fmt: skip
    if not_run:
        return Finding(
            "not-probed", "error", f"{name} is not proven: {not_run}",
            "run it as root, or allow user namespaces (sysctl user.max_user_namespaces)",
            name, "chroot(2) and unshare(2) were tried",
        )  # fmt: skip
    words = "there is no probe for it" if facts.live else "an offline tree runs no probe"
    return Finding("not-probed", "info", f"{name} is not proven: {words}", platform=name)


def _cpu_findings(facts: HostFacts, platform: Platform) -> Iterator[Finding]:
    """An x86-64 level on an x86-64 host is a matter of the processor alone."""
    lacking = facts.kernel.cpu_lacks(platform)
    if lacking and facts.kernel.native == platform.target:
        yield Finding(
            "cpu-too-old", "error",
            f"{platform.name}: this processor is no x86-64-{platform.variant.suffix}",
            "use another machine: a host cannot emulate its own architecture",
            platform.name, f"/proc/cpuinfo lacks {' '.join(lacking)}",
        )  # fmt: skip
