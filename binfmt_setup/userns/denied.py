"""Why a private namespace cannot be had: an errno and the system's switches become a cause.

Told by errno and by what the switches say, never by anybody's words. The switches are read
only after a step has failed: what works needs no explanation.
"""

from __future__ import annotations

import errno
import os

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.mountinfo import parse_mountinfo

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.system.host import Host

    Step = Literal["unshare", "map", "mount"]


FIRST_KERNEL_WITH_OWN_REGISTRIES = (6, 7)
"""From here on each user namespace can have a binfmt_misc of its own (commit 21ca59b365c0)."""

_USER_LIMIT = "/proc/sys/user/max_user_namespaces"
_MOUNT_LIMIT = "/proc/sys/user/max_mnt_namespaces"
_DEBIAN_SWITCH = "/proc/sys/kernel/unprivileged_userns_clone"
_APPARMOR_SWITCH = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"
_SECCOMP_FILTER = "2"  # seccomp(2), SECCOMP_MODE_FILTER, as /proc/PID/status shows it
_WHAT = {
    "unshare": "cannot make a user namespace",
    "map": "cannot map user ids into a namespace",
    "mount": "cannot mount a binfmt_misc of one's own",
}


def explain(step: Step, error: OSError, host: Host) -> EnvironmentUnfit:
    """The finding for a step that the kernel refused."""
    number = error.errno or errno.EIO
    what = f"{_WHAT[step]}: {os.strerror(number)}"
    found: EnvironmentUnfit | None = None
    if step == "mount" and number in (errno.ENODEV, errno.ENOENT):
        return EnvironmentUnfit(
            f"{what}: this kernel has no binfmt_misc, or /proc is not mounted",
            hint="an administrator can load it (modprobe binfmt_misc), or install the "
            "kernel's extra modules", code="binfmt-missing",
        )  # fmt: skip
    if number in (errno.ENOSPC, errno.EUSERS):
        found = _used_up(what, host)
    elif step == "unshare" and number in (errno.EINVAL, errno.ENOSYS):
        found = EnvironmentUnfit(
            f"{what}: this kernel was built without them",
            hint="a kernel with CONFIG_USER_NS is needed", code="userns-disabled",
        )  # fmt: skip
    elif number in (errno.EPERM, errno.EACCES):
        found = _forbidden(step, what, host)
    hint = _CAPABILITIES if step == "map" else _ASK
    return found or EnvironmentUnfit(what, hint=hint, code="userns-refused")


_ASK = (
    "something forbids it that this tool does not know: a security module, a chroot, or a "
    "container's rules; ask its administrator"
)
_CAPABILITIES = (
    "root may lack a capability here (SETUID, SETGID, SETFCAP), as in a container: have its "
    "administrator grant them, or run this as an ordinary user, who needs none"
)


def _used_up(what: str, host: Host) -> EnvironmentUnfit | None:
    """A limit that is reached; 0 is the way to switch namespaces off."""
    for path, kind in ((_USER_LIMIT, "user"), (_MOUNT_LIMIT, "mnt")):
        if host.text(path).strip() == "0":
            return EnvironmentUnfit(
                f"{what}: user.max_{kind}_namespaces is 0, which switches them off",
                hint=f"an administrator can allow them: sysctl -w user.max_{kind}_namespaces=1000",
                code="userns-disabled",
            )
    limit = host.text(_USER_LIMIT).strip() or "unknown"
    return EnvironmentUnfit(
        f"{what}: the limit (user.max_user_namespaces = {limit}) is reached, or they are "
        "nested 33 deep",
        hint="an administrator can raise it: sysctl -w user.max_user_namespaces=10000",
        code="userns-limit",
    )


def _forbidden(step: Step, what: str, host: Host) -> EnvironmentUnfit | None:
    """Who says no, where the kernel says no more than that."""
    release = host.text("/proc/sys/kernel/osrelease").strip()
    if step == "mount" and _too_old(release):
        return EnvironmentUnfit(
            f"{what}: Linux {release} has one registry for the whole host",
            hint="Linux 6.7 or newer is needed; `binfmt-setup install`, as root, sets up the host",
            code="kernel-too-old",
        )
    if host.text(_DEBIAN_SWITCH).strip() == "0":
        return EnvironmentUnfit(
            f"{what}: kernel.unprivileged_userns_clone is 0, which keeps them for root",
            hint="an administrator can allow them: sysctl -w kernel.unprivileged_userns_clone=1",
            code="userns-disabled",
        )
    misplaced = _misplaced(what, host) if step == "unshare" else None
    if misplaced:
        return misplaced
    if host.text(_APPARMOR_SWITCH).strip() == "1":
        return EnvironmentUnfit(
            f"{what}: AppArmor restricts them for programs without a profile "
            "(kernel.apparmor_restrict_unprivileged_userns is 1)",
            hint="an administrator can allow them for all programs: sysctl -w "
            "kernel.apparmor_restrict_unprivileged_userns=0; or for one, by an AppArmor "
            "profile with `userns,`", code="userns-apparmor",
        )  # fmt: skip
    if _status(host, "Seccomp") == _SECCOMP_FILTER:
        return EnvironmentUnfit(
            f"{what}: a seccomp filter is set, as in a container or a hardened service",
            hint="start the container with --security-opt seccomp=unconfined, or with a "
            "profile that allows unshare and mount", code="userns-seccomp",
        )  # fmt: skip
    return None


def _misplaced(what: str, host: Host) -> EnvironmentUnfit | None:
    """Where one stands is no place to make a user namespace (unshare(2), EPERM)."""
    if _in_chroot(host):
        return EnvironmentUnfit(
            f"{what}: in a chroot the kernel gives none",
            hint="start binfmt-setup outside, and the chroot by it: run --map-root -- chroot …",
            code="userns-chroot",
        )
    if _unmapped(host):
        return EnvironmentUnfit(
            f"{what}: this user, or the group, has no id in the namespace that is there already",
            hint="map both where that one is made, as by unshare --map-user and --map-group",
            code="userns-unmapped",
        )
    return None


def _too_old(release: str) -> bool:
    numbers = release.partition("-")[0].split(".")
    if len(numbers) < 2 or not (numbers[0].isdecimal() and numbers[1].isdecimal()):
        return False
    return (int(numbers[0]), int(numbers[1])) < FIRST_KERNEL_WITH_OWN_REGISTRIES


def _in_chroot(host: Host) -> bool:
    """Whether nothing is mounted at what is / here: the root of a chroot into a directory."""
    mounts = parse_mountinfo(host.text("/proc/self/mountinfo"))
    return bool(mounts) and all(mount.point != "/" for mount in mounts)


def _unmapped(host: Host) -> bool:
    """Whether the effective user or group is not in the map of the current namespace."""
    for ids, path in (("Uid", "/proc/self/uid_map"), ("Gid", "/proc/self/gid_map")):
        words = _status(host, ids).split()
        rows = [line.split() for line in host.text(path).splitlines()]
        ranges = [range(int(row[0]), int(row[0]) + int(row[2])) for row in rows]
        if len(words) > 1 and not any(int(words[1]) in found for found in ranges):
            return True
    return False


def _status(host: Host, wanted: str) -> str:
    """A field of /proc/self/status; empty when it is not there."""
    for line in host.text("/proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == wanted:
            return value.strip()
    return ""
