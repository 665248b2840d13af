"""The words for every finding about a host."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from binfmt_setup.boot.survival import NotRegistered
from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.emulators.refusals import refusal_words
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Unreadable
from binfmt_setup.report.words import boot
from binfmt_setup.report.words.sentences import Words, telling

if TYPE_CHECKING:
    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.report.words.sentences import Sentences

SENTENCES: Sentences = {}
tells = partial(telling, SENTENCES)
_NO_MOUNT = f"/proc/self/mountinfo has nothing at {BINFMT_MISC}"

# -- the host ----------------------------------------------------------------------------------


@tells(known.KernelTooOld)
def _(fact: known.KernelTooOld) -> Words:
    return Words(
        f"Linux {fact.release} has no F flag: containers and chroots cannot emulate",
        "update the kernel: Linux 4.8 or newer is needed",
        "/proc/sys/kernel/osrelease; no entry shows F, no foreign program ran",
    )


@tells(known.BinfmtMissing)
def _(fact: known.BinfmtMissing) -> Words:
    return Words(
        f"Linux {fact.release} comes without binfmt_misc",
        "install the kernel's extra modules, or a kernel with CONFIG_BINFMT_MISC",
        "neither /proc/filesystems nor modules.dep has binfmt_misc",
    )


@tells(known.AutomountOnly)
def _(_fact: known.AutomountOnly) -> Words:
    return Words(
        "binfmt_misc is only an automount that nobody triggered",
        seen="/proc/self/mountinfo: autofs, and no binfmt_misc over it",
    )


@tells(known.RegistryNotMounted)
def _(_fact: known.RegistryNotMounted) -> Words:
    return Words(boot.NOT_MOUNTED, seen=_NO_MOUNT)


@tells(known.RegistryOutOfReach)
def _(fact: known.RegistryOutOfReach) -> Words:
    rest = ", and its host emulates nothing" if fact.broken else ""
    if fact.unjudged:
        rest = ": the entries in force cannot be looked at"
    return Words(
        f"binfmt_misc is not visible in this {fact.container} container{rest}", seen=_NO_MOUNT
    )


@tells(known.GloballyDisabled)
def _(_fact: known.GloballyDisabled) -> Words:
    return Words(boot.SWITCHED_OFF, seen=f"{BINFMT_MISC}/status: disabled")


@tells(known.ReadOnly)
def _(_fact: known.ReadOnly) -> Words:
    return Words(
        "binfmt_misc is mounted read-only here: nothing can be registered",
        seen="/proc/self/mountinfo: ro",
    )


@tells(known.PrivateNamespace)
def _(_fact: known.PrivateNamespace) -> Words:
    return Words(
        "this is a user namespace of its own: what is said holds here, not for the host",
        seen="/proc/self/uid_map does not map all users",
    )


# -- entries -----------------------------------------------------------------------------------


@tells(known.EntryMissing)
def _(fact: known.EntryMissing) -> Words:
    return Words(f"no entry for {fact.target} programs")


@tells(known.NoEntryFits)
def _(fact: known.NoEntryFits) -> Words:
    return Words(
        f"no entry for {fact.target} programs", seen="no entry's magic and mask fit its programs"
    )


@tells(known.EntryDisabled)
def _(fact: known.EntryDisabled) -> Words:
    return Words(f"entry {fact.entry} is disabled")


@tells(known.EntryDiffers)
def _(fact: known.EntryDiffers) -> Words:
    return Words(
        f"entry {fact.entry} does not match {fact.target} programs",
        seen=f"its magic is {fact.magic or 'none'}, programs of {fact.target} start with "
        f"{fact.wanted}",
    )


@tells(known.EntryShadowed)
def _(fact: known.EntryShadowed) -> Words:
    return Words(f"entry {fact.entry} comes before {fact.behind} and does not work")


@tells(known.EntryShadowedForNow)
def _(fact: known.EntryShadowedForNow) -> Words:
    return Words(
        f"entry {fact.entry} comes first now, at the next boot {fact.behind} of {fact.config} "
        "takes over"
    )


@tells(known.EntryUnreadable)
def _(fact: known.EntryUnreadable) -> Words:
    if isinstance(fact.problem, Unreadable):
        words = f"entry {fact.entry} cannot be read: {os.strerror(fact.problem.errno)}"
    else:
        words = f"entry {fact.entry} makes no sense: {fact.problem}"
    return Words(words, "look at it", f"{BINFMT_MISC}/{fact.entry}")


@tells(known.MoreUnreadable)
def _(fact: known.MoreUnreadable) -> Words:
    return Words(
        f"and {fact.more:,} more entries make no sense", "look at them", f"{fact.total:,} entries"
    )


@tells(known.NativeRegistered)
def _(fact: known.NativeRegistered) -> Words:
    return Words(f"entry {fact.entry} catches the host's own programs")


@tells(known.NativeCaught)
def _(fact: known.NativeCaught) -> Words:
    rights = ", set-user-ID ones with their owner's rights" if fact.credentials else ""
    what = _CAUGHT[fact.caught].format(fact.extension)
    return Words(f"entry {fact.entry} takes {what}{rights}", seen="its pattern fits them")


_CAUGHT: dict[known.Caught, str] = {
    "extension": "programs of the host whose names end in .{}",
    "native": "programs of the host itself",
    "scripts": "scripts of the host, which start with #!",
    "one-byte": "every file that has one certain byte",
}


@tells(known.FlagFMissing)
def _(fact: known.FlagFMissing) -> Words:
    return Words(
        f"entry {fact.entry} has no F flag, so no chroot or container finds {fact.interpreter}"
    )


@tells(known.CredentialsFlag)
def _(fact: known.CredentialsFlag) -> Words:
    stock = ", set by the distribution" if fact.by_distribution else ""
    return Words(f"set-user-ID programs run with their owner's rights under QEMU (flag C{stock})")


@tells(known.CredentialsHeld)
def _(fact: known.CredentialsHeld) -> Words:
    whose = f"set by {fact.config}" if fact.config else "set by whoever registered it"
    if fact.asked_for:
        whose = "as it was asked for with --credentials"
    elif fact.by_distribution:
        whose = "set by the distribution"
    return Words(
        f"entry {fact.entry} runs set-user-ID programs with their owner's rights (flag C, "
        f"{whose}): every user who can start a foreign one becomes root, as QEMU does what "
        "the user's QEMU_LD_PREFIX says"
    )


@tells(known.Argv0Mismatch)
def _(fact: known.Argv0Mismatch) -> Words:
    return Words(
        "kernel and QEMU disagree about the P flag, arguments arrive shifted",
        seen=f"the probe was given 2 arguments and saw {fact.arguments}",
    )


@tells(known.Argv0Lost)
def _(_fact: known.Argv0Lost) -> Words:
    return Words("programs see their path as argv[0] (no P flag)")


# -- emulators ---------------------------------------------------------------------------------


def _to_be_had(distribution: str, packages: tuple[str, ...]) -> str:
    """Where the distribution has an emulator."""
    who = distribution or "this system"
    if packages:
        return f"{who} has it in {' '.join(packages)}"
    return f"{who} has no package with a static QEMU that is known here"


@tells(known.InterpreterMissing)
def _(_fact: known.InterpreterMissing) -> Words:
    return Words(
        "there is no emulator on this host",
        seen="looked for QEMU where distributions put it, for every container platform",
    )


@tells(known.NoEmulatorFor)
def _(fact: known.NoEmulatorFor) -> Words:
    words = "there is no emulator for it on this host"
    return Words(
        refusal_words(fact.refused) if fact.refused else words,
        seen=_to_be_had(fact.distribution, fact.packages),
    )


@tells(known.PinnedInterpreterGone)
def _(fact: known.PinnedInterpreterGone) -> Words:
    left = f" (left by {fact.left_by.words})" if fact.left_by else ""
    return Words(
        f"{fact.interpreter} does not exist here{left}; the kernel holds it open (flag F) until "
        "the next reboot"
    )


@tells(known.InterpreterNotHere)
def _(fact: known.InterpreterNotHere) -> Words:
    return Words(
        f"the interpreter of entry {fact.entry}, {fact.interpreter}, does not exist here: what "
        "the kernel runs cannot be looked at"
    )


@tells(known.InterpreterDynamic, known.InterpreterWrongArchitecture)
def _(fact: known.RefusedInterpreter) -> Words:
    return Words(refusal_words(fact.refused))


@tells(
    known.NoEmulatorButDynamic,
    known.NoEmulatorForThisHost,
    known.OnlyUntrustedEmulator,
    known.EmulatorUnreadable,
)
def _(fact: known.OnlyRefused) -> Words:
    return Words(refusal_words(fact.refused), seen=_to_be_had(fact.distribution, fact.packages))


def _another_file(culprit: Culprit) -> str:
    """What to do about a path that no command makes root's alone."""
    if culprit.command:
        return ""
    return f"use a file that root alone can change instead of what lies at {culprit.path}"


