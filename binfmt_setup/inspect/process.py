"""Where a process stands: the few facts that tell whether and how it may change the registry.

Read before all else, so that what cannot work is refused before anything is locked.
"""

from __future__ import annotations

import errno
from contextlib import suppress

from binfmt_setup.model.facts import (
    HostFacts,
    KernelFacts,
    ProcessFacts,
    is_initial_namespace,
    maps_outer_root,
)
from binfmt_setup.model.mountinfo import (
    BinfmtMount,
    Mount,
    binfmt_mount,
    parse_mountinfo,
)
from binfmt_setup.model.reading import NOT_LOOKED_AT, Absent, NotLookedAt, Unreadable
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import target_of_machine
from binfmt_setup.system.registry import Registry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.system.host import Host


def standing(host: Host) -> HostFacts:
    """The few facts that tell whether and how this process may change the registry."""
    return standing_among(host, parse_mountinfo(host.text("/proc/self/mountinfo")))


def standing_among(host: Host, mounts: tuple[Mount, ...]) -> HostFacts:
    """The same, for whoever has read the mounts already."""
    uid, machine = host.user_and_machine()
    mount = binfmt_mount(mounts, host.registry)
    uid_map = host.text("/proc/self/uid_map")
    return HostFacts(
        root="/" if host.live else str(host.root),
        kernel=KernelFacts(
            host.text("/proc/sys/kernel/osrelease").strip(),
            machine_here(host, machine),
            _support(host, mount),
        ),
        process=ProcessFacts(
            effective_uid=uid,
            initial_namespace=is_initial_namespace(uid_map),
            maps_outer_root=maps_outer_root(uid_map),
            own_files=_own_files(host, uid_map),
            sees_files=host.shows_files,
        ),
        registry=RegistryFacts(mount, _switch(host, mount), _own_registry(host, mount)),
    )


def _switch(host: Host, mount: BinfmtMount) -> bool | NotLookedAt | Unreadable:
    """Whether entries are used at all; a mount that is not there is not touched."""
    if mount.state != "mounted":
        return NOT_LOOKED_AT
    said = host.read(f"{host.registry}/status")
    if isinstance(said, Absent):
        return Unreadable(errno.ENOENT)
    return said if isinstance(said, Unreadable) else said.strip() == "enabled"


def _own_registry(host: Host, mount: BinfmtMount) -> bool:
    """Whether the visible registry belongs to this user namespace.

    A captured tree is judged by ownership of its files, as there is no kernel to ask.
    """
    if mount.state == "mounted" and host.in_place:
        return Registry(host).is_own()
    status = host.status_of(f"{host.registry}/register") if mount.state == "mounted" else None
    return status is not None and status.st_uid == 0


def _own_files(host: Host, uid_map: str) -> bool:
    """Whether /etc belongs to this user namespace's root and not to the host's."""
    if is_initial_namespace(uid_map):
        return True
    status = host.status_of("/etc")
    return status is not None and status.st_uid == 0 and not maps_outer_root(uid_map)


def _support(host: Host, mount: BinfmtMount) -> Literal["present", "module", "absent", "unknown"]:
    """Whether this kernel has binfmt_misc: registered, as a module that can be, or not."""
    file_systems = host.text("/proc/filesystems").split()
    if mount.state == "mounted" or "binfmt_misc" in file_systems:
        return "present"
    if not file_systems or not host.shows_files:  # the modules that count are the host's
        return "unknown"
    release = host.text("/proc/sys/kernel/osrelease").strip()
    modules = host.text(f"/lib/modules/{release}/modules.dep")
    return "module" if "/binfmt_misc.ko" in modules else "absent"


def machine_here(host: Host, told: str) -> str:
    """What this kernel is made for, or an offline tree.

    uname(2) tells what it was asked to: an emulated process hears of the guest, one under
    `setarch` of another machine. Since Linux 6.1 /proc/sys/kernel/arch is above that.
    """
    if not told:
        return machine_of_tree(host)
    kernel = host.text("/proc/sys/kernel/arch").strip()
    return kernel if kernel and target_of_machine(kernel) else told


def machine_of_tree(host: Host) -> str:
    """What an offline tree is made for, told by its own programs; "" when it has none."""
    recorded = host.text("/proc/sys/kernel/arch").strip()
    if recorded:
        return recorded
    from binfmt_setup.model.elf import HEADER_BYTES, identify

    for path in ("/bin/sh", "/usr/bin/env", "/bin/busybox", "/sbin/init"):
        with suppress(OSError):
            facts = identify(host.head(path, HEADER_BYTES))
            if facts and facts.target:
                return facts.target.name
    return ""
