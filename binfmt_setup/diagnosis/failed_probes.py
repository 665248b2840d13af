"""Why a platform does not run: one cause for a probe that failed, with evidence and remedy."""

from __future__ import annotations

import errno

from binfmt_setup.boot.units import config_path
from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.diagnosis.finding import Finding, Remedy, shell
from binfmt_setup.emulators import choice
from binfmt_setup.emulators.package_managers.interface import install_hint, package_manager
from binfmt_setup.emulators.refusals import (
    Dynamic,
    NotElf,
    NotReadable,
    OwnRights,
    Writable,
    WrongArchitecture,
)
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Absent
from binfmt_setup.model.shell import moving_away, typed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Fact
    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.interpreter import Interpreter
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.probes import ProbeResult


_SIGILL = 4
"""An instruction that a processor does not know; the number is the same everywhere."""


def install(facts: HostFacts) -> tuple[str, ...]:
    """The install command without its platforms, as it works in this namespace or tree."""
    if not facts.live:
        return ("binfmt-setup", "install", "--root", facts.root)
    private = () if facts.process.initial_namespace else ("--private",)
    persist = () if facts.process.own_files else ("--no-persist",)
    return ("binfmt-setup", "install", *private, *persist)


def install_with(facts: HostFacts, *options: str) -> tuple[str, ...]:
    """The same with more options, in front of those that this namespace needs."""
    command = install(facts)
    return (*command[:2], *options, *command[2:])


def install_command(facts: HostFacts, platform: Platform, *options: str) -> Remedy:
    """The one command that makes a platform run on this host, QEMU included.

    A file of someone else's that stands where install writes is moved away before.
    """
    if facts.out_of_reach:
        return Remedy(("binfmt-setup", "install"), platform.name, on_host=True)
    command, complete, first = install_with(facts, *options), True, ""
    if not choice.choose(facts, platform.target) and not facts.live:
        first = install_hint(facts, [platform.target])
    elif not choice.choose(facts, platform.target):
        manager = package_manager(facts.distribution)
        complete = manager is not None and manager.runs
        if manager is not None and not manager.runs:
            sudo = not facts.process.is_root
            first = manager.remedy(facts.distribution, [platform.target], sudo=sudo)
            if manager.registers:
                check = ("binfmt-setup", "check")
                return Remedy(check, platform.name, complete=False, first=first)
        else:
            command += ("--install-qemu",) if manager else ("--qemu", "DIR")
    path = config_path(platform.target)
    configs = facts.boot.configs if facts.process.own_files else ()
    if any(config.path == path and not config.owned for config in configs):
        line = f"{moving_away(facts.root, path)} && {typed((*command, platform.name))}"
        return Remedy(("sh", "-c", line), complete=complete, first=first)
    return Remedy(command, platform.name, complete=complete, first=first)


def removal(entry: Entry) -> Remedy:
    """The command that takes an entry out of the kernel.

    A builtin of the shell does it, so that it works even while no program starts.
    """
    return shell(f"echo -1 > {entry_path(entry.name)}")


def mending(culprit: Culprit) -> Remedy | None:
    """The command that makes a path root's alone; None when another file is needed."""
    return Remedy(culprit.command) if culprit.command else None


def without_rights(file: Interpreter) -> tuple[str, ...]:
    """The command that takes away what gives a program rights of its own."""
    command = ("setcap", "-r") if file.rights == "capabilities" else ("chmod", "ug-s")
    return (*command, file.real_path)


def entry_path(name: str) -> str:
    """Where an entry's file is, as a word of a shell command."""
    return typed([f"{BINFMT_MISC}/{name}"])


def why_not(facts: HostFacts, platform: Platform, probe: ProbeResult) -> Finding:
    """The cause for a probe that did not run; no emulator mends what the kernel would run."""
    handler = facts.registry.handler(platform.header)
    caught = catching(facts, platform, handler, probe) if handler is not None else None
    return caught if caught is not None else _why_not_emulated(facts, platform, handler, probe)


def _why_not_emulated(
    facts: HostFacts, platform: Platform, handler: Entry | None, probe: ProbeResult
) -> Finding:
    """The cause from the errno and the entries."""
    name = platform.name
    if probe.arguments_shifted:
        return Finding(
            known.Argv0Mismatch(probe.fields["argc"]),
            name, install_command(facts, platform), (handler,) if handler else (),
        )  # fmt: skip
    if probe.limit:
        return Finding(known.CallerLimit(probe.limit), name, seen=(probe,))
    if handler is None:
        return _no_handler(facts, platform, probe)
    if probe.timed_out:
        fact = known.ProbeTimeout(handler.interpreter)
        return Finding(fact, name, _another_emulator(facts, platform, handler, probe), (probe,))
    catcher = native_catcher(facts) if probe.errno == errno.ELOOP else None
    if catcher is not None:
        caught = known.NativeRegistered(catcher.name)
        return Finding(caught, name, removal(catcher), (probe, catcher))
    return _bad_handler(facts, platform, handler, probe)


def native_catcher(facts: HostFacts) -> Entry | None:
    """The entry that takes the host's own programs: with it no program starts any more."""
    native = facts.kernel.native
    return facts.registry.handler(native.header) if native else None


