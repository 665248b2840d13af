"""Where an interpreter's file comes from: its package, its owner, the mount it lies on.

Read for the security view alone: asking a package manager takes a while.
"""

from __future__ import annotations

from binfmt_setup.emulators.package_managers.interface import manager_of_files
from binfmt_setup.inspect.next_boot import UPDATE_BINFMTS
from binfmt_setup.model.binfmt_d import BINFMT_D
from binfmt_setup.model.boot_facts import REGISTRY_UNIT, UNIT_DIRECTORY
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.interpreter import Interpreter
from binfmt_setup.model.mount_order import mount_point_of
from binfmt_setup.model.mountinfo import parse_mountinfo
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import target_named
from binfmt_setup.system.programs import SAFE_PATH

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.emulators.package_managers.interface import PackageManager
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.interpreter import InterpreterState
    from binfmt_setup.model.mountinfo import Mount
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.host import Host


_SECONDS = 30.0  # rpm's database on a slow disk
_OTHER_UNITS = ("/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_UNITS = ("binfmt", "systemd-binfmt", REGISTRY_UNIT)
"""How the names of units begin that have to do with entries: ours, systemd's, Debian's."""
_RUN_AT_BOOT = ("/bin/sh", "/usr/lib/systemd/systemd-binfmt", "/etc/init.d/binfmt")
_NETWORK = ("9p", "cifs", "fuse.sshfs", "nfs", "nfs4", "smb3", "vboxsf", "virtiofs")


def with_provenance(host: Host, facts: HostFacts) -> HostFacts:
    """The facts, with what is known about where each entry's interpreter comes from."""
    mounts = parse_mountinfo(host.text("/proc/self/mountinfo"))
    paths = {entry.interpreter for entry in facts.registry.entries}
    manager = manager_of_files(facts.distribution)
    read: dict[str, InterpreterState] = dict(facts.emulators.files)
    for path in sorted(paths):
        found = read.get(path)
        if isinstance(found, Interpreter):
            read[path] = replace(
                found,
                package=_package(host, manager, found),
                unfit_mount=_unfit_mount(host, mounts, found.real_path),
            )
    judge = host.path_judge()
    unseen = (path for path in paths if not isinstance(read.get(path), Interpreter))
    makers, at_boot = (
        {path: culprit for path in some if (culprit := judge.culprit(path, whole=True))}
        for some in (unseen, _read_at_boot(host, facts))
    )
    return replace(
        facts,
        kernel=replace(facts.kernel, relatives=_relatives(host, facts.kernel.native)),
        registry=replace(facts.registry, taken=_taken(host, facts)),
        emulators=replace(facts.emulators, files=read, makers=makers),
        boot=replace(facts.boot, culprits=at_boot),
    )


def _read_at_boot(host: Host, facts: HostFacts) -> Iterator[str]:
    """What decides, or will, what is registered at boot: directories, files, units, our script."""
    yield from BINFMT_D
    yield from (config.path for config in facts.boot.configs)
    yield from facts.boot.files
    for directory in (UNIT_DIRECTORY, *_OTHER_UNITS):
        yield directory
        for name in host.names(directory):
            if name.startswith(_UNITS) or name.endswith(".wants"):
                yield f"{directory}/{name}"
                inside = host.names(f"{directory}/{name}")
                dropped = name.endswith(".d")
                yield from (
                    f"{directory}/{name}/{n}" for n in inside if dropped or n.startswith(_UNITS)
                )
    yield UPDATE_BINFMTS
    yield from (f"{UPDATE_BINFMTS}/{name}" for name in facts.boot.update_binfmts)
    yield from _RUN_AT_BOOT


def _relatives(host: Host, native: Target | None) -> frozenset[str]:
    """Which other targets the kernel runs without an entry, as an amd64 one runs i386.

    All are asked, entry or not: one that was made of a single program's first bytes takes none of
    the probes.
    """
    if native is None or not native.runs_also:
        return frozenset()
    targets = [target_named(name) for name in native.runs_also]
    found = host.try_without_entries(tuple(p.probe for t in targets for p in t.platforms))
    return frozenset(
        target.name
        for target in targets
        if any(p.probe in found and found[p.probe].native for p in target.platforms)
    )


def _taken(host: Host, facts: HostFacts) -> dict[str, str]:
    """For entries that take an ending: a command of the host whose name has it."""
    by_ending = {e.registration.extension: e.name for e in facts.registry.entries}
    by_ending.pop("", None)
    taken: dict[str, str] = {}
    for directory in SAFE_PATH.split(":") if by_ending else ():
        for name in host.names(directory):
            _, dot, ending = name.rpartition(".")
            if dot and ending in by_ending:
                taken.setdefault(by_ending[ending], f"{directory}/{name}")
    return taken


def _package(host: Host, manager: PackageManager | None, found: Interpreter) -> str | None:
    """The package of a file; empty when it belongs to none, None when nobody knows.

    A file is known by one of its names alone where /bin is a link to /usr/bin.
    """
    if manager is None or not manager.owner:
        return None
    for name in dict.fromkeys((found.real_path, found.real_path.removeprefix("/usr"))):
        try:
            answer = host.run((*manager.owner, name), _SECONDS)
        except BinfmtSetupError:
            return None
        if answer.status > 1:
            return None
        if answer.status == 0 and answer.output.strip():
            return answer.output.strip().partition(":")[0]
    return ""


def _unfit_mount(host: Host, mounts: tuple[Mount, ...], path: str) -> str:
    """What is wrong with the mount that a file lies on; empty when nothing is."""
    point = mount_point_of(f"{path}/", (mount.point for mount in mounts))
    mount = next((mount for mount in mounts if mount.point == point), None)
    if mount is None:
        return ""
    if "noexec" in mount.options:
        return f"{mount.point}, which is mounted noexec"
    if mount.fs_type in _NETWORK:
        return f"{mount.point}, which is a network file system ({mount.fs_type})"
    if mount.fs_type in ("tmpfs", "ramfs") and mount.point != "/":
        return f"{mount.point}, which is gone after a reboot ({mount.fs_type})"
    block = f"/sys/dev/block/{mount.device}"
    removable = host.text(f"{block}/removable") or host.text(f"{block}/../removable")
    return f"{mount.point}, which is a removable disk" if removable.strip() == "1" else ""
