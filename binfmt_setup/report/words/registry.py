"""The words about the registry and its entries."""

from __future__ import annotations

import os
from functools import partial

from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Unreadable
from binfmt_setup.report.words import boot
from binfmt_setup.report.words.sentences import Words, telling

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.report.words.sentences import Sentences


SENTENCES: Sentences = {}
tells = partial(telling, SENTENCES)
_NO_MOUNT = f"/proc/self/mountinfo has nothing at {BINFMT_MISC}"


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
        "binfmt_misc is an automount that was not triggered yet",
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
        "this is a private user namespace: the answer is about it, not about the host",
        seen="/proc/self/uid_map does not map all users",
    )


@tells(known.EntryMissing)
def _(_fact: known.EntryMissing) -> Words:
    return Words("no entry for its programs")


@tells(known.NoEntryFits)
def _(_fact: known.NoEntryFits) -> Words:
    return Words("no entry for its programs", seen="no entry's magic and mask fit them")


@tells(known.NotPrepared)
def _(fact: known.NotPrepared) -> Words:
    why = f": {boot.lost(fact.problem)}" if fact.problem else ""
    return Words(
        f"the first boot registers no entry that works for it{why}",
        boot.by_hand(fact.problem),
        "the files and units that the next boot reads",
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
        f"entry {fact.entry} comes first now; after the next boot {fact.behind} "
        f"({fact.config}) comes first"
    )


@tells(known.EntryUnreadable)
def _(fact: known.EntryUnreadable) -> Words:
    if isinstance(fact.problem, Unreadable):
        words = f"entry {fact.entry} cannot be read: {os.strerror(fact.problem.errno)}"
    else:
        words = f"entry {fact.entry} cannot be understood: {fact.problem}"
    return Words(words, "look at it", f"{BINFMT_MISC}/{fact.entry}")


@tells(known.MoreUnreadable)
def _(fact: known.MoreUnreadable) -> Words:
    return Words(
        f"and {fact.more:,} more entries cannot be understood",
        "look at them",
        f"{fact.total:,} entries",
    )


@tells(known.NativeRegistered)
def _(fact: known.NativeRegistered) -> Words:
    return Words(
        f"entry {fact.entry} catches the host's own programs",
        note="   (in a shell of root's that runs already: no program starts while it is there)",
    )


@tells(known.NativeCaught)
def _(fact: known.NativeCaught) -> Words:
    rights = ", set-user-ID ones with their owner's rights" if fact.credentials else ""
    if fact.targets:
        return Words(
            f"entry {fact.entry} takes programs of {' and '.join(fact.targets)}, which this "
            f"kernel runs itself{rights}",
            seen="its probe ran where no entry is in the way",
        )
    what = _CAUGHT[fact.caught].format(fact.extension)
    example = f" (as {fact.example} does)" if fact.example else ""
    return Words(f"entry {fact.entry} takes {what}{example}{rights}", seen="its pattern fits them")


_CAUGHT: dict[known.Caught, str] = {
    "extension": "programs of the host whose names end in .{}",
    "native": "programs of the host itself",
    "relatives": "32-bit programs that the host's kernel runs itself",
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


@tells(known.CredentialsWished)
def _(_fact: known.CredentialsWished) -> Words:
    return Words(
        "set-user-ID programs run with their owner's rights under QEMU (flag C, as the wish list "
        "asks)"
    )


@tells(known.CredentialsHeld)
def _(fact: known.CredentialsHeld) -> Words:
    whose = f"set by {fact.whose or 'whoever registered it'}"
    if fact.asked_for:
        whose = "as it was asked for with --credentials"
    return Words(
        f"entry {fact.entry} runs set-user-ID programs with their owner's rights (flag C, "
        f"{whose}): every user who can start a foreign one becomes root, because QEMU follows "
        "the user's QEMU_LD_PREFIX"
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
