"""What is known about a host, and the pure parsers that fill it.

Everything here is data: `inspect.snapshot` reads a host through the door in `system.host` and
fills a `HostFacts`; findings and plans are made from it and nothing else. It is divided by what
is known, so that a function takes what it needs.
"""

from __future__ import annotations

from binfmt_setup.model.boot_facts import BootFacts
from binfmt_setup.model.interpreter import EmulatorFacts
from binfmt_setup.model.records import Record
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import (
    X86_LEVELS,
    Platform,
    Target,
    target_named,
    target_of_machine,
)

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.model.reading import UnreadFile
    from binfmt_setup.model.registration import Registration


_WHOLE_HOST = ["0", "0", "4294967295"]  # the uid map of the initial user namespace


class KernelFacts(Record):
    """The kernel that would run programs; nothing of an offline tree's is known.

    `release` is that of uname(1), `machine` what it is made for, which an emulated process is not
    told by uname(2). `support` tells whether it has binfmt_misc: now, as a module that can be
    loaded, or not. `behind_entries` names the targets that it was seen to run itself, though an
    entry takes their programs; `relatives` all but its own that it was seen to run without any
    entry: the security view alone asks.
    """

    release: str = ""
    machine: str = ""
    support: Literal["present", "module", "absent", "unknown"] = "unknown"
    cpu_flags: frozenset[str] = frozenset()
    behind_entries: frozenset[str] = frozenset()
    relatives: frozenset[str] = frozenset()

    @property
    def native(self) -> Target | None:
        """The target whose programs this host's kernel runs without help."""
        return target_of_machine(self.machine)

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor of the kernel; (0, 0) when unknown."""
        return version_pair(self.release)

    def caught_by(self, registration: Registration) -> tuple[str, ...]:
        """The targets that this kernel runs itself, and whose programs a registration takes."""
        return tuple(
            name
            for name in sorted(self.behind_entries)
            if registration.takes_any(target_named(name).headers)
        )

    def cpu_lacks(self, platform: Platform) -> tuple[str, ...]:
        """CPU features that an x86-64 level needs and this processor does not show."""
        if platform.variant.suffix not in X86_LEVELS:
            return ()
        wanted: set[str] = set()
        for level, flags in X86_LEVELS.items():
            wanted |= flags
            if level == platform.variant.suffix:
                break
        return tuple(sorted(wanted - self.cpu_flags))


class ProcessFacts(Record):
    """Where this process stands: whose rights it has, and in which namespace.

    `own_files` says whether the files below /etc belong to this user namespace: a container's
    do, those of a bare `unshare` are the host's. `sees_files` says whether the files are of the
    same host as the registry: those in a container that works for its host are not.
    """

    effective_uid: int = 0
    initial_namespace: bool = True
    maps_outer_root: bool = True
    own_files: bool = True
    sees_files: bool = True
    container: str = ""

    @property
    def is_root(self) -> bool:
        """Whether commands of root's need no sudo."""
        return self.effective_uid == 0


class Distribution(Record):
    """Who made this system, from os-release(5).

    `managers` are those package managers that are known by a file of the host alone.
    """

    id: str = ""
    like: tuple[str, ...] = ()
    version: str = ""
    name: str = ""
    managers: frozenset[str] = frozenset()


class HostFacts(Record):
    """All that findings and plans may look at.

    `root` is "/" for the running host, else an offline tree, whose kernel is not there to
    be asked.
    """

    root: str
    kernel: KernelFacts = KernelFacts()
    process: ProcessFacts = ProcessFacts()
    registry: RegistryFacts = RegistryFacts()
    boot: BootFacts = BootFacts()
    emulators: EmulatorFacts = EmulatorFacts()
    distribution: Distribution = Distribution()

    @property
    def live(self) -> bool:
        """Whether this is the running host, with a kernel to ask."""
        return self.root == "/"

    @property
    def out_of_reach(self) -> bool:
        """Whether this is a container that cannot see its host's registry, nor mount it.

        Engines give containers a read-only /proc/sys, unless they are privileged ones.
        """
        mount = self.registry.mount
        return bool(self.process.container) and mount.state == "absent" and mount.read_only

    @property
    def registry_in_reach(self) -> bool:
        """Whether the registry is one that this process may write to.

        Without one of its own a bare user namespace sees the host's, and its root could.
        """
        return self.process.own_files or self.registry.own

    @property
    def unread(self) -> tuple[UnreadFile, ...]:
        """What this tool wanted to read and could not, so that nothing is concluded from it."""
        return self.boot.unread


def version_pair(text: str) -> tuple[int, int]:
    """The first two numbers of a version; (0, 0) when there are none."""
    digits = "0123456789"
    start = next((place for place, letter in enumerate(text) if letter in digits), len(text))
    first, _, rest = text[start:].partition(".")
    second = rest[: len(rest) - len(rest.lstrip(digits))]
    whole = second and not first.strip(digits)
    return (int(first), int(second)) if whole else (0, 0)


def is_initial_namespace(uid_map: str) -> bool:
    """Whether /proc/self/uid_map is that of the host's own user namespace.

    An unreadable (empty) map is taken for a kernel without user namespaces.
    """
    rows = [line.split() for line in uid_map.splitlines()]
    return rows in ([], [_WHOLE_HOST])


def maps_outer_root(uid_map: str) -> bool:
    """Whether a user namespace's root, or another of its users, is root of the one outside."""
    rows = [line.split() for line in uid_map.splitlines()]
    return not rows or any(len(row) == 3 and row[1] == "0" for row in rows)


def parse_os_release(text: str) -> Distribution:
    """Read os-release(5)."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        values[key.strip()] = value.strip().strip("\"'")
    return Distribution(
        values.get("ID", ""),
        tuple(values.get("ID_LIKE", "").split()),
        values.get("VERSION_ID", ""),
        values.get("PRETTY_NAME", ""),
    )


def container_kind(environ: str, markers: frozenset[str]) -> str:
    """Which container this is, from PID 1's `container=` word and well-known files."""
    for assignment in environ.split("\0"):
        key, _, value = assignment.partition("=")
        if key == "container" and value:
            return value
    for path, kind in (("/.dockerenv", "docker"), ("/run/.containerenv", "podman")):
        if path in markers:
            return kind
    return ""
