"""Judging a host: facts and probe results become typed findings and verdicts.

The probe decides whether a platform works; findings explain. A cause that lies with the
whole host is named once, and the platforms it breaks do not repeat it.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from binfmt_setup import emulators, packages
from binfmt_setup.origins import left_by
from binfmt_setup.persistence import (
    boot_troubles,
    order_problem,
    persistence_problem,
    remedy,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from binfmt_setup.facts import HostFacts
    from binfmt_setup.probes import ProbeResult
    from binfmt_setup.registration import Entry
    from binfmt_setup.targets import Platform

Severity = Literal["error", "warning", "info"]
How = Literal["native", "emulated", "none"]
FIRST_KERNEL_WITH_F = (4, 8)
FIRST_KERNEL_WITH_AT_FLAGS = (5, 12)
"""From here on the kernel tells an interpreter through AT_FLAGS that P is set."""
_MOUNT_COMMAND = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"


@dataclass(frozen=True)
class Finding:
    """One fact that keeps a platform from working, or will: stable code, words, remedy."""

    code: str
    severity: Severity
    message: str
    hint: str = ""
    platform: str = ""


@dataclass(frozen=True)
class PlatformState:
    """The verdict on one platform."""

    platform: Platform
    ok: bool
    how: How
    handler: Entry | None = None
    pinned_version: str = ""
    disk_version: str = ""
    persistent: bool | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def unproven(self) -> bool:
        """Whether nothing speaks against it, but no probe could show that it works."""
        return not self.ok and {finding.code for finding in self.findings} == {"not-probed"}


@dataclass(frozen=True)
class Verdict:
    """What a check found: platforms in the order asked for, and findings on the host."""

    platforms: tuple[PlatformState, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Those of the host first, then platform by platform."""
        return self.findings + tuple(f for state in self.platforms for f in state.findings)

    def good(self, *, strict: bool = False) -> bool:
        """Whether every platform that can be proven works, and one at least is.

        With `strict` no warning is tolerated either.
        """
        bad = ("error", "warning") if strict else ("error",)
        clean = all(finding.severity not in bad for finding in self.all_findings)
        proven = any(state.ok for state in self.platforms)
        return clean and proven and all(s.ok or s.unproven for s in self.platforms)


def judge(
    facts: HostFacts, wished: Sequence[Platform], probes: Mapping[str, ProbeResult]
) -> Verdict:
    """The verdict on the wished platforms and on the host as far as they depend on it."""
    broken = any(platform.probe in probes and not probes[platform.probe].ok for platform in wished)
    host = tuple(_host_findings(facts, broken=broken))
    explained = any(finding.severity == "error" for finding in host)
    states = (_platform_state(facts, p, probes.get(p.probe), explained=explained) for p in wished)
    return Verdict(tuple(states), host)


def _host_findings(facts: HostFacts, *, broken: bool) -> Iterator[Finding]:
    """What is wrong with the host as a whole; harmless where everything runs anyway.

    A container sees no registry and yet runs foreign programs through the host's.
    """
    if not facts.live and not facts.kernel:
        return
    yield from _registry_findings(facts, "error" if broken else "info")
    if facts.mount.read_only and facts.mount.state == "mounted":
        yield Finding("read-only", "info", "binfmt_misc is mounted read-only here")
    if not facts.initial_namespace:
        yield Finding(
            "private-namespace", "info",
            "this is a user namespace of its own: what is said holds here, not for the host",
        )  # fmt: skip
    for name, problem in facts.bad_entries:
        yield Finding("entry-unreadable", "warning", f"entry {name} makes no sense: {problem}")
    for code, message, hint in boot_troubles(facts):
        yield Finding(code, "warning", message, hint)
    for config in facts.configs:
        for number, problem in config.problems:
            yield Finding(
                "config-invalid", "warning", f"{config.path}:{number}: {problem}",
                f"correct or remove line {number} of {config.path}",
            )  # fmt: skip


def _registry_findings(facts: HostFacts, severity: Severity) -> Iterator[Finding]:
    """The one root cause in the way to a registry: kernel, module, mount, switch."""
    if facts.kernel and facts.kernel_version < FIRST_KERNEL_WITH_F:
        yield Finding(
            "kernel-too-old", severity,
            f"Linux {facts.kernel} has no F flag: containers and chroots cannot emulate",
            "Linux 4.8 or newer is needed",
        )  # fmt: skip
    if facts.support == "absent":
        yield Finding(
            "binfmt-missing", severity, f"Linux {facts.kernel} comes without binfmt_misc",
            "install the kernel's extra modules, or a kernel with CONFIG_BINFMT_MISC",
        )  # fmt: skip
    elif facts.mount.state == "automount":
        yield Finding(
            "automount-only", severity, "binfmt_misc is only an automount that nobody triggered",
            "run: binfmt-setup install",
        )  # fmt: skip
    elif facts.mount.state == "absent":
        where = f" (in this {facts.container} container)" if facts.container else ""
        yield Finding(
            "not-mounted", severity, f"binfmt_misc is not mounted{where}",
            f"run: {_MOUNT_COMMAND}   (binfmt-setup install does it)",
        )  # fmt: skip
    elif facts.enabled is False:
        yield Finding(
            "globally-disabled", "error", "binfmt_misc is switched off for all entries",
            "run: echo 1 > /proc/sys/fs/binfmt_misc/status",
        )  # fmt: skip


