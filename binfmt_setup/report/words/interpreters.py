"""The words about emulators."""

from __future__ import annotations

import os
from functools import partial

from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.emulators.refusals import refusal_words
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Unreadable
from binfmt_setup.report.words.sentences import Words, telling

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.report.words.sentences import Sentences


SENTENCES: Sentences = {}
tells = partial(telling, SENTENCES)
_NO_MOUNT = f"/proc/self/mountinfo has nothing at {BINFMT_MISC}"


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


@tells(known.EntryInterpreterGone, known.OrphanedEntry)
def _(fact: known.EntryInterpreterGone) -> Words:
    return Words(
        f"entry {fact.entry} names {fact.interpreter}, which does not exist: the files that it "
        "takes do not run"
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
    where = next(one.path for one in culprit.all if not one.own_commands)
    return f"use a file that root alone can change instead of what lies at {where}"


def _interpreter_of(fact: known.EntryNotTrusted | known.EntryInterpreterStale) -> str:
    return f"the interpreter of entry {fact.entry}, {fact.interpreter},"


@tells(known.InterpreterWritable)
def _(fact: known.InterpreterWritable) -> Words:
    return Words(
        f"{fact.culprit.reason}: other users than root can change what runs as root",
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


@tells(known.InterpreterWithRights)
def _(fact: known.InterpreterWithRights) -> Words:
    of_file = "is a set-user-ID or set-group-ID program"
    what = "has capabilities of its own" if fact.rights == "capabilities" else of_file
    return Words(f"{_interpreter_of(fact)} {what}: whoever starts a foreign program has its rights")


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
        f"{fact.path} could not be read, so what the kernel has registered is not known",
        "look at it",
        f"{fact.path}: {why}",
    )


@tells(known.NotRead)
def _(fact: known.NotRead) -> Words:
    why = os.strerror(fact.reason.errno)
    return Words(
        f"{fact.path} could not be read, so what the next boot does is not known",
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


@tells(known.EntryInterpreterStale)
def _(fact: known.EntryInterpreterStale) -> Words:
    return Words(
        f"{_interpreter_of(fact)} is not the file that the kernel runs: it holds another one open",
        "find out who replaced it, then register it anew",
        f"the probe ran in another file (device, inode) than {fact.real_path}",
    )


@tells(known.PinnedUnseen)
def _(fact: known.PinnedUnseen) -> Words:
    return Words(
        f"which file the kernel holds open for entry {fact.entry} did not show, so whether it can "
        "be trusted is not known",
        "look again",
        f"the probe: {fact.why}",
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
        "find out where it comes from",
        "asked the package manager for the owner of the file",
    )