def _interpreter_of(fact: known.EntryNotTrusted) -> str:
    return f"the interpreter of entry {fact.entry}, {fact.interpreter},"


@tells(known.InterpreterWritable)
def _(fact: known.InterpreterWritable) -> Words:
    return Words(
        f"{fact.culprit.reason}, and so somebody else than root can change what runs as root",
        _another_file(fact.culprit),
    )


@tells(known.InterpreterOfEachProcess)
def _(fact: known.InterpreterOfEachProcess) -> Words:
    where = _interpreter_of(fact)
    return Words(f"{where} is another file for each process that starts a program")


@tells(known.InterpreterCanBeMade)
def _(fact: known.InterpreterCanBeMade) -> Words:
    reason = fact.culprit.reason
    return Words(
        f"{_interpreter_of(fact)} does not exist, and others than root can put a file there: "
        f"{reason}",
        _another_file(fact.culprit),
        reason,
    )


@tells(known.InterpreterOfOthers)
def _(fact: known.InterpreterOfOthers) -> Words:
    reason = fact.culprit.reason
    return Words(
        f"{_interpreter_of(fact)} is not root's alone: {reason}",
        _another_file(fact.culprit),
        reason,
    )


@tells(known.InterpreterSetId)
def _(fact: known.InterpreterSetId) -> Words:
    return Words(
        f"{_interpreter_of(fact)} is a set-user-ID or set-group-ID program: whoever starts a "
        "foreign program has its rights"
    )


