"""What is wrong with an entry that works: it will break, surprise, or is a risk."""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import init_of
from binfmt_setup.boot.lost import NoInit, NotByHand, ShadowedAtBoot, SwitchedOff, UpperLayer
from binfmt_setup.boot.next_registry import next_registry
from binfmt_setup.boot.survival import order_problem, why_lost
from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.diagnosis.failed_probes import (
    catching,
    install_command,
    install_with,
    mending,
    removal,
)
from binfmt_setup.diagnosis.finding import Finding, Remedy
from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.emulators import choice
from binfmt_setup.model.interpreter import Interpreter
from binfmt_setup.model.reading import Absent

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry, Registration
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.probes import ProbeResult


def handler_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """What is to be said of an entry that emulates a platform."""
    if probe.native:
        return
    caught = catching(facts, platform, handler)
    if caught is not None:
        yield caught
        return  # it has to go, however well it is kept
    gone = isinstance(facts.emulators.at(handler.interpreter), Absent)
    yield from _file_findings(facts, platform, handler, probe)
    yield from _flag_findings(facts, platform, handler, probe)
    if not gone:
        yield from _boot_findings(facts, platform, handler)


def _file_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """The interpreter's file: gone, changed since it was pinned, or changeable by anyone."""
    name, path = platform.name, handler.interpreter
    disk = facts.emulators.at(path)
    install = install_command(facts, platform)
    if isinstance(disk, Absent) and facts.process.sees_files:
        gone = known.PinnedInterpreterGone(path, owner_of(facts, handler).origin)
        yield Finding(gone, name, install, (handler,))
    if not isinstance(disk, Interpreter):
        return
    if probe.pinned and probe.pinned != disk.identity:
        yield Finding(known.InterpreterStale(path, disk.real_path), name, install)
    if disk.digest and disk.sha256 and disk.digest != disk.sha256:
        again = Remedy(install_with(facts, "--qemu", disk.source), name)
        altered = known.InterpreterAltered(path, disk.source, disk.digest, disk.sha256)
        yield Finding(altered, name, again)
    if disk.culprit:
        writable = known.InterpreterWritable(disk.culprit)
        yield Finding(writable, name, mending(disk.culprit), (handler,))


def _flag_findings(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Iterator[Finding]:
    """The P and C flags: what programs see as their name, and with whose rights they run."""
    if not probe.argv0_kept:
        yield Finding(known.Argv0Lost(""), platform.name, seen=(handler,))
    if "C" in handler.flags:
        fact = known.CredentialsFlag(owner_of(facts, handler).by_distribution)
        # Ours keeps what was chosen with --credentials, whatever else is asked for.
        own = facts.boot.own_config(platform.target) is not None
        without = install_command(facts, platform, "--no-credentials" if own else "--take-over")
        yield Finding(fact, platform.name, without, (handler,))


def _boot_findings(facts: HostFacts, platform: Platform, handler: Entry) -> Iterator[Finding]:
    """Where the kernel's state and the files that make the next one contradict each other."""
    if not facts.process.sees_files:
        return
    if not (facts.process.initial_namespace or facts.boot.running):
        return
    if facts.registry.own and not facts.process.own_files:
        return  # the files are the host's, and the registry goes with its namespace
    name = platform.name
    problem = why_lost(facts, handler.name)
    own = facts.boot.config_of(platform.target.entry_name)
    if problem and own is not None and handler.name != platform.target.entry_name:
        fact = known.EntryShadowedForNow(handler.name, platform.target.entry_name, own.path)
        yield Finding(fact, name, removal(handler), (handler,))
    elif isinstance(problem, ShadowedAtBoot):
        shadowed = known.ShadowedAfterBoot(problem.entry, handler.name, problem.path, problem.line)
        yield Finding(shadowed, name, seen=(handler,))
    elif problem and not isinstance(problem, SwitchedOff):  # which the host's finding names
        remedy = _made_to_last(facts, platform, handler, problem)
        yield Finding(known.NotPersistent(problem), name, remedy, (handler,))
    elif not problem and (late := order_problem(facts, handler.name)):
        install = install_command(facts, platform) if late.lost else None
        yield Finding(known.BootOrder(late, handler.interpreter), name, install)
    yield from _differing_config(facts, platform, handler)


def _made_to_last(
    facts: HostFacts, platform: Platform, handler: Entry, problem: Lost
) -> Remedy | None:
    """What brings an entry back at every boot; no command where no init reads binfmt.d."""
    if isinstance(problem, NoInit | NotByHand | UpperLayer):
        return None
    if command := init_of(facts.boot).cure(problem):
        return Remedy(command)
    # What is called otherwise and works is left to its maker unless asked for.
    theirs = handler.name != platform.target.entry_name
    return install_command(facts, platform, *(("--take-over",) if theirs else ()))


def _reload_command(
    facts: HostFacts, config: ConfigFile, at_boot: Registration, platform: Platform
) -> Remedy:
    """What makes kernel and file agree: a file that would do is loaded again.

    Where it would not (F is lost, its program is gone), loading it ends what works now: then an
    install writes a file that goes before it, as it does for a file of its own.
    """
    found = facts.emulators.at(at_boot.interpreter)
    does = "F" in at_boot.flags and at_boot.matches(platform.header)
    command = init_of(facts.boot).load_command(facts, config.path)
    if (
        not config.owned
        and not config.problems
        and does
        and choice.may_register(facts, at_boot.interpreter, found)
        and command
    ):
        return Remedy(command)
    return install_command(facts, platform)


def _differing_config(facts: HostFacts, platform: Platform, handler: Entry) -> Iterator[Finding]:
    """The entry in the kernel is not the one that its file will make at the next boot."""
    line = next_registry(facts).line(handler.name)
    config = next((c for c in facts.boot.configs if line and c.path == line.path), None)
    if line is None or config is None:
        return
    at_boot, now = line.registration, handler.registration
    same = (now.interpreter, now.flags, now.pattern)
    if same != (at_boot.interpreter, at_boot.flags, at_boot.pattern):
        reload = _reload_command(facts, config, at_boot, platform)
        yield Finding(known.ConfigDiffers(config.path, at_boot), platform.name, reload, (handler,))