def _another_emulator(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Remedy:
    """What puts another emulator in the place of one that is at fault.

    Where an install would take the very same file again, the user has to bring another one.
    """
    at_fault = {probe.pinned or facts.emulators.identity_at(handler.interpreter)}
    chosen = choice.choose(facts, platform.target)
    if chosen is None or chosen.identity not in at_fault:
        return install_command(facts, platform)
    return Remedy(install_with(facts, "--qemu", "DIR"), platform.name, complete=False)


def catching(
    facts: HostFacts, platform: Platform, handler: Entry, *seen: ProbeResult
) -> Finding | None:
    """An entry that takes what the kernel was seen to run itself, and its removal."""
    caught = facts.kernel.caught_by(handler.registration)
    native = facts.kernel.native
    if not caught:
        return None
    fact: Fact = known.NativeCaught(
        handler.name, "native", credentials="C" in handler.flags, targets=caught
    )
    if native is not None and native.name in caught:
        fact = known.NativeRegistered(handler.name)
    return Finding(fact, platform.name, removal(handler), (*seen, handler))


def _no_handler(facts: HostFacts, platform: Platform, probe: ProbeResult) -> Finding:
    """No enabled entry takes programs of this platform: missing, disabled, or different."""
    name, target = platform.name, platform.target
    matching = (e for e in facts.registry.entries if e.registration.matches(target.header))
    disabled = next((e for e in matching if not e.enabled), None)
    if disabled is not None:
        enable = shell(f"echo 1 > {entry_path(disabled.name)}")
        return Finding(known.EntryDisabled(disabled.name), name, enable, (disabled,))
    install = install_command(facts, platform)
    other = facts.registry.entry(target.entry_name)
    if other is not None:
        fact = known.EntryDiffers(
            other.name, target.name, other.registration.magic.hex(), target.magic.hex()
        )
        return Finding(fact, name, install)
    if probe.timed_out or probe.errno not in (0, errno.ENOEXEC):
        return Finding(known.ProbeFailed(probe.why()), name, install, (probe,))
    if facts.registry.mount.state == "mounted" and not choice.choose(facts, target):
        return no_emulator(facts, platform)
    return Finding(known.EntryMissing(), name, install, (probe,))


def no_emulator(facts: HostFacts, platform: Platform) -> Finding:
    """Nothing could be registered: there is no QEMU, or none that would work pinned."""
    target = platform.target
    paths = facts.emulators.candidates.get(target.name, ())
    refused = (choice.refusal(facts, path, facts.emulators.at(path)) for path in paths)
    first = next((one for one in refused if one), None)
    manager = package_manager(facts.distribution)
    names = tuple(manager.packages(facts.distribution, [target])) if manager else ()
    distribution = facts.distribution.name
    fact: Fact = known.NoEmulatorFor(distribution, names, first)
    remedy = install_command(facts, platform)
    if isinstance(first, Dynamic):
        fact = known.NoEmulatorButDynamic(first, distribution, names)
    elif isinstance(first, NotElf | WrongArchitecture):
        fact = known.NoEmulatorForThisHost(first, distribution, names)
    elif isinstance(first, NotReadable):
        fact = known.EmulatorUnreadable(first, distribution, names)
    elif isinstance(first, Writable | OwnRights):
        fact = known.OnlyUntrustedEmulator(first, distribution, names)
        remedy = _trusted_again(facts, platform, first) or remedy
    return Finding(fact, platform.name, remedy)


def _trusted_again(
    facts: HostFacts, platform: Platform, refused: Writable | OwnRights
) -> Remedy | None:
    """What makes an emulator root's alone, and takes it; None where another file is needed."""
    file = facts.emulators.file_at(refused.path)
    command = refused.culprit.command if isinstance(refused, Writable) else ()
    if file is not None and isinstance(refused, OwnRights):
        command = without_rights(file)
    return (
        shell(f"{typed(command)} && {typed((*install(facts), platform.name))}") if command else None
    )


def _bad_handler(
    facts: HostFacts, platform: Platform, handler: Entry, probe: ProbeResult
) -> Finding:
    """An entry takes the program and yet it does not run."""
    install: Remedy | None = install_command(facts, platform)
    path, level = handler.interpreter, platform.variant.suffix
    own = facts.registry.entry(platform.target.entry_name)
    refused = choice.refusal(facts, path, facts.emulators.at(path))
    fact: Fact
    visible = facts.process.sees_files and not facts.process.container
    gone = visible and isinstance(facts.emulators.at(path), Absent)
    if handler.name != platform.target.entry_name and own is not None:
        fact = known.EntryShadowed(handler.name, own.name)
    elif "F" not in handler.flags and gone:
        fact = known.EntryInterpreterGone(handler.name, path)
    elif "F" not in handler.flags:
        fact = known.FlagFMissing(handler.name, path)
    elif isinstance(refused, Dynamic):
        fact = known.InterpreterDynamic(refused)
    elif isinstance(refused, NotElf | WrongArchitecture):
        fact = known.InterpreterWrongArchitecture(refused)
    elif probe.errno == errno.EACCES:
        fact = known.AccessDenied()
        # SELinux and AppArmor say in the journal what they refused.
        install = Remedy(("journalctl", "-k", "-g", "denied"))
    elif level and probe.signal == _SIGILL:
        fact, install = known.EmulatedCpuTooOld(level, (), platform.target.name, path), None
    else:
        fact = known.ProbeFailed(probe.why(), path)
        install = _another_emulator(facts, platform, handler, probe)
    return Finding(fact, platform.name, install, (probe, handler))
