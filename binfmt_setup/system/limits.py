"""The limits of the process that asked: which of them is in the way, and how to raise it."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from binfmt_setup.model.errors import EnvironmentUnfit

EXHAUSTED = frozenset((errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""What fork(2), pipe(2) and their like fail with when something is used up."""
_CODE = "resources-exhausted"


def beneath_python(error: Exception) -> EnvironmentUnfit | None:
    """The typed error where it was not the tool that failed but what Python itself stands on.

    Modules are loaded when they are needed: at any moment one may not be readable any more.
    """
    if isinstance(error, MemoryError):
        error = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
    if isinstance(error, OSError) and error.errno in (*EXHAUSTED, errno.EIO):
        what = f"cannot read {error.filename}" if error.filename else "this command cannot go on"
        return exhausted(error, what)
    if isinstance(error, FileNotFoundError) and _directory_is_gone():
        return EnvironmentUnfit(
            "the current directory does not exist any more", hint="leave it: cd /",
            code="directory-gone",
        )  # fmt: skip
    if isinstance(error, ImportError) and str(error.path).endswith(".so"):
        return EnvironmentUnfit(f"cannot load a part of Python: {error}", code=_CODE)
    if isinstance(error, ImportError) and not str(error.name).startswith("binfmt_setup"):
        return EnvironmentUnfit(
            f"cannot load {error.name}, which this command needs: {error}",
            hint="install it, or binfmt-setup anew with all that it needs", code="library-missing",
        )  # fmt: skip
    return None


def _directory_is_gone() -> bool:
    """Whether a path that does not begin with a slash can mean anything."""
    try:
        os.getcwd()  # noqa: PTH109 - pathlib takes long to load
    except FileNotFoundError:
        return True
    return False


def exhausted(error: OSError, what: str) -> EnvironmentUnfit:
    """The typed error for a system call that got too little, naming the limit in the way."""
    number = error.errno or errno.EIO
    cause = hint = ""
    with suppress(OSError, ImportError):  # the module that knows the limits is one more to load
        cause, hint = _cause(number)
    return EnvironmentUnfit(
        f"{what}: {os.strerror(number)}" + (f"; {cause}" if cause else ""),
        hint=hint, code=_CODE,
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
