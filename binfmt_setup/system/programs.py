"""How programs of the host are run: with a clean environment, a time limit, and no heirs.

The half of the door in `host` that starts things.
"""

from __future__ import annotations

import os
import select
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import OtherProgramFailed, TookTooLong
from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    import subprocess

SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# With the last one debconf and needrestart ask nothing.
_WORDS = {"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
CLEAN_ENVIRONMENT: Mapping[str, str] = _WORDS
"""What a privileged child gets to see; nothing of the caller's environment leaks in."""
_GRACE = 2.0  # seconds that a program gets to end by itself
_CHUNK = 65536  # bytes
_KEPT = 16 * 1024 * 1024  # bytes of what a program prints on each stream; the rest is dropped


class Completed(Record):
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
            stdout=stream, stderr=stream,
        )  # fmt: skip
    except OSError as error:
        raise OtherProgramFailed(f"cannot run `{shlex.join(argv)}`: {error.strerror}") from error
    with child:
        ears, end = _Ears(child), time.monotonic() + seconds
        try:
            ears.listen(seconds)
            child.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            _end_tree(child)
            ears.listen(_GRACE)
            said = "".join(ears.words()).strip()
            raise TookTooLong(
                f"`{shlex.join(argv)}` took more than {seconds:g} s and was ended"
                + (f"; it had said:\n{said}" if said else " without a word")
            ) from None
        except BaseException:
            _end_tree(child)
            raise
    return Completed(child.returncode, *ears.words())


class _Ears:
    """What a program prints, taken as it comes; of an endless flood only the start is kept."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        streams = [stream.fileno() for stream in (child.stdout, child.stderr) if stream]
        self._kept = {descriptor: bytearray() for descriptor in streams}
        self._open = set(streams)

    def listen(self, seconds: float) -> None:
        """Read until everything is closed, or the time is over."""
        poll = select.poll()
        for descriptor in self._open:
            poll.register(descriptor, select.POLLIN)
        end = time.monotonic() + seconds
        while self._open:
            left = end - time.monotonic()
            if left <= 0:
                return
            for descriptor, _ in poll.poll(left * 1000):
                if not self._heard(descriptor):
                    poll.unregister(descriptor)

    def _heard(self, descriptor: int) -> bool:
        chunk = os.read(descriptor, _CHUNK)
        kept = self._kept[descriptor]
        kept += chunk[: _KEPT - len(kept)]
        if not chunk:
            self._open.discard(descriptor)
        return bool(chunk)

    def words(self) -> tuple[str, str]:
        """What standard output and standard error have got so far."""
        texts = [bytes(kept).decode("utf-8", "replace") for kept in self._kept.values()]
        output, errors = [*texts, "", ""][:2]
        return output, errors


def _end_tree(child: subprocess.Popen[bytes]) -> None:
    """End a program with everything it started.

    SIGTERM first and to the program alone, which may want to clean up; whatever is still
    there after that is killed.
    """
    import psutil

    with suppress(psutil.Error):
        family = [psutil.Process(child.pid), *psutil.Process(child.pid).children(recursive=True)]
        child.terminate()
        _, stubborn = psutil.wait_procs(family, timeout=_GRACE)
        for process in stubborn:
            with suppress(psutil.Error):
                process.kill()  # psutil makes sure that it is still the same process
