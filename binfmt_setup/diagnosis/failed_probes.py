"""Why a platform does not run: one cause for a probe that failed, with evidence and remedy."""

from __future__ import annotations

import errno
import shlex
from typing import TYPE_CHECKING

from binfmt_setup.boot.units import config_path
from binfmt_setup.diagnosis.verdict import Finding
from binfmt_setup.emulators import choice
from binfmt_setup.emulators.package_managers.interface import package_manager
from binfmt_setup.model.mountinfo import BINFMT_MISC

if TYPE_CHECKING:
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.probes import ProbeResult


def install(facts: HostFacts) -> str:
    """The install command without its platforms, as it works in this namespace."""
    private = "" if facts.process.initial_namespace else " --private"
    return "binfmt-setup install" + private + ("" if facts.process.own_files else " --no-persist")


def install_command(facts: HostFacts, platform: Platform) -> str:
    """The one command that makes a platform run on this host, QEMU included.

    A file of someone else's that stands where install writes is moved away before.
    """
    if facts.out_of_reach:
        return f"run on the host: binfmt-setup install {platform.name}"
    source, before = "", "run: "
    if not choice.choose(facts, platform.target):
        manager = package_manager(facts.distribution)
        source = "--install-qemu " if manager else "--qemu DIR "
        if manager is not None and not manager.runs:
            remedy = manager.remedy(facts.distribution, [platform.target])
            if manager.registers:
                return f"{remedy}; then run: binfmt-setup check {platform.name}"
            source, before = "", f"{remedy}; then run: "
    return f"{before}{_out_of_the_way(facts, platform)}{install(facts)} {source}{platform.name}"


def _out_of_the_way(facts: HostFacts, platform: Platform) -> str:
    path = config_path(platform.target)
    foreign = any(config.path == path and not config.owned for config in facts.boot.configs)
    return f"mv {path} {path}.old && " if foreign else ""


def removal_command(entry: Entry) -> str:
    """The command that takes an entry out of the kernel.

    A builtin of the shell does it, so that it works even while no program starts.
    """
    return f"echo -1 > {entry_path(entry)}"


def entry_path(entry: Entry) -> str:
    """Where an entry's file is, as a word of a shell command."""
    return shlex.quote(f"{BINFMT_MISC}/{entry.name}")


def tried(probe: ProbeResult) -> str:
    """What became of a probe, as evidence."""
    return f"the probe in an empty chroot: {probe.why() or 'it ran'}"


def shown(entry: Entry) -> str:
    """What the kernel shows of an entry, as evidence."""
    state = "enabled" if entry.enabled else "disabled"
    flags = entry.flags or "none"
    return f"{BINFMT_MISC}/{entry.name}: {state}, {entry.interpreter}, flags {flags}"


def why_not(facts: HostFacts, platform: Platform, probe: ProbeResult) -> Finding:
    """The cause for a probe that did not run, from the errno and the entries."""
    name = platform.name
    handler = facts.registry.handler(platform.target.magic)
    if probe.arguments_shifted:
        return Finding(
            "argv0-mismatch", "error",
            f"{name}: kernel and QEMU disagree about the P flag, arguments arrive shifted",
            install_command(facts, platform), name,
            f"the probe was given 2 arguments and saw {probe.fields['argc']}"
            + (f"; {shown(handler)}" if handler else ""),
        )  # fmt: skip
    if probe.limit:
        return Finding(
            "caller-limit", "error", f"{name}: {probe.limit}",
            "raise that limit (limits.conf, LimitAS=, ulimit) and run it again", name, tried(probe),
        )  # fmt: skip
    if probe.timed_out:
        return Finding(
            "probe-timeout", "error", f"{name}: the probe did not end in time",
            f"run again when the host is less busy: binfmt-setup check {name}", name, tried(probe),
        )  # fmt: skip
    if handler is None:
        return _no_handler(facts, platform, probe)
    if probe.errno == errno.ELOOP:
        return Finding(
            "native-registered", "error",
            f"{name}: entry {handler.name} catches the host's own programs",
            f"run: {removal_command(handler)}", name, f"{tried(probe)}; {shown(handler)}",
        )  # fmt: skip
    return _bad_handler(facts, platform, handler, probe)


