"""Which file systems the boot waits for, from fstab(5) and from what is mounted. Pure."""

from __future__ import annotations

from binfmt_setup.model.mountinfo import unescaped
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable


NETWORK_TYPES = frozenset({
    "afs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
    "ocfs2", "smb3", "smbfs", "sshfs",
})  # fmt: skip
"""File systems that need a network, which systemd mounts after it (fstype_is_network)."""
_NOT_AWAITED = frozenset({"nofail", "noauto", "_netdev", "x-systemd.automount"})
_SYSTEM = ("/", "/usr", "/run")  # there before an init reads a unit
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.")


class FstabLine(Record):
    """One file system of /etc/fstab."""

    point: str
    fs_type: str
    options: frozenset[str]

    @property
    def awaited(self) -> bool:
        """Whether local-fs.target needs it: else a boot neither waits for it nor fails."""
        return self.fs_type not in NETWORK_TYPES and not self.options & _NOT_AWAITED

    @property
    def automatic(self) -> bool:
        """Whether it is mounted at boot at all."""
        return "noauto" not in self.options


def parse_fstab(text: str) -> tuple[FstabLine, ...]:
    """Read fstab(5); what has no mount point, such as swap, is left out."""
    lines = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 3 or fields[0].startswith("#") or not fields[1].startswith("/"):
            continue
        point = unescaped(fields[1])
        options = frozenset(fields[3].split(",")) if len(fields) > 3 else frozenset[str]()
        lines.append(FstabLine(point.rstrip("/") or "/", fields[2], options))
    return tuple(lines)


def mount_point_of(path: str, points: Iterable[str]) -> str:
    """The innermost of these mount points that a path lies below; "/" when there is none."""
    above = (point for point in points if path.startswith(point.rstrip("/") + "/"))
    return max(above, key=len, default="/")


def late_mount(path: str, fstab: Iterable[FstabLine], mounted: Iterable[str]) -> str:
    """The mount point of a path when the boot does not wait for it; else empty.

    A mount that fstab does not know was made by somebody at some time, so it is not waited
    for either.
    """
    known = {line.point: line for line in fstab}
    point = mount_point_of(path, {*known, *mounted})
    if point in _SYSTEM or (point in known and known[point].awaited):
        return ""
    return point


def unit_escape(path: str) -> str:
    r"""A path as it stands in the name of a unit: `/opt/my qemu` is `opt-my\x20qemu`.

    As systemd.unit(5) says and `systemd-escape --path` does.
    """
    inner = "/".join(part for part in path.split("/") if part)
    if not inner:
        return "-"
    escaped = []
    for number, byte in enumerate(inner.encode("utf-8", "surrogateescape")):
        letter = chr(byte)
        if letter == "/":
            escaped.append("-")
        elif letter in _LETTERS and not (letter == "." and number == 0):
            escaped.append(letter)
        else:
            escaped.append(f"\\x{byte:02x}")
    return "".join(escaped)
