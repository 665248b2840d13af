"""How programs of the host are run: with a clean environment, a time limit, and no heirs.

The half of the door in `host` that starts things.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from binfmt_setup.model.errors import BinfmtSetupError, OtherProgramFailed, TookTooLong
from binfmt_setup.model.records import Record
from binfmt_setup.model.shell import typed
from binfmt_setup.system import syscalls
from binfmt_setup.system.descendants import children_of, end_children
from binfmt_setup.system.limits import EXHAUSTED, exhausted
from binfmt_setup.system.pipes import end_of, readable
from binfmt_setup.system.signals import signal

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    import subprocess

    from typing_extensions import Self


SAFE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# With the last one debconf and needrestart ask nothing.
_WORDS = {"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
CLEAN_ENVIRONMENT: Mapping[str, str] = _WORDS
"""What a privileged child gets to see; nothing of the caller's environment leaks in."""
_GRACE = 2.0  # seconds that a program gets to end by itself
_LAST_WORDS = 0.2  # seconds in which to read what an ended program had said
_SLICE = 0.02  # seconds between two looks at whether it has ended, where nothing tells
_PAUSE = 0.01
_TOLD = 4096  # characters of what a program had said that are told when it was ended
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
    EnvironmentUnfit when nothing more can be started, TookTooLong when it overruns its time;
    everything it had started is ended with it, daemons too.
    """
    import subprocess  # with all that it imports, a tenth of a start: probes do without

    stream = sys.stderr if shown else subprocess.PIPE
    with _Heirs() as heirs:
        try:
            child = subprocess.Popen(
                list(argv), env=dict(CLEAN_ENVIRONMENT), stdin=subprocess.DEVNULL,
                stdout=stream, stderr=stream,
            )  # fmt: skip
        except OSError as error:
            raise _not_started(argv, error) from error
        ears = _Ears(child)
        try:
            in_time = ears.listen(seconds)
        except BaseException:
            heirs.end(child)
            raise
        if not in_time:
            heirs.end(child)
            ears.listen(_LAST_WORDS)
        ears.close()
    if in_time:
        return Completed(child.returncode, *ears.words())
    said = "".join(ears.words())[-_TOLD:].strip()
    raise TookTooLong(
        f"`{typed(argv)}` took more than {seconds:g} s and was ended"
        + (f"; it had said:\n{said}" if said else " without a word")
    )


def _not_started(argv: Sequence[str], error: OSError) -> BinfmtSetupError:
    what = f"cannot run `{typed(argv)}`"
    if error.errno in EXHAUSTED:
        return exhausted(error, what)
    return OtherProgramFailed(f"{what}: {error.strerror}")


class _Ears:
    """What a program prints, taken as it comes; of an endless flood only the start is kept."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self._streams = [stream for stream in (child.stdout, child.stderr) if stream]
        self._kept = {stream.fileno(): bytearray() for stream in self._streams}
        self._open = set(self._kept)
        self._end = end_of(child.pid)

    def listen(self, seconds: float) -> bool:
        """Read until the program has ended; False when the time is over before.

        What it has started may hold its output open for ever: that is not waited for.
        """
        poll = select.poll()
        for descriptor in (*self._open, *([self._end] if self._end >= 0 else [])):
            poll.register(descriptor, select.POLLIN)
        end, slice_ = time.monotonic() + seconds, seconds if self._end >= 0 else _SLICE
        while (left := end - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(min(left, slice_) * 1000):
                if descriptor != self._end and not self._heard(descriptor):
                    poll.unregister(descriptor)
            if self._child.poll() is not None:
                self._hear_the_rest()
                return True
        return False

    def _hear_the_rest(self) -> None:
        """Take what an ended program left in its pipes, and not what its heirs may yet say."""
        for descriptor in tuple(self._open):
            while len(self._kept[descriptor]) < _KEPT and readable(descriptor, 0):
                if not self._heard(descriptor):
                    break

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

    def close(self) -> None:
        """Listen no more."""
        for stream in self._streams:
            stream.close()
        if self._end >= 0:
            os.close(self._end)


class _Heirs:
    """What a program starts: it becomes this process's own when the program leaves it behind."""

    def __init__(self) -> None:
        self._proc = -1
        self._others: frozenset[int] = frozenset()

    def __enter__(self) -> Self:
        with suppress(OSError):
            self._proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._others = frozenset(children_of(self._proc, os.getpid()))
            syscalls.become_subreaper()
        return self

    def __exit__(self, *_: object) -> None:
        if self._proc >= 0:
            os.close(self._proc)
            with suppress(OSError):
                syscalls.become_subreaper(wanted=False)

    def end(self, child: subprocess.Popen[bytes]) -> None:
        """End a program with everything it started.

        SIGTERM first and to the program alone, which may want to clean up; whatever is still
        there after that is killed. What the kernel does not let go is left behind.
        """
        with suppress(OSError):  # a set-user-ID program may not be ours to end
            child.terminate()
            child.send_signal(signal.SIGCONT)  # one that was stopped cannot do anything
            end = time.monotonic() + _GRACE
            while child.poll() is None and time.monotonic() < end:
                time.sleep(_PAUSE)
        if self._proc >= 0:
            end_children(self._proc, os.getpid(), _GRACE, self._others)
        with suppress(OSError):
            child.kill()
        child.poll()
