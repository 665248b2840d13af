"""The words about what the next boot will do."""

from __future__ import annotations

from functools import partial

from binfmt_setup.boot.survival import NotRegistered
from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.model.boot_facts import RETURNED_PATH, UNIT_DIRECTORY
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.report.words import boot
from binfmt_setup.report.words.sentences import Words, telling

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.report.words.sentences import Sentences


SENTENCES: Sentences = {}
tells = partial(telling, SENTENCES)
_NO_MOUNT = f"/proc/self/mountinfo has nothing at {BINFMT_MISC}"


_AT_BOOT = "the files and units that the next boot reads"


@tells(known.NotPersistent)
def _(fact: known.NotPersistent) -> Words:
    advice = boot.by_hand(fact.problem)
    return Words(f"will not survive a reboot: {boot.lost(fact.problem)}", advice)


@tells(known.NothingPersists)
def _(fact: known.NothingPersists) -> Words:
    return Words(
        f"nothing of this will survive a reboot: {boot.lost(fact.problem)}",
        boot.by_hand(fact.problem) or "if that is fine (a container, a CI job): use --no-persist",
    )


@tells(known.SystemdBinfmtFailed)
def _(fact: known.SystemdBinfmtFailed) -> Words:
    return Words(
        f"{fact.unit} has failed: entries that packages bring stay away",
        seen=f"systemctl is-failed {fact.unit}",
        note="   (it drops entries that no file registers)",
    )


@tells(known.UnitsReadOnly)
def _(fact: known.UnitsReadOnly) -> Words:
    return Words(
        f"{fact.directory} is read-only: without units of this tool, new versions of QEMU are "
        "not noticed",
        "run after an upgrade of QEMU: binfmt-setup install",
        "/proc/self/mountinfo",
    )


@tells(known.DroppedAgain)
def _(fact: known.DroppedAgain) -> Words:
    return Words(
        f"entries were dropped again and again: they came back {fact.times} times, and do not now",
        f"{boot.FIND_OUT}: binfmt-setup install",
        RETURNED_PATH,
    )


@tells(known.NotKept)
def _(_fact: known.NotKept) -> Words:
    return Words(
        "the wish list asks for keep, but entries that another program drops would stay away",
        "",
        f"no link in {UNIT_DIRECTORY} enables binfmt-setup-keep.path",
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


@tells(known.LineWithoutInterpreter)
def _(fact: known.LineWithoutInterpreter) -> Words:
    what = (boot.NO_PROGRAM if fact.unfit else boot.MISSING).format(fact.interpreter)
    mend = "name a program" if fact.unfit else "bring it back"
    return Words(
        f"{fact.path}:{fact.line}: {what}, so this registers nothing",
        "" if fact.replaceable else f"{mend}, or {boot.taken_out(fact.path, fact.line)}",
        _AT_BOOT,
    )


@tells(known.NativeAtBoot)
def _(fact: known.NativeAtBoot) -> Words:
    return Words(
        f"{fact.path}:{fact.line}: after the next boot {fact.entry} takes this host's own programs",
        boot.taken_out(fact.path, fact.line),
        _AT_BOOT,
    )


@tells(known.SwitchedOffAtBoot)
def _(fact: known.SwitchedOffAtBoot) -> Words:
    return Words(
        f"{fact.path}:{fact.line} switches all entries off at every boot",
        boot.taken_out(fact.path, fact.line),
        _AT_BOOT,
    )


@tells(known.ShadowedAfterBoot)
def _(fact: known.ShadowedAfterBoot) -> Words:
    where = f"{fact.path}:{fact.line}" if fact.line else fact.path
    return Words(
        f"after the next boot the entry {fact.entry} comes before {fact.behind} ({where})",
        boot.taken_out(fact.path, fact.line),
        _AT_BOOT,
    )


@tells(known.MoreFilesInvalid)
def _(fact: known.MoreFilesInvalid) -> Words:
    return Words(
        f"{fact.more:,} more files have lines that register nothing; the last is {fact.path}",
        "correct or remove them",
        _AT_BOOT,
    )


@tells(known.MoreInvalid)
def _(fact: known.MoreInvalid) -> Words:
    return Words(
        f"{fact.path}: and {fact.more:,} more lines that register nothing",
        f"correct or remove {fact.path}",
        f"{fact.line:,} lines",
    )
