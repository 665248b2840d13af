"""Why root may not mount here: which of the things that a mount needs is lacking.

The kernel says EPERM to all of them. A container that looks like a privileged one may lack a
capability, or be kept from mounting by a filter, or its mounts are another namespace's.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing
from binfmt_setup.model.facts import is_initial_namespace, version_pair

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host_access import HostAccess


_SYS_ADMIN = 1 << 21  # CAP_SYS_ADMIN (linux/capability.h)
_NS_GET_USERNS = 0xB701  # ioctl_nsfs(2): whose a namespace is
_FIRST_KERNEL_WITH_OWN_REGISTRIES = (6, 7)


def why_denied(host: HostAccess, what: str) -> EnvironmentUnfit | PrivilegesMissing:
    """The typed error for a mount that ended in EPERM or EACCES."""
    if os.geteuid() != 0:
        return PrivilegesMissing(what, hint="run it as root: sudo binfmt-setup …")
    return _denied(what, _cause(host))


def refuse_foreseeable(host: HostAccess, what: str) -> None:
    """Raises the same error for a mount that is sure to be refused; for root alone.

    Of a captured host nobody knows what its process may do.
    """
    if host.in_place and os.geteuid() == 0 and (sure := _sure_cause(host)):
        raise _denied(f"{what}: {os.strerror(errno.EPERM)}", sure)


def _denied(what: str, why: tuple[str, str]) -> EnvironmentUnfit:
    cause, hint = why
    return EnvironmentUnfit(f"{what}: {cause}", hint=hint, code="access-denied")


def may_administer(host: HostAccess) -> bool:
    """Whether this process has CAP_SYS_ADMIN; without /proc nobody knows, and it may."""
    status = _status(host)
    return "CapEff" not in status or bool(int(status["CapEff"], 16) & _SYS_ADMIN)


def _status(host: HostAccess) -> dict[str, str]:
    lines = host.text("/proc/self/status").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _sure_cause(host: HostAccess) -> tuple[str, str] | None:
    """What is lacking for sure, and what gives it."""
    if not may_administer(host):
        return "root has no CAP_SYS_ADMIN here, as in a container that is not privileged", (
            "run it on the host, or start the container with docker run --privileged"
        )
    whole = is_initial_namespace(host.text("/proc/self/uid_map"))
    if not whole and _mounts_are_others():
        return "the mounts here belong to another user namespace than this one", (
            "start with a mount namespace of its own: unshare --user --map-root-user --mount"
        )
    release = host.text("/proc/sys/kernel/osrelease").strip()
    if not whole and version_pair(release) < _FIRST_KERNEL_WITH_OWN_REGISTRIES:
        return f"this is a user namespace, and Linux {release} has one registry for all", (
            "run it on the host: Linux 6.7 is the first with a registry for each user namespace"
        )
    return None


def _cause(host: HostAccess) -> tuple[str, str]:
    """What is lacking, for sure or perhaps, and what gives it."""
    if sure := _sure_cause(host):
        return sure
    profile = host.text("/proc/self/attr/current").strip("\0\n ")
    if profile.endswith("(enforce)"):
        return f"the AppArmor profile {profile} may forbid it", (
            "run it on the host, or start the container with --security-opt apparmor=unconfined"
        )
    if _status(host).get("Seccomp", "").strip() == "2":
        return "a seccomp filter is set, as in a container, and may forbid mount", (
            "run it on the host, or start the container with --security-opt seccomp=unconfined"
        )
    return "something forbids it that is not visible from here", (
        "look for denials: journalctl -k -g denied; or run it on the host"
    )


def _mounts_are_others() -> bool:
    """Whether this process's mount namespace is another user namespace's."""
    import fcntl

    with suppress(OSError):  # without /proc nothing can be said
        own = os.stat("/proc/self/ns/user")
        mounts = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner = fcntl.ioctl(mounts, _NS_GET_USERNS)
        except OSError:  # EPERM: it is one above this one
            return True
        finally:
            os.close(mounts)
        try:
            return not os.path.samestat(own, os.fstat(owner))
        finally:
            os.close(owner)
    return False
