"""What makes a path one that others can change: the file, directory or link, and why. Pure."""

from __future__ import annotations

import errno

from binfmt_setup.model.records import Record
from binfmt_setup.model.shell import typed

TYPE_CHECKING = False  # typing is costly to import, and so are enums
if TYPE_CHECKING:
    from typing import Final


class Fault:
    """What makes a path one that is not to be trusted.

    SHARED are directories like /tmp: open to all by design, and not to be closed; SHARED_GROUP
    those like /nix/store. PROCESS is procfs, which shows each process other files; LOGIN is
    a directory that its user's login will make.
    """

    OWNER: Final = "owner"
    GROUP: Final = "group"
    OTHERS: Final = "others"
    SHARED: Final = "shared"
    SHARED_GROUP: Final = "shared-group"
    ACL: Final = "acl"
    MOUNT: Final = "mount"
    PROCESS: Final = "process"
    LOGIN: Final = "login"
    UNREADABLE: Final = "unreadable"


_REASONS = {
    Fault.OWNER: "{0.path} belongs to user {0.number}",
    Fault.GROUP: "every member of its group can write to {0.path}",
    Fault.OTHERS: "every user can write to {0.path}",
    Fault.SHARED: "every user can write to {0.path}",
    Fault.SHARED_GROUP: "every member of its group can write to {0.path}",
    Fault.ACL: "an access control list lets others write to {0.path}",
    Fault.PROCESS: "what lies below {0.path} is another file for each process",
    Fault.LOGIN: "{0.path} will be user {0.number}'s, who has to log in for that",
    Fault.MOUNT: "{0.path} lies in a file system of user {0.number}, which says what it likes",
}


_OWN, _NO_LIST, _CLOSE = ("chown", "-h", "root"), ("setfacl", "-b"), ("chmod", "go-w")
_ORDER = (_OWN, _NO_LIST, _CLOSE)
"""What is run first: the mode of the group is another one without the list."""
_TOLD = 3
"""How many of one path are told one by one."""


class Culprit(Record):
    """The first file, directory or link on a path that somebody else can change.

    `number` is the id of the user whose it is, or for a path that cannot be looked at the errno.
    `others` are what else on the same path has to be mended before it can be trusted.
    """

    path: str
    fault: str
    number: int = 0
    others: tuple[Culprit, ...] = ()

    @property
    def all(self) -> tuple[Culprit, ...]:
        """Everything on the path."""
        return (self, *self.others)

    @property
    def reason(self) -> str:
        """What is wrong, to follow "because"."""
        told = [one.own_reason for one in self.all]
        more = [f"{len(told) - _TOLD} more like that"] if len(told) > _TOLD else []
        return "; ".join(told[:_TOLD] + more)

    @property
    def own_reason(self) -> str:
        """What is wrong with this one."""
        if self.fault == Fault.UNREADABLE:
            why = errno.errorcode.get(self.number, self.number)
            return f"{self.path} cannot be looked at ({why})"
        return _REASONS[self.fault].format(self)

    @property
    def command(self) -> tuple[str, ...]:
        """The command that mends all of it; empty when none does."""
        if not all(one.own_commands for one in self.all):
            return ()
        starts = sorted({c[:-1] for one in self.all for c in one.own_commands}, key=_ORDER.index)
        commands = [
            (*start, *dict.fromkeys(o.path for o in self.all if (*start, o.path) in o.own_commands))
            for start in starts
        ]
        return (
            commands[0] if len(commands) == 1 else ("sh", "-c", " && ".join(map(typed, commands)))
        )

    @property
    def own_commands(self) -> tuple[tuple[str, ...], ...]:
        """What mends this one; without a list its group has what the list gave it by its name."""
        wanted = {
            Fault.OWNER: (_OWN,), Fault.ACL: (_NO_LIST, _CLOSE), Fault.GROUP: (_CLOSE,),
            Fault.OTHERS: (_CLOSE,),
        }.get(self.fault, ())  # fmt: skip
        return tuple((*start, self.path) for start in wanted)