@tells(known.BootFileOfOthers)
def _(fact: known.BootFileOfOthers) -> Words:
    reason = fact.culprit.reason
    return Words(
        f"{fact.path}, which decides what is registered at boot, is not root's alone: {reason}",
        _another_file(fact.culprit),
        reason,
    )


@tells(known.RegistryUnreadable)
def _(fact: known.RegistryUnreadable) -> Words:
    why = os.strerror(fact.reason.errno)
    return Words(
        f"{fact.path} could not be read: what the kernel has registered is not known",
        "look at it",
        f"{fact.path}: {why}",
    )


@tells(known.NotRead)
def _(fact: known.NotRead) -> Words:
    why = os.strerror(fact.reason.errno)
    return Words(
        f"{fact.path} could not be read: what the next boot makes of it is not known",
        "look at it",
        f"{fact.path}: {why}",
    )


@tells(known.InterpreterUnreadable)
def _(fact: known.InterpreterUnreadable) -> Words:
    why = os.strerror(fact.why.errno) if isinstance(fact.why, Unreadable) else "it is no file"
    return Words(
        f"the interpreter of entry {fact.entry}, {fact.interpreter}, cannot be looked at: {why}",
        "run it as root",
    )


@tells(known.Unjudged)
def _(fact: known.Unjudged) -> Words:
    return Words(
        f"{fact.name} could not be read, so whether it can be trusted is not known",
        "look at it",
        fact.path,
    )


@tells(known.InterpreterStale)
def _(fact: known.InterpreterStale) -> Words:
    return Words(
        f"the kernel still runs an older {fact.interpreter} than the one on disk",
        seen=f"the probe ran in another file (device, inode) than {fact.real_path}",
    )


@tells(known.InterpreterAltered)
def _(fact: known.InterpreterAltered) -> Words:
    return Words(
        f"{fact.interpreter} is not the file that --qemu {fact.source} brought",
        seen=f"its SHA-256 is {fact.found}, written down was {fact.wanted}",
    )


@tells(known.EntryInterpreterAltered)
def _(fact: known.EntryInterpreterAltered) -> Words:
    return Words(
        f"the interpreter of entry {fact.entry}, {fact.interpreter}, is not the file that --qemu "
        f"{fact.source} brought",
        seen=f"its SHA-256 is {fact.found}, written down was {fact.wanted}",
    )


