"""What is mounted, from /proc/PID/mountinfo, and whether it is the registry. Pure."""

from __future__ import annotations

from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Literal

BINFMT_MISC = "/proc/sys/fs/binfmt_misc"


class Mount(Record):
    """One line of /proc/PID/mountinfo (proc(5))."""

    mount_id: str
    parent_id: str
    point: str
    fs_type: str
    options: frozenset[str]
    device: str = ""
    root: str = ""


class BinfmtMount(Record):
    """What is mounted at the registry's place, or that nothing can be: `read_only`.

    `automount` is systemd's autofs that nobody has triggered yet: the directory is there
    and empty, and reading it would mount the real thing.
    """

    state: Literal["mounted", "automount", "absent"]
    read_only: bool = False


ABSENT = BinfmtMount("absent")


def unescaped(field: str) -> str:
    """A path as it is, out of mountinfo or fstab(5), where spaces separate fields."""
    return field.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def parse_mountinfo(text: str) -> tuple[Mount, ...]:
    """Read /proc/PID/mountinfo; lines that make no sense are left out."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if not dash or len(fields) < 6 or len(rest) < 3:
            continue
        options = frozenset(fields[5].split(",")) | frozenset(rest[2].split(","))
        point = unescaped(fields[4])
        root = unescaped(fields[3])
        mounts.append(Mount(fields[0], fields[1], point, rest[0], options, fields[2], root))
    return tuple(mounts)


def mount_points(mounts: tuple[Mount, ...]) -> tuple[str, ...]:
    """Where something is mounted that is not there anyway, each once.

    NixOS mounts /nix/store upon itself, to make it read-only.
    """
    known = {mount.mount_id: mount for mount in mounts}
    points = (m.point for m in mounts if not _upon_itself(m, known.get(m.parent_id)))
    return tuple(dict.fromkeys(points))


def _upon_itself(mount: Mount, below: Mount | None) -> bool:
    if below is None or below.device != mount.device:
        return False
    return mount.root == below.root.rstrip("/") + mount.point.removeprefix(below.point.rstrip("/"))


def visible_mount(mounts: tuple[Mount, ...], path: str) -> Mount | None:
    """The mount that one sees at exactly this path, or None when nothing is mounted there.

    Follows parents from the root, so that a mount hidden below a later one further up
    (a container's read-only /proc/sys over the host's) is not taken for a visible one.
    """
    known = {mount.mount_id for mount in mounts}
    here = next((m for m in mounts if m.point == "/" and m.parent_id not in known), None)
    parts = [part for part in path.split("/") if part]
    at_end: Mount | None = None
    for depth in range(len(parts) + 1):
        point = "/" + "/".join(parts[:depth])
        on_top = _stacked(mounts, here, point)
        at_end = on_top if on_top is not here else None
        here = on_top
    return at_end


def read_only_places(mounts: tuple[Mount, ...], places: Iterable[str]) -> Iterator[str]:
    """Those of these paths that lie on a mount which cannot be written to."""
    if not any("ro" in mount.options for mount in mounts):
        return  # so it is nearly everywhere
    for place in places:
        parts = place.rstrip("/").split("/")
        above = ("/".join(parts[:depth]) or "/" for depth in range(len(parts), 0, -1))
        nearest = next((m for path in above if (m := visible_mount(mounts, path))), None)
        if nearest is not None and "ro" in nearest.options:
            yield place


def _stacked(mounts: tuple[Mount, ...], here: Mount | None, point: str) -> Mount | None:
    """The uppermost of the mounts stacked at one point, starting from the mount below."""
    while True:
        parent = here.mount_id if here else None
        above = [
            m for m in mounts
            if m.point == point and m is not here and (parent is None or m.parent_id == parent)
        ]  # fmt: skip
        if not above:
            return here
        here = above[-1]


def binfmt_mount(mounts: tuple[Mount, ...], place: str = BINFMT_MISC) -> BinfmtMount:
    """Tell the real mount from an untouched automount and from nothing, asking no one.

    The file system type in mountinfo is the same evidence as statfs(2)'s magic number, but
    statfs would trigger the automount and reading mountinfo does not.
    """
    mount = visible_mount(mounts, place)
    if mount is None:
        above = (visible_mount(mounts, path) for path in ("/proc/sys/fs", "/proc/sys", "/proc"))
        nearest = next((m for m in above if m is not None), None)
        return BinfmtMount("absent", read_only=nearest is not None and "ro" in nearest.options)
    if mount.fs_type == "autofs":
        return BinfmtMount("automount")
    if mount.fs_type == "binfmt_misc":
        return BinfmtMount("mounted", read_only="ro" in mount.options)
    return BinfmtMount("absent", read_only="ro" in mount.options)
