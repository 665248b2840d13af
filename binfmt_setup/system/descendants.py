"""Ending processes with all that they have started, daemons too.

For a process that is the subreaper of its descendants: whatever they leave behind becomes its
child, so that killing children again and again reaches all of them.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress

from binfmt_setup.system.signals import signal

_PAUSE = 0.005  # seconds between two rounds


def end_children(
    proc: int, parent: int, seconds: float, spared: frozenset[int] = frozenset()
) -> bool:
    """Kill and reap the children of this process until none is left; whether that was reached.

    `proc` is /proc as a descriptor, `parent` this process's own id in it.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        children = [pid for pid in children_of(proc, parent) if pid not in spared]
        if not children:
            return True
        for pid in children:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_PAUSE)
    return False


def children_of(proc: int, parent: int) -> list[int]:
    """The children of a process, those that were left to it included."""
    names = (name for name in os.listdir(proc) if name.isdigit())
    return [int(name) for name in names if _parent(proc, name) == parent]


def _parent(proc: int, name: str) -> int:
    """Whose child a process is; 0 when it is gone. The name in proc(5)'s stat may hold spaces."""
    with suppress(OSError, ValueError, IndexError):
        descriptor = os.open(f"{name}/stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            return int(os.read(descriptor, 1024).rpartition(b")")[2].split()[1])
        finally:
            os.close(descriptor)
    return 0