@tells(known.InterpreterMount)
def _(fact: known.InterpreterMount) -> Words:
    return Words(
        f"the interpreter of entry {fact.entry}, {fact.interpreter}, lies on {fact.mount}",
        "install QEMU on the host's own file system",
        "/proc/self/mountinfo",
    )


@tells(known.InterpreterUnpackaged)
def _(fact: known.InterpreterUnpackaged) -> Words:
    return Words(
        f"the interpreter of entry {fact.entry}, {fact.interpreter}, belongs to no package",
        "look where it comes from",
        "asked the package manager for the owner of the file",
    )


# -- probes ------------------------------------------------------------------------------------


@tells(known.NotProbed)
def _(fact: known.NotProbed) -> Words:
    return Words(why_unproven(fact), link=" is not proven: ")


@tells(known.ProbeNotRun)
def _(fact: known.ProbeNotRun) -> Words:
    return Words(
        fact.why,
        "run it as root, or allow user namespaces (sysctl user.max_user_namespaces)",
        "chroot(2) and unshare(2) were tried",
        link=" is not proven: ",
    )


@tells(known.CallerLimit)
def _(fact: known.CallerLimit) -> Words:
    return Words(fact.limit, "raise that limit (limits.conf, LimitAS=, ulimit) and run it again")


def why_unproven(fact: known.NotProbed) -> str:
    """Why nothing was proven."""
    if isinstance(fact, known.ProbeNotRun):
        return fact.why
    return "there is no probe for it" if fact.live else "no probe runs for an offline tree"


@tells(known.ProbeTimeout)
def _(_fact: known.ProbeTimeout) -> Words:
    return Words("the probe did not end in time", "run again when the host is less busy")


@tells(known.ProbeFailed)
def _(fact: known.ProbeFailed) -> Words:
    return Words(f"{fact.interpreter}: {fact.why}" if fact.interpreter else fact.why)


@tells(known.AccessDenied)
def _(_fact: known.AccessDenied) -> Words:
    return Words(
        "the kernel may not execute the interpreter",
        note="   (SELinux or AppArmor say there what they refused)",
    )


@tells(known.CpuTooOld)
def _(fact: known.CpuTooOld) -> Words:
    return Words(
        f"this processor is no x86-64-{fact.level}",
        "use another machine: a host cannot emulate its own architecture",
        f"/proc/cpuinfo lacks {' '.join(fact.lacking)}",
    )


# -- the next boot -----------------------------------------------------------------------------

_AT_BOOT = "the files and units that the next boot reads"


@tells(known.NotPersistent)
def _(fact: known.NotPersistent) -> Words:
    return Words(f"will not survive a reboot: {boot.lost(fact.problem)}")


@tells(known.NothingPersists)
def _(fact: known.NothingPersists) -> Words:
    return Words(
        f"nothing of this will survive a reboot: {boot.lost(fact.problem)}",
        "if that is fine (a container, a CI job): use --no-persist",
    )


@tells(known.NotThereAfterBoot)
def _(fact: known.NotThereAfterBoot) -> Words:
    mounted = isinstance(fact.trouble, NotRegistered)
    return Words(boot.trouble(fact.trouble), boot.BRING_BACK if mounted else "", _AT_BOOT)


@tells(known.BootOrder)
def _(fact: known.BootOrder) -> Words:
    return Words(boot.late(fact.late), seen=f"the mounts above {fact.interpreter}")


@tells(known.NotRegisteredInOrder)
def _(fact: known.NotRegisteredInOrder) -> Words:
    return Words(boot.trouble(fact.trouble), boot.BRING_BACK, _AT_BOOT)


@tells(known.ConfigDiffers)
def _(fact: known.ConfigDiffers) -> Words:
    return Words(
        f"{fact.config} will register something else at the next boot than the kernel has now",
        seen=f"file: {fact.at_boot.interpreter}, flags {fact.at_boot.flags or 'none'}",
    )


@tells(known.ConfigInvalid)
def _(fact: known.ConfigInvalid) -> Words:
    return Words(
        f"{fact.path}:{fact.line}: {fact.problem}",
        f"correct or remove line {fact.line} of {fact.path}",
        fact.text,
    )


@tells(known.MoreInvalid)
def _(fact: known.MoreInvalid) -> Words:
    return Words(
        f"{fact.path}: and {fact.more:,} more lines that register nothing",
        f"correct or remove {fact.path}",
        f"{fact.line:,} lines",
    )
