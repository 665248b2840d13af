"""Whether a path is its owner's alone: who else could change what lies there.

The rule is that of sshd's StrictModes, for links too: everything on the way, from the root
directory to the file, belongs to root (or to the user who runs this), and neither the group nor
others may write to it. The sticky bit is no excuse: it keeps names from being removed, and
nobody from putting one there first. On a read-only mount nobody can: so is /nix/store of NixOS.
What is judged stays as it was judged: whoever could change it would have been named.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from binfmt_setup.model.culprit import Culprit, Fault
from binfmt_setup.model.facts import is_initial_namespace
from binfmt_setup.model.mountinfo import parse_mountinfo
from binfmt_setup.model.records import replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


ROOT = frozenset({0})
"""Whose files may be run as root."""
_OVERFLOW_USER = 65534  # who owns the files of users that this namespace does not map
_OF_USERS = "/run/user"
_PROC = "/proc"
_HOPS = 40  # links that the kernel follows before it says ELOOP
_MOST = 24
"""What is told of one path, at most; somebody else may have made the rest."""
_FINAL = (Fault.PROCESS, Fault.MOUNT, Fault.UNREADABLE)
"""What lies behind them is no more certain than they are."""
_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_ACL_USER, _ACL_GROUP_OBJECT, _ACL_GROUP, _ACL_MASK, _ACL_OTHER = 2, 4, 8, 16, 32
_WRITE = 2
_SHARED = (Fault.SHARED, Fault.SHARED_GROUP)


def faults_of(
    status: os.stat_result, acl: bytes = b"", owners: Collection[int] = ROOT
) -> Iterator[str]:
    """What speaks against one file, directory or link; `acl` is its list as the kernel gives it."""
    if status.st_uid not in owners:
        yield Fault.OWNER
    if stat.S_ISLNK(status.st_mode):
        return  # it has no mode of its own: who may replace it is said by its directory
    sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & stat.S_IWOTH:
        yield Fault.SHARED if sticky else Fault.OTHERS
    if _lets_others_write(acl, owners):
        yield Fault.ACL
    elif status.st_mode & stat.S_IWGRP and not status.st_mode & stat.S_IWOTH:
        yield Fault.SHARED_GROUP if sticky else Fault.GROUP


def _lets_others_write(acl: bytes, owners: Collection[int]) -> bool:
    """Whether an access control list lets someone write who is no owner (acl(5), its mask too)."""
    if len(acl) < 4 or struct.unpack_from("<I", acl)[0] != _ACL_VERSION:
        return False
    entries = list(struct.iter_unpack("<HHI", acl[4 : 4 + (len(acl) - 4) // 8 * 8]))
    mask = next((may for tag, may, _ in entries if tag == _ACL_MASK), _WRITE)
    return any(
        may & mask & _WRITE
        and (tag in (_ACL_GROUP, _ACL_GROUP_OBJECT) or (tag == _ACL_USER and who not in owners))
        for tag, may, who in entries
    ) or any(tag == _ACL_OTHER and may & _WRITE for tag, may, _ in entries)


def unfit_mounts(mountinfo: str, owners: Collection[int] = ROOT) -> dict[str, Culprit]:
    """File systems that prove nothing, by device: procfs, and what users mounted with FUSE.

    The one shows each process other files, the other says of its files whatever its user wants.
    """
    found = {}
    for mount in parse_mountinfo(mountinfo):
        if mount.fs_type == "proc":
            found[mount.device] = Culprit(mount.point, Fault.PROCESS)
            continue
        words = (option.partition("=") for option in mount.options)
        user = next((value for name, _, value in words if name == "user_id"), "")
        if user.isdigit() and int(user) not in owners:
            found[mount.device] = Culprit(mount.point, Fault.MOUNT, int(user))
    return found


def trusted_owners(uid: int | None = None) -> frozenset[int]:
    """Root, and the user who runs this, or another one that is given.

    A user namespace shows the files of all whom it does not map, the host's root among them, as
    those of one user. That one is believed there: nobody in there can tell them apart, and root
    of such a namespace has no more rights than the user who made it.
    """
    owners = ROOT | {os.geteuid() if uid is None else uid}
    # Without /proc nothing speaks for a namespace: the strict answer.
    whole = is_initial_namespace(_text("/proc/self/uid_map"))
    return owners if whole else owners | {_OVERFLOW_USER}


def why_not_trusted(
    path: str, owners: Collection[int] | None = None, *, root: str | os.PathLike[str] = "/"
) -> Culprit | None:
    """The first on the way to `path` that others can change; None when it is trusted.

    Without `owners` those are root and the user who runs this. What does not exist yet is no
    culprit: only who may write to the last directory that does can make it. Below a `root` links
    lead to what they mean in there, and what is above it is not judged.
    """
    return PathJudge(trusted_owners() if owners is None else owners, root=root).culprit(path)


class PathJudge:
    """Judges many paths; each file, directory and link on them is looked at once.

    `shared` allows directories like /tmp on the way: what is there already and belongs to a trusted
    user nobody else can replace in them, but what is not there yet anybody can make.
    """

    def __init__(
        self, owners: Collection[int] | None = None, *, root: str | os.PathLike[str] = "/",
        shared: bool = False,
    ) -> None:  # fmt: skip
        self._owners = trusted_owners() if owners is None else owners
        self._shared = shared
        self._root = os.fspath(root)
        self._judged: dict[str, tuple[tuple[Culprit, ...], str, bool]] = {}
        self._mounts: dict[str, Culprit] | None = None

    def culprit(self, path: str, *, whole: bool = False) -> Culprit | None:
        """The first on the way to a path that others can change; None when it is trusted.

        With `whole` it tells of the others, too. That is for paths that were opened already: what
        lies behind a culprit may be a file system that answers its users as they like, or never.
        """
        found: dict[Culprit, None] = {}
        for culprits in self._on_the_way(path):
            found.update(dict.fromkeys(culprits))
            if len(found) >= (_MOST if whole else 1) or any(c.fault in _FINAL for c in culprits):
                break
        first, *others = (*found, None)[: _MOST + 1]
        return replace(first, others=tuple(filter(None, others))) if first and whole else first

    def _on_the_way(self, path: str) -> Iterator[tuple[Culprit, ...]]:
        """What speaks against each directory, link and file on the way to a path."""
        here, todo, hops = "/", path.split("/"), 0
        yield self._judge(here)[0]
        while todo:
            part = todo.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                here = here.rpartition("/")[0] or "/"
                continue
            there = f"{here.rstrip('/')}/{part}"
            culprits, target, present = self._judge(there)
            yield culprits
            if not present:
                return
            if not target:
                here = there
                continue
            hops += 1
            if hops > _HOPS:
                yield (Culprit(there, Fault.UNREADABLE, errno.ELOOP),)
            todo[:0] = target.split("/")
            here = "/" if target.startswith("/") else here

    def _judge(self, inside: str) -> tuple[tuple[Culprit, ...], str, bool]:
        """What speaks against one name, where it leads as a link, and whether it is there."""
        if inside not in self._judged:
            self._judged[inside] = self._look_at(inside)
        return self._judged[inside]

    def _look_at(self, inside: str) -> tuple[tuple[Culprit, ...], str, bool]:
        where = os.path.join(self._root, inside.lstrip("/"))
        try:
            status = self._status(where)
            is_link = stat.S_ISLNK(status.st_mode)
            target = os.readlink(where) if is_link else ""
            acl = b"" if is_link else _acl_of(where)
        except (FileNotFoundError, NotADirectoryError):
            return self._to_be_made(inside), "", False
        except OSError as error:
            return (Culprit(inside, Fault.UNREADABLE, error.errno or errno.EIO),), "", False
        mount = self._mount(inside, status.st_dev)
        if mount:
            return (replace(mount, path=inside),), target, True
        culprits = tuple(
            Culprit(inside, fault, status.st_uid if fault == Fault.OWNER else 0)
            for fault in faults_of(status, acl, self._owners)
            if not (fault in _SHARED and (self._shared or self._read_only(where)))
        )
        return culprits, target, True

    def _to_be_made(self, inside: str) -> tuple[Culprit, ...]:
        """Whose a directory will be that a login makes (pam_systemd(8))."""
        above, _, name = inside.rpartition("/")
        if above != _OF_USERS or not name.isdecimal() or int(name) in self._owners:
            return ()
        return (Culprit(inside, Fault.LOGIN, int(name)),)

    def _status(self, where: str) -> os.stat_result:
        return os.lstat(where)

    def _read_only(self, where: str) -> bool:
        return bool(os.statvfs(where).f_flag & os.ST_RDONLY)

    def _mount(self, inside: str, device: int) -> Culprit | None:
        """What speaks against the file system that something lies on."""
        if inside == _PROC:  # in a captured tree it is a plain directory
            return Culprit(inside, Fault.PROCESS)
        if os.major(device):
            return None  # a disk: only root mounts those
        if self._mounts is None:
            self._mounts = unfit_mounts(_text("/proc/self/mountinfo"), self._owners)
        return self._mounts.get(f"{os.major(device)}:{os.minor(device)}")


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _acl_of(path: str) -> bytes:
    """The access control list; empty where there is none, or where the file system has none."""
    try:
        return os.getxattr(path, _ACL, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOENT):
            return b""
        raise
