"""The condition that keeps systemd-binfmt away: what drop-ins of others, or a changed unit, say.

systemd's own conditions ask for the registry and for files in binfmt.d, and hold where they are
needed. Others are judged where files tell; what a kernel or a virtual machine decides is not known
before it is there.
"""

from __future__ import annotations

import stat

from binfmt_setup.model.boot_facts import SYSTEMD_BINFMT, UNIT_PLACES, Condition

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Protocol

    from binfmt_setup.system.host import Host

    class Read(Protocol):
        """Reads directories and files, and keeps which could not be read."""

        def names(self, path: str) -> tuple[str, ...]:
            """The names in a directory."""
            ...

        def configured(self, path: str) -> list[str]:
            """The names of what counts in a directory of *.d."""
            ...

        def known(self, path: str) -> str:
            """A file's text; empty where there is none."""
            ...


_DROP_INS = ("service.d", "systemd-.service.d", f"{SYSTEMD_BINFMT}.d")
"""Also those of all services, and of all whose names begin alike (systemd.unit(5))."""
_OWN = ("/proc/sys", "/etc/binfmt.d", "/run/binfmt.d", "/usr/local/lib/binfmt.d",
        "/usr/lib/binfmt.d", "/lib/binfmt.d")  # fmt: skip
_OF_THE_RUNNING = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp")  # noqa: S108 - names
_FILES: dict[str, Callable[[Host, str], bool]] = {
    "PathExists": lambda host, path: host.exists(path),
    "PathIsDirectory": lambda host, path: stat.S_ISDIR(_mode(host, path)),
    "PathIsSymbolicLink": lambda host, path: bool(host.link_target(path)),
    "DirectoryNotEmpty": lambda host, path: bool(host.names(path)),
    "FileNotEmpty": lambda host, path: bool(host.text(path)),
    "FileIsExecutable": lambda host, path: (
        stat.S_ISREG(_mode(host, path)) and bool(_mode(host, path) & 0o111)
    ),
}


def unmet_condition(host: Host, read: Read, *, skipped: bool) -> Condition | None:
    """The condition that will not hold, or else one of which nobody can tell.

    With `skipped` systemd has found that one does not. Where a system runs and has started the
    service, those that no file tells of hold.
    """
    found = list(_conditions(read))
    judged = [(condition, _holds(host, condition)) for condition in found]
    refused = (condition for condition, holds in judged if holds is False)
    unknown = (condition for condition, holds in judged if holds is None)
    if skipped:
        return next(refused, next(unknown, None))
    open_ones = () if host.live else unknown
    return next(refused, next((c.unsure() for c in open_ones), None))


def _conditions(read: Read) -> Iterator[Condition]:
    """What was added to systemd's own, in the order in which it is read; an empty one clears."""
    kept: dict[str, list[Condition]] = {"Condition": [], "Assert": []}
    for path in _files(read):
        section = ""
        for line in read.known(path).replace("\\\n", " ").splitlines():
            if line.strip().startswith("["):
                section = line.strip()
            if section != "[Unit]":
                continue  # systemd passes over what stands elsewhere
            key, equals, value = (part.strip() for part in line.partition("="))
            kind = next((kind for kind in kept if equals and key.startswith(kind)), "")
            if kind and not value:
                kept[kind].clear()
            elif kind and not value.lstrip("|!").startswith(_OWN):
                kept[kind].append(Condition(path, f"{key}={value}"))
    for added in kept.values():
        # Of those with a | one is enough, and a file in binfmt.d is one of systemd's own.
        yield from (c for c in added if not c.text.partition("=")[2].startswith("|"))


def _files(read: Read) -> Sequence[str]:
    """The unit, and its drop-ins in the order of their names, as far as there are any."""
    drop_ins: dict[str, str] = {}
    unit = ""
    for place in reversed(UNIT_PLACES):
        there = set(read.names(place))
        unit = f"{place}/{SYSTEMD_BINFMT}" if SYSTEMD_BINFMT in there else unit
        for folder in there.intersection(_DROP_INS):
            names = read.configured(f"{place}/{folder}")
            drop_ins |= {name: f"{place}/{folder}/{name}" for name in names}
    return [*filter(None, [unit]), *(drop_ins[name] for name in sorted(drop_ins))]


def _holds(host: Host, condition: Condition) -> bool | None:
    """Whether a condition holds, as far as files tell; None where they do not."""
    key, _, value = condition.text.partition("=")
    test = _FILES.get(key.removeprefix("Condition").removeprefix("Assert"))
    path = value.lstrip("!").strip()
    elsewhere = any(f"{path}/".startswith(f"{place}/") for place in _OF_THE_RUNNING)
    if test is None or "%" in path or elsewhere:
        return None
    return test(host, path) != value.startswith("!")


def _mode(host: Host, path: str) -> int:
    status = host.status_of(path)
    return status.st_mode if status else 0
