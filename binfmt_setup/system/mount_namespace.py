"""Whether what is mounted here stays mounted on the host when this process is gone."""

from __future__ import annotations

from binfmt_setup.model.mountinfo import parse_mountinfo

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


_INITIAL_PIDS = "pid:[4026531836]"  # PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h


def is_foreign(host: Host) -> bool:
    """Whether this mount namespace is another one than the init's, and shares nothing with it.

    In a PID namespace of its own a container cannot see the init, whose mounts it does not
    share. With the host's PIDs it can: then the init's mounts tell, as some namespaces pass
    theirs on to it.
    """
    if host.link_target("/proc/self/ns/pid") != _INITIAL_PIDS:
        return True
    first, own = host.link_target("/proc/1/ns/mnt"), host.link_target("/proc/self/ns/mnt")
    if not first or first == own:
        return False
    mounts = parse_mountinfo(host.text("/proc/1/mountinfo"))
    return all(mount.fs_type != "binfmt_misc" for mount in mounts)