def _platform_state(
    facts: HostFacts, platform: Platform, probe: ProbeResult | None, *, explained: bool
) -> PlatformState:
    handler = facts.handler(platform.target.magic)
    state = _bare_state(facts, platform, probe, handler)
    found: list[Finding] = list(_cpu_findings(facts, platform))
    if probe is None:
        found.append(_unproven(facts, platform, handler))
    elif not probe.ok and not explained:
        found.append(why_not(facts, platform, probe))
    elif probe.ok and handler is not None:
        found += _handler_findings(facts, platform, handler, probe)
    missing_cpu = any(finding.code == "cpu-too-old" for finding in found)
    return PlatformState(
        platform,
        ok=state.ok and not missing_cpu,
        how=state.how,
        handler=handler,
        pinned_version=state.pinned_version,
        disk_version=state.disk_version,
        persistent=state.persistent,
        findings=tuple(found),
    )


def _bare_state(
    facts: HostFacts, platform: Platform, probe: ProbeResult | None, handler: Entry | None
) -> PlatformState:
    """The verdict without its explanations."""
    ok = probe is not None and probe.ok
    how: How = "none"
    if probe is not None and probe.ok:
        how = "native" if probe.native else "emulated"
    disk = facts.interpreter(handler.interpreter) if handler else None
    same = probe is not None and disk is not None and probe.pinned == disk.identity
    persistent = None
    if how == "native":
        persistent = True
    elif handler is not None:
        persistent = not persistence_problem(facts, handler.name)
    version = disk.version if disk else ""
    pinned = version if same else probe.pinned_version if probe else ""
    return PlatformState(platform, ok, how, handler, pinned, version, persistent)


def _unproven(facts: HostFacts, platform: Platform, handler: Entry | None) -> Finding:
    """What can be said of a platform without a probe."""
    name = platform.name
    if facts.live and handler is None and facts.mount.state == "mounted":
        return Finding(
            "entry-missing", "error", f"{name}: no entry for {platform.target.name} programs",
            f"run: binfmt-setup install {name}", name,
        )  # fmt: skip
    words = "there is no probe for it" if facts.live else "an offline tree runs no probe"
    return Finding("not-probed", "info", f"{name} is not proven: {words}", platform=name)


def _cpu_findings(facts: HostFacts, platform: Platform) -> Iterator[Finding]:
    """An x86-64 level on an x86-64 host is a matter of the processor alone."""
    lacking = facts.cpu_lacks(platform)
    if lacking and facts.native == platform.target:
        yield Finding(
            "cpu-too-old", "error",
            f"this processor is no x86-64-{platform.variant.suffix}: it lacks {' '.join(lacking)}",
            "only another machine can run it: a host cannot emulate its own architecture",
            platform.name,
        )  # fmt: skip


def why_not(facts: HostFacts, platform: Platform, probe: ProbeResult) -> Finding:
    """The cause for a probe that did not run, from the errno and the entries."""
    name = platform.name
    handler = facts.handler(platform.target.magic)
    install = f"run: binfmt-setup install {name}"
    if probe.arguments_shifted:
        return Finding(
            "argv0-mismatch", "error",
            f"{name}: kernel and QEMU disagree about the P flag, arguments arrive shifted",
            install, name,
        )  # fmt: skip
    if probe.timed_out:
        return Finding(
            "probe-timeout", "error", f"{name}: the probe did not end in time",
            "see what the host is busy with, and try again", name,
        )  # fmt: skip
    if handler is None:
        return _no_handler(facts, platform, probe)
    if probe.errno == errno.ELOOP:
        return Finding(
            "native-registered", "error",
            f"entry {handler.name} catches the host's own programs",
            f"run: echo -1 > /proc/sys/fs/binfmt_misc/{handler.name}", name,
        )  # fmt: skip
    return _bad_handler(facts, platform, handler, probe)


