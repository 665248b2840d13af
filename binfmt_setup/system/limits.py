"""The limits of the process that asked: which of them is in the way, and how to raise it."""

from __future__ import annotations

import errno
import os

from binfmt_setup.model.errors import EnvironmentUnfit

EXHAUSTED = frozenset((errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""What fork(2), pipe(2) and their like fail with when something is used up."""


def exhausted(error: OSError, what: str) -> EnvironmentUnfit:
    """The typed error for a system call that got too little, naming the limit in the way."""
    number = error.errno or errno.EIO
    cause, hint = _cause(number)
    return EnvironmentUnfit(
        f"{what}: {os.strerror(number)}" + (f"; {cause}" if cause else ""),
        hint=hint, code="resources-exhausted",
    )  # fmt: skip


def _cause(number: int) -> tuple[str, str]:
    """What is used up, and what helps."""
    import resource

    if number == errno.EMFILE:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"this process may open {most} files (ulimit -n)", "raise it: ulimit -n 1024"
    if number == errno.ENFILE:
        return "this system has no more open files to give", "raise it: sysctl fs.file-max"
    if number == errno.EAGAIN:
        most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
        own = f"this user may have {most} processes (ulimit -u)" if most > 0 else ""
        return own or "no more processes may be started", (
            "raise it (ulimit -u, or pids.max of its control group), or run it when there are fewer"
        )
    if number == errno.ENOMEM:
        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most > 0:
            return f"this process may use {most >> 20} MiB (ulimit -v)", "run: ulimit -v unlimited"
        return "there is too little memory", "run it when there is more"
    return "", ""
