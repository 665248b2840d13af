"""How programs of the host are run: with a clean environment, a time limit, and no heirs.

The half of the door in `host` that starts things.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from binfmt_setup.errors import OtherProgramFailed, TookTooLong

if TYPE_CHECKING:
    import subprocess

SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# With the last one debconf and needrestart ask nothing.
_WORDS = {"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
CLEAN_ENVIRONMENT: Mapping[str, str] = _WORDS
"""What a privileged child gets to see; nothing of the caller's environment leaks in."""
_GRACE = 2.0  # seconds that a program gets to end by itself


@dataclass(frozen=True)
class Completed:
    """What a program left: its exit status and what it said."""

    status: int
    output: str
    errors: str = ""


Runner = Callable[[Sequence[str], float], Completed]
"""Runs a command, given with a time limit in seconds, and never raises for its status."""


def run_program(argv: Sequence[str], seconds: float, *, shown: bool = False) -> Completed:
    """Run a program of the host with a clean environment and no input.

    With `shown` it speaks on standard error. Raises OtherProgramFailed when it does not start,
    TookTooLong when it overruns its time; everything it had started is ended with it.
    """
    import subprocess  # with all that it imports, a tenth of a start: probes do without

    stream = sys.stderr if shown else subprocess.PIPE
    try:
        child = subprocess.Popen(
            list(argv), env=dict(CLEAN_ENVIRONMENT), stdin=subprocess.DEVNULL,
            stdout=stream, stderr=stream, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise OtherProgramFailed(f"cannot run `{shlex.join(argv)}`: {error.strerror}") from error
    with child:
        try:
            output, errors = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            said = _end_tree(child)
            raise TookTooLong(
                f"`{shlex.join(argv)}` took more than {seconds:g} s and was ended"
                + (f"; it had said:\n{said}" if said else " without a word")
            ) from None
        except BaseException:
            _end_tree(child)
            raise
    return Completed(child.returncode, output or "", errors or "")


def _end_tree(child: subprocess.Popen[str]) -> str:
    """End a program with everything it started, and return what it had printed.

    SIGTERM first and to the program alone, which may want to clean up; whatever is still
    there after that is killed.
    """
    import subprocess

    import psutil

    with suppress(psutil.Error):
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        child.terminate()
        _, stubborn = psutil.wait_procs(family, timeout=_GRACE)
        for process in stubborn:
            with suppress(psutil.Error):
                process.kill()  # psutil makes sure that it is still the same process
    with suppress(subprocess.TimeoutExpired):
        output, errors = child.communicate(timeout=_GRACE)
        return ((output or "") + (errors or "")).strip()
    return ""
