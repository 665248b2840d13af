"""Why an emulator must not be registered, as data."""

from __future__ import annotations

import os

from binfmt_setup.model.interpreter import NotAFile
from binfmt_setup.model.reading import Absent, NotLookedAt, Unreadable, unhandled
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.reading import Unread


class Refusal(Record):
    """The file at `path` is not taken; `code` is that of the finding which tells it."""

    code = "interpreter-missing"
    path: str


class NoFile(Refusal):
    """There is nothing that could be looked at: or it is there, and could not be read."""

    why: NotAFile | Unread


class NotReadable(NoFile):
    """It may be a good one."""

    code = "access-denied"


class NotExecutable(Refusal):
    """Nobody may execute it."""


class ControlCharacters(Refusal):
    """Its name would put lines of its own into the files that name it."""


class NotElf(Refusal):
    """It is a script, or something else."""

    code = "interpreter-wrong-architecture"


class WrongArchitecture(Refusal):
    """It is a program for another machine than this host; `built_for` may be unknown."""

    code = "interpreter-wrong-architecture"
    built_for: str
    native: str


class Dynamic(Refusal):
    """It needs a loader, which no chroot and no container has."""

    code = "interpreter-dynamic"


class Writable(Refusal):
    """Others than root can change it, or what leads to it."""

    code = "interpreter-writable"
    culprit: Culprit


class OwnRights(Refusal):
    """Whoever starts a foreign program has its owner's or group's rights, or its capabilities."""

    code = "interpreter-writable"


def refusal_words(refusal: Refusal) -> str:
    """A refusal as part of a sentence; here, as the error that lists refusals is raised here."""
    path = refusal.path
    if isinstance(refusal, NoFile):
        return f"{path} {_no_file(refusal.why)}"
    if isinstance(refusal, WrongArchitecture):
        built_for = refusal.built_for or "an unknown machine"
        return f"{path} is a program for {built_for}, this host is {refusal.native}"
    if isinstance(refusal, Writable):
        return f"{path} is not root's alone: {refusal.culprit.reason}"
    return f"{path} {_PLAIN[type(refusal)]}"


_PLAIN: dict[type[Refusal], str] = {
    NotExecutable: "is not executable",
    ControlCharacters: "is behind a name with control characters",
    NotElf: "is not an ELF program",
    Dynamic: "is dynamically linked",
    OwnRights: "has rights of its own (set-user-ID, set-group-ID or capabilities)",
}


def _no_file(why: NotAFile | Unread) -> str:
    if isinstance(why, Unreadable):
        return f"cannot be read: {os.strerror(why.errno)}"
    if isinstance(why, NotLookedAt):
        return "was not looked at"
    if isinstance(why, NotAFile):
        return "is not a file"
    if not isinstance(why, Absent):
        unhandled(why)
    return "is missing"
