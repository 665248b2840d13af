"""Who one is in a private user namespace: which ids are mapped to which, and by whom.

Pure: what /etc/subuid and /proc/self/uid_map say becomes the lines for the new maps
(user_namespaces(7), subuid(5)).
"""

from __future__ import annotations

from enum import Enum

from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal


Extent = tuple[int, int, int]
"""One line of a map: first id inside, first id outside, how many."""


class Users(str, Enum):
    """Which user ids a private namespace has."""

    auto = "auto"
    one = "one"
    current = "current"


class Caller(Record):
    """Whoever asks for a namespace: ids, and the texts that say which others are theirs."""

    uid: int
    gid: int
    name: str = ""
    uid_map: str = ""
    gid_map: str = ""
    subuid: str = ""
    subgid: str = ""


class Identity(Record):
    """The maps of a namespace and who may write them.

    `writer` is `self` (one's own id alone), `root` (any id, from outside) or `newuidmap`.
    `back` is the (uid, gid) that a second namespace gives back, where the first one had to
    map them to root.
    """

    uids: tuple[Extent, ...]
    gids: tuple[Extent, ...]
    writer: Literal["self", "root", "newuidmap"] = "self"
    back: tuple[int, int] | None = None


def choose(caller: Caller, users: Users | None = None, *, as_root: bool = False) -> Identity:
    """The identity that fits what was asked for.

    Without a word about `users`, root keeps all ids, so that no file changes its owner, and
    anybody else has their own. Raises PrivilegesMissing for `current` without root, and
    EnvironmentUnfit for `auto` without a range.
    """
    if caller.uid == 0 and users is not Users.one:
        rows = (_rows(caller.uid_map), _rows(caller.gid_map))
        uids, gids = (tuple((inside, inside, count) for inside, _, count in r) for r in rows)
        return Identity(uids, gids, "root")
    if users is Users.current:
        raise PrivilegesMissing(
            "--map-users current maps every id of this namespace, which only root may",
            hint="use --map-users auto for a range from /etc/subuid, or one",
        )
    if users is Users.auto:
        return _with_range(caller, as_root=as_root)
    alone = Identity(((0, caller.uid, 1),), ((0, caller.gid, 1),))
    if as_root or caller.uid == 0:
        return alone
    return Identity(alone.uids, alone.gids, back=(caller.uid, caller.gid))


def _with_range(caller: Caller, *, as_root: bool) -> Identity:
    """One's own id and all that subuid(5) and subgid(5) grant, in one namespace.

    A range brings an id for root to own the registry, so nothing needs to be mapped back.
    """
    uids = _granted(caller.subuid, "/etc/subuid", caller)
    gids = _granted(caller.subgid, "/etc/subgid", caller)
    own_uid, own_gid = (0, 0) if as_root else (caller.uid, caller.gid)
    return Identity(
        ((own_uid, caller.uid, 1), *_around(own_uid, uids)),
        ((own_gid, caller.gid, 1), *_around(own_gid, gids)),
        "newuidmap",
    )


def _granted(text: str, path: str, caller: Caller) -> list[tuple[int, int]]:
    """The (first id, count) ranges of a caller in subuid(5); raises EnvironmentUnfit if none."""
    found = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        start, _, count = rest.partition(":")
        mine = owner in (caller.name, str(caller.uid))
        if owner and mine and start.isdecimal() and count.isdecimal() and int(count):
            found.append((int(start), int(count)))
    if found:
        return found
    who = caller.name or str(caller.uid)
    raise EnvironmentUnfit(
        f"{who} has no range of ids in {path}, so --map-users auto has none to give",
        hint="an administrator can add one: usermod --add-subuids 100000-165535 "
        f"--add-subgids 100000-165535 {who}; or do without: --map-users one",
        code="subuid-missing",
    )


def _around(taken: int, ranges: Iterable[tuple[int, int]]) -> tuple[Extent, ...]:
    """Lay ranges side by side from id 0 on, leaving out the one id that is taken."""
    extents: list[Extent] = []
    inside = 0
    for first, granted in ranges:
        outside, left = first, granted
        while left:
            inside += inside == taken
            count = min(left, taken - inside) if inside < taken else left
            extents.append((inside, outside, count))
            inside, outside, left = inside + count, outside + count, left - count
    return tuple(extents)


def _rows(text: str) -> list[Extent]:
    """The lines of /proc/PID/uid_map; everything, where there are no user namespaces."""
    rows = [tuple(int(word) for word in line.split()) for line in text.splitlines()]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3] or [(0, 0, 4294967295)]