def _no_handler(facts: HostFacts, platform: Platform, probe: ProbeResult) -> Finding:
    """No enabled entry takes programs of this platform: missing, disabled, or different."""
    name, target = platform.name, platform.target
    matching = (e for e in facts.registry.entries if e.registration.matches(target.magic))
    disabled = next((e for e in matching if not e.enabled), None)
    if disabled is not None:
        return Finding(
            "entry-disabled", "error", f"{name}: entry {disabled.name} is disabled",
            f"run: echo 1 > {entry_path(disabled)}", name, shown(disabled),
        )  # fmt: skip
    other = facts.registry.entry(target.entry_name)
    if other is not None:
        return Finding(
            "entry-differs", "error",
            f"{name}: entry {target.entry_name} does not match {target.name} programs",
            install_command(facts, platform), name,
            f"its magic is {other.registration.magic.hex() or 'none'}, programs of "
            f"{target.name} start with {target.magic.hex()}",
        )  # fmt: skip
    if probe.errno not in (0, errno.ENOEXEC):
        return Finding(
            "probe-failed", "error", f"{name}: {probe.why()}",
            install_command(facts, platform), name, tried(probe),
        )  # fmt: skip
    if facts.registry.mount.state == "mounted" and not choice.choose(facts, target):
        return no_emulator(facts, platform)
    return Finding(
        "entry-missing", "error", f"{name}: no entry for {target.name} programs",
        install_command(facts, platform), name, tried(probe),
    )  # fmt: skip


def no_emulator(facts: HostFacts, platform: Platform) -> Finding:
    """Nothing could be registered: there is no QEMU, or none that would work pinned."""
    target = platform.target
    paths = facts.emulators.candidates.get(target.name, ())
    refused = [choice.refusal(facts, path, facts.emulators.at(path)) for path in paths]
    code, words = next((r for r in refused if r[0]), ("interpreter-missing", ""))
    manager = package_manager(facts.distribution)
    distribution = facts.distribution.name or "this system"
    if manager is None:
        where = f"{distribution} has no package with a static QEMU that is known here"
    else:
        where = (
            f"{distribution} has it in {' '.join(manager.packages(facts.distribution, [target]))}"
        )
    return Finding(
        code, "error",
        f"{platform.name}: {words or 'there is no emulator for it on this host'}",
        install_command(facts, platform), platform.name, where,
    )  # fmt: skip


def _bad_handler(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Finding:
    """An entry takes the program and yet it does not run."""
    name = platform.name
    install = install_command(facts, platform)
    evidence = f"{tried(probe)}; {shown(handler)}"
    own = facts.registry.entry(platform.target.entry_name)
    if handler.name != platform.target.entry_name and own is not None:
        return Finding(
            "entry-shadowed", "error",
            f"{name}: entry {handler.name} comes before {own.name} and does not work",
            install, name, evidence,
        )  # fmt: skip
    if "F" not in handler.flags:
        return Finding(
            "flag-f-missing", "error",
            f"{name}: entry {handler.name} has no F flag, so no chroot or container finds "
            f"{handler.interpreter}",
            install, name, evidence,
        )  # fmt: skip
    path = handler.interpreter
    code, words = choice.refusal(facts, path, facts.emulators.at(path))
    if code in ("interpreter-dynamic", "interpreter-wrong-architecture"):
        return Finding(code, "error", f"{name}: {words}", install, name, evidence)
    if probe.errno == errno.EACCES:
        return Finding(
            "access-denied", "error", f"{name}: the kernel may not execute the interpreter",
            "run: journalctl -k -g denied   (SELinux or AppArmor say there what they refused)",
            name, evidence,
        )  # fmt: skip
    return Finding(
        "probe-failed", "error", f"{name}: {handler.interpreter}: {probe.why()}",
        f"run: binfmt-setup install --qemu DIR {name}", name, evidence,
    )  # fmt: skip
