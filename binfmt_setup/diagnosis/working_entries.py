"""What is wrong with an entry that works: it will break, surprise, or is a risk."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from binfmt_setup.boot.survival import order_problem, persistence_problem, remedy
from binfmt_setup.diagnosis.failed_probes import install_command, removal_command, shown
from binfmt_setup.diagnosis.ownership import left_by
from binfmt_setup.diagnosis.verdict import Finding
from binfmt_setup.model.interpreter import Interpreter
from binfmt_setup.model.reading import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.probes import ProbeResult


def from_distribution(facts: HostFacts, entry: Entry) -> bool:
    """Whether a package of the distribution registers an entry so, flags and all."""
    config = facts.boot.config_of(entry.name)
    if config is None:
        return entry.name in facts.boot.update_binfmts
    return config.path.startswith("/usr/lib/") and entry.registration in config.registrations


def handler_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """What is to be said of an entry that emulates a platform."""
    if probe.native:
        return
    if facts.kernel.native and (
        platform.target == facts.kernel.native
        or handler.registration.matches(facts.kernel.native.magic)
    ):
        yield Finding(
            "native-registered", "error",
            f"{platform.name}: entry {handler.name} catches the host's own programs",
            f"run: {removal_command(handler)}", platform.name, shown(handler),
        )  # fmt: skip
    gone = isinstance(facts.emulators.at(handler.interpreter), Absent)
    yield from _file_findings(facts, platform, handler, probe)
    yield from _flag_findings(facts, platform, handler, probe)
    if not gone:
        yield from _boot_findings(facts, platform, handler)


def _file_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """The interpreter's file: gone, changed since it was pinned, or changeable by anyone."""
    name = platform.name
    disk = facts.emulators.at(handler.interpreter)
    install = install_command(facts, platform)
    if isinstance(disk, Absent):
        yield Finding(
            "interpreter-missing", "warning",
            f"{name}: {handler.interpreter} does not exist here{left_by(facts, handler)}; the "
            "kernel holds it open (flag F) until the next reboot",
            install, name, shown(handler),
        )  # fmt: skip
    if not isinstance(disk, Interpreter):
        return
    if probe.pinned and probe.pinned != disk.identity:
        yield Finding(
            "interpreter-stale", "warning",
            f"{name}: the kernel still runs an older {handler.interpreter} than the one on disk",
            install, name, f"the probe ran in another file (device, inode) than {disk.real_path}",
        )  # fmt: skip
    if disk.digest and disk.sha256 and disk.digest != disk.sha256:
        yield Finding(
            "interpreter-altered", "warning",
            f"{name}: {handler.interpreter} is not the file that --qemu {disk.source} brought",
            f"run: binfmt-setup install --qemu {shlex.quote(disk.source)} {name}",
            name, f"its SHA-256 is {disk.digest}, written down was {disk.sha256}",
        )  # fmt: skip
    if disk.culprit:
        yield Finding(
            "interpreter-writable", "warning",
            f"{name}: {disk.culprit.reason}, and so somebody else than root can change what "
            "runs as root",
            disk.culprit.hint, name, shown(handler),
        )  # fmt: skip


def _flag_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """The P and C flags: what programs see as their name, and with whose rights they run."""
    name = platform.name
    if not probe.argv0_kept:
        yield Finding(
            "argv0-mismatch", "info", f"{name}: programs see their path as argv[0] (no P flag)",
            "", name, shown(handler),
        )  # fmt: skip
    if "C" in handler.flags:
        by_package = from_distribution(facts, handler)
        # Ours keeps what was chosen with --credentials, whatever else is asked for.
        own = facts.boot.own_config(platform.target) is not None
        without = "--no-credentials" if own else "--take-over"
        yield Finding(
            "credentials-flag", "info" if by_package else "warning",
            f"{name}: set-user-ID programs run with their owner's rights under QEMU "
            f"(flag C{', set by the distribution' if by_package else ''})",
            install_command(facts, platform).replace(" install ", f" install {without} "),
            name, shown(handler),
        )  # fmt: skip


def _boot_findings(facts: HostFacts, platform: Platform, handler: Entry) -> Iterator[Finding]:
    """Where the kernel's state and the files that make the next one contradict each other."""
    if not (facts.process.initial_namespace or facts.boot.running or facts.boot.init == "openrc"):
        return
    name = platform.name
    install = install_command(facts, platform)
    problem = persistence_problem(facts, handler.name)
    own = facts.boot.config_of(platform.target.entry_name)
    if problem and own is not None and handler.name != platform.target.entry_name:
        yield Finding(
            "entry-shadowed", "warning",
            f"{name}: entry {handler.name} comes first now, at the next boot "
            f"{platform.target.entry_name} of {own.path} takes over",
            f"run: {removal_command(handler)}", name, shown(handler),
        )  # fmt: skip
    elif problem:
        hint = remedy(problem, name)
        hint = install if "binfmt-setup install" in hint else hint
        yield Finding(
            "not-persistent", "warning", f"{name}: will not survive a reboot: {problem}", hint,
            name, shown(handler),
        )  # fmt: skip
    elif late := order_problem(facts, handler.name):
        ours = "lost" not in late
        yield Finding(
            "boot-order", "info" if ours else "warning", f"{name}: {late}",
            "" if ours else install, name, f"the mounts above {handler.interpreter}",
        )  # fmt: skip
    yield from _differing_config(facts, platform, handler)


def _reload_command(facts: HostFacts, config: ConfigFile, platform: Platform) -> str:
    """What makes kernel and file agree: our own file follows, another one is loaded again."""
    if config.owned or not facts.boot.systemd_binfmt:
        return install_command(facts, platform)
    return f"run: {facts.boot.systemd_binfmt} {shlex.quote(config.path)}"


def _differing_config(facts: HostFacts, platform: Platform, handler: Entry) -> Iterator[Finding]:
    """The entry in the kernel is not the one that its file will make at the next boot."""
    config = facts.boot.config_of(handler.name)
    if config is None:
        return
    at_boot = [r for r in config.registrations if r.name == handler.name][-1]
    now = handler.registration
    same = (now.interpreter, now.flags, now.pattern)
    if same != (at_boot.interpreter, at_boot.flags, at_boot.pattern):
        yield Finding(
            "config-differs", "warning",
            f"{platform.name}: {config.path} will register something else at the next boot "
            f"than the kernel has now",
            _reload_command(facts, config, platform), platform.name,
            f"file: {at_boot.interpreter}, flags {at_boot.flags or 'none'}; {shown(handler)}",
        )  # fmt: skip