def _no_handler(facts: HostFacts, platform: Platform, probe: ProbeResult) -> Finding:
    """No enabled entry takes programs of this platform: missing, disabled, or different."""
    name, target = platform.name, platform.target
    install = f"run: binfmt-setup install {name}"
    disabled = next(
        (e for e in facts.entries if not e.enabled and e.registration.matches(target.magic)), None
    )
    if disabled is not None:
        return Finding(
            "entry-disabled", "error", f"{name}: entry {disabled.name} is disabled",
            f"run: echo 1 > /proc/sys/fs/binfmt_misc/{disabled.name}", name,
        )  # fmt: skip
    if facts.entry(target.entry_name) is not None:
        return Finding(
            "entry-differs", "error",
            f"{name}: entry {target.entry_name} does not match {target.name} programs",
            install, name,
        )  # fmt: skip
    if probe.errno not in (0, errno.ENOEXEC):
        return Finding("probe-failed", "error", f"{name}: {probe.why()}", install, name)
    if facts.mount.state != "mounted":
        return Finding(
            "entry-missing", "error", f"{name}: no emulation, and no registry to see here",
            install, name,
        )  # fmt: skip
    if not emulators.choose(facts, target):
        install = packages.install_hint(facts, [target]).partition("   ")[0]
    return Finding(
        "entry-missing", "error", f"{name}: no entry for {target.name} programs", install, name
    )


def _bad_handler(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Finding:
    """An entry takes the program and yet it does not run."""
    name = platform.name
    install = f"run: binfmt-setup install {name}"
    interpreter = facts.interpreter(handler.interpreter)
    if handler.name != platform.target.entry_name and facts.entry(platform.target.entry_name):
        return Finding(
            "entry-shadowed", "error",
            f"{name}: entry {handler.name} comes first and does not work ({probe.why()})",
            install, name,
        )  # fmt: skip
    if "F" not in handler.flags:
        return Finding(
            "flag-f-missing", "error",
            f"{name}: entry {handler.name} has no F flag, so no chroot or container finds "
            f"{handler.interpreter}",
            install, name,
        )  # fmt: skip
    code, words = emulators.refusal(facts, interpreter)
    if code in ("interpreter-dynamic", "interpreter-wrong-architecture"):
        return Finding(code, "error", f"{name}: {words}", install, name)
    if probe.errno == errno.EACCES:
        return Finding(
            "access-denied", "error", f"{name}: the kernel may not execute the interpreter",
            "look for SELinux or AppArmor denials: journalctl -k -g denied", name,
        )  # fmt: skip
    return Finding(
        "probe-failed", "error", f"{name}: {handler.interpreter}: {probe.why()}",
        "try another QEMU: binfmt-setup install --qemu DIR " + name, name,
    )  # fmt: skip


def _handler_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """What is wrong with an entry that works."""
    name = platform.name
    if probe.native:
        return
    if facts.native and (
        platform.target == facts.native or handler.registration.matches(facts.native.magic)
    ):
        yield Finding(
            "native-registered", "error", f"entry {handler.name} catches the host's own programs",
            f"run: echo -1 > /proc/sys/fs/binfmt_misc/{handler.name}", name,
        )  # fmt: skip
    yield from _file_findings(facts, platform, handler, probe)
    if not probe.argv0_kept:
        yield Finding(
            "argv0-mismatch", "info", f"{name}: programs see their path as argv[0] (no P flag)",
            "", name,
        )  # fmt: skip
    if "C" in handler.flags:
        yield Finding(
            "credentials-flag", "warning",
            f"entry {handler.name} has the C flag: set-user-ID programs run as root under QEMU",
            f"run: binfmt-setup install --take-over {name}   (registers without C)", name,
        )  # fmt: skip
    problem = persistence_problem(facts, handler.name)
    has_init = facts.boot.running or facts.boot.init == "openrc"
    if problem and (facts.initial_namespace or has_init):
        yield Finding(
            "not-persistent", "warning", f"{name} will not survive a reboot: {problem}",
            remedy(problem, name), name,
        )  # fmt: skip
    elif late := order_problem(facts, handler.name):
        ours = "lost" not in late
        yield Finding(
            "boot-order", "info" if ours else "warning", f"{name} {late}",
            "" if ours else f"run: binfmt-setup install {name}", name,
        )  # fmt: skip


def _file_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """The interpreter's file: gone, changed since it was pinned, or changeable by anyone."""
    name = platform.name
    disk = facts.interpreter(handler.interpreter)
    install = f"run: binfmt-setup install {name}"
    if disk.problem == "missing":
        yield Finding(
            "interpreter-missing", "warning",
            f"{handler.interpreter} does not exist here{left_by(facts, handler)}: "
            f"{name} works until the next reboot",
            install, name,
        )  # fmt: skip
    elif probe.pinned and not disk.problem and probe.pinned != disk.identity:
        yield Finding(
            "interpreter-stale", "warning",
            f"{name}: the kernel still runs an older {handler.interpreter} than the one on disk",
            install, name,
        )  # fmt: skip
    if disk.digest and disk.sha256 and disk.digest != disk.sha256:
        yield Finding(
            "interpreter-altered", "warning",
            f"{handler.interpreter} is not the file that --qemu {disk.source} brought",
            f"run: binfmt-setup install --qemu {disk.source} {name}", name,
        )  # fmt: skip
    if disk.writable_by_others:
        yield Finding(
            "interpreter-writable", "warning",
            f"every user can write to {disk.writable_by_others[0]}, which runs as root",
            f"run: chmod o-w {disk.writable_by_others[0]}", name,
        )  # fmt: skip
