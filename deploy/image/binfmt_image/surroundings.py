"""Where a container of the image works, and how the host looks from within it."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.records import NOTHING, Record, replace
from binfmt_setup.system.host import Host
from binfmt_setup.system.probes import running_probes
from binfmt_setup.system.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from binfmt_setup.system.probes import ProbeResult


BIND = "-v /proc/sys/fs/binfmt_misc:/run/binfmt_misc:rw,rslave"


class Place(Record):
    """What a container is told of where it works.

    `emulators` is a source as --qemu takes it, where it is not what the image has; `on_host` says
    that the root is the host's.
    """

    registry: str = ""
    persist_to: str = ""
    private: bool = False
    emulators: str = ""
    on_host: bool = False


def host_seen_from(registry: str, emulators: str) -> Host:
    """The host: its registry at a place, what is pinned of this image known again."""
    if not emulators:
        return Host(registry=registry)

    @contextmanager
    def prove(
        probes: Sequence[str], /, *, known: Mapping[str, ProbeResult] = NOTHING
    ) -> Iterator[Callable[[], Mapping[str, ProbeResult]]]:
        with running_probes(probes, known=known) as results:
            yield lambda: as_seen_here(results(), _files(emulators))

    return Host(registry=registry, prove=prove, shows_files=False)


def mount_if_absent(host: Host, *, needed: bool = False) -> bool:
    """See the host's entries; whether it took a mount. `install` mounts, and knows what lasts.

    Raises EnvironmentUnfit where it cannot be mounted and an answer without it would be wrong. On
    the host itself it is right: what is not mounted there has no entries.
    """
    if os.geteuid() != 0 or host.exists(f"{host.registry}/status"):
        return False
    try:
        return Registry(host).mount(again=True)
    except OSError as error:
        if needed:
            raise EnvironmentUnfit(
                f"cannot mount binfmt_misc on {host.registry}: {error.strerror}; "
                "so it is not known what is registered",
                hint=f"bind the host's: {BIND}", code="not-mounted",
            ) from error  # fmt: skip
        return False


def as_seen_here(
    found: Mapping[str, ProbeResult], files: Collection[tuple[int, int]]
) -> Mapping[str, ProbeResult]:
    """The same, where a file of the image that another container pinned is this container's.

    Each container sees the image through an overlay of its own, which has a device number of its
    own, without a driver (major 0), and hands on the inode numbers of what lies beneath. The
    number of a file that is pinned is given to no other one. Without this, every container would
    take the emulators of its own image for others, and register them again.
    """
    here = {inode: device for device, inode in files if os.major(device) == 0}

    def seen(result: ProbeResult) -> ProbeResult:
        if result.pinned is None or os.major(result.pinned[0]) or result.pinned[1] not in here:
            return result
        return replace(result, pinned=(here[result.pinned[1]], result.pinned[1]))

    return {name: seen(result) for name, result in found.items()}


def _files(directory: str) -> list[tuple[int, int]]:
    with suppress(OSError), os.scandir(directory) as found:
        return [(status.st_dev, status.st_ino) for item in found for status in [item.stat()]]
    return []
