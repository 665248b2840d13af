"""What a look at something came to when there is nothing to show: three different answers.

"It is not there", "nobody looked" and "it could not be read" lead to different findings. They are
values of different types, so that the type checker makes every reader say what it does with each.
"""

from __future__ import annotations

import errno

from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import NoReturn

    from typing_extensions import Never


class Absent(Record):
    """It was looked for, and it is not there."""


class NotLookedAt(Record):
    """Nobody looked: nothing can be said."""


class Unreadable(Record):
    """It may be there, but reading it failed; `errno` is the kernel's word why."""

    errno: int


Unread = Absent | NotLookedAt | Unreadable

ABSENT = Absent()
NOT_LOOKED_AT = NotLookedAt()


class UnreadFile(Record):
    """A file or directory that this tool wanted to read and could not."""

    path: str
    reason: Unreadable


def not_read(error: OSError) -> Absent | Unreadable:
    """What a failed look means: nothing is there, or nobody can tell."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ABSENT
    return Unreadable(error.errno or errno.EIO)


def unhandled(value: Never) -> NoReturn:
    """The end of a chain of cases that the type checker knows to be complete."""
    raise AssertionError(f"not handled: {value!r}")
