"""Which processes execute a file, and how they were started."""

from __future__ import annotations

import os
from contextlib import suppress

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


_COMMAND_LINE_BYTES = 1 << 16  # more nobody reads


def executing(identities: Collection[tuple[int, int]]) -> list[tuple[int, list[str]]]:
    """Process ids and command lines of what executes one of these files (device, inode).

    The text of /proc/PID/exe says nothing certain.
    """
    found = []
    for pid in pids():
        with suppress(OSError):
            image = os.stat(f"/proc/{pid}/exe")
            if (image.st_dev, image.st_ino) in identities:
                found.append((pid, command_line(pid)))
    return found


def pids() -> Iterable[int]:
    """All processes that are seen from here."""
    try:
        import psutil
    except ImportError:  # in the single file, and where there is no wheel of it
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return psutil.pids()


def command_line(pid: int) -> list[str]:
    """The words that a process was started with; raises OSError when it is gone."""
    try:
        import psutil
    except ImportError:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return os.fsdecode(file.read(_COMMAND_LINE_BYTES)).rstrip("\0").split("\0")
    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error as error:
        raise ProcessLookupError(str(error)) from error
