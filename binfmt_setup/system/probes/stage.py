"""The stage: the process that isolates itself, runs probes, and tells what became of them.

It stands outside of the pid namespace that its children are born in, so none of them can reach
it, and it ends the whole namespace with the one process that is its init.
"""

from __future__ import annotations

import errno
import marshal
import os
import resource
import select
import time
from contextlib import suppress

from binfmt_setup.model.records import replace
from binfmt_setup.system import syscalls
from binfmt_setup.system.descendants import end_children
from binfmt_setup.system.limits import EXHAUSTED
from binfmt_setup.system.pipes import say
from binfmt_setup.system.probes import isolation
from binfmt_setup.system.probes.result import ProbeResult, parse_output
from binfmt_setup.system.probes.started import (
    OUTPUT_LIMIT,
    Started,
    ended,
    program_at,
    read_small,
    rest,
    start,
)
from binfmt_setup.system.signals import signal

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import FrameType
    from typing import NoReturn

    from binfmt_setup.system.probes.job import Job

_LAST = 2.0  # seconds for processes that were killed to be gone
_MOMENT = 0.05  # seconds for the kernel to finish a start that it has begun
_SLICE = 5.0  # milliseconds between two looks, where the kernel cannot wake us for an end
_MIB = 1 << 20
_NEEDS_WIDE, _NEEDS_NARROW = 300 * _MIB, 4500 * _MIB
"""Addresses that QEMU takes for a 64-bit and for a 32-bit guest, whose 4 GiB it reserves."""
_ELFCLASS32 = 1
_SCARCE_CPU_SECONDS = 1
_LETTERS = ((resource.RLIMIT_AS, "v"), (resource.RLIMIT_DATA, "d"))
"""Limits that QEMU meets, with the letter that bash's ulimit has for each."""


def perform(job: Job, writer: int) -> NoReturn:
    """Be the stage: isolate, run everything, report, and end at once.

    It leaves with os._exit whatever happens, so that nothing of the parent's (buffers,
    context managers, exit handlers) runs a second time. It answers before it ends what is left
    in its namespace; the pipe is closed when that is done.
    """
    stage = None
    answer = marshal.dumps({"failed": errno.EIO})
    try:
        os.setpgid(0, 0)
        _forget_signals()
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _keep_only({writer, proc, *job.emulators.values(), *job.copies.values()})
        stage = _Stage(job, proc)
        words = isolation.isolate(job.root, job.names, stage.found)
        results = stage.run()
        isolated = (*words, *stage.bound)
        results = [replace(result, isolation=isolated) for result in results]
        rows = [vars(result) for result in results]
        answer = marshal.dumps({"rows": rows, "recognised": stage.recognised})
    except isolation.CannotIsolate as error:
        answer = marshal.dumps({"refused": error.error.errno or errno.EPERM})
    except OSError as error:
        answer = marshal.dumps({"failed": error.errno or errno.EIO})
    finally:
        with suppress(BaseException):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent's, who waits no longer
            say(writer, answer)
        with suppress(BaseException):
            if stage is not None:
                stage.end_everything()
        os._exit(0)


def _forget_signals() -> None:
    """Have none of the caller's handlers; SIGTERM unwinds, so that what was started ends."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, _leave)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _keep_only(kept: Collection[int]) -> None:
    """Close every other descriptor, the caller's own ones too; nothing is on the first three."""
    with suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):
                os.close(int(name))


class _Stage:
    """The probes that run, and how they are started, heard, and brought to their end."""

    def __init__(self, job: Job, proc: int) -> None:
        self._job = job
        self._proc = proc
        self._running: list[Started] = []
        self._given: dict[int, int] = {}
        self._seconds = isolation.CPU_SECONDS
        self._words: list[str] = []
        self._init = -1
        self._bounded = -1
        self._poll = select.poll()
        self.recognised: list[str] = []
        self.bound: tuple[str, ...] = ()

    def run(self) -> list[ProbeResult]:
        """Start every probe, serve their pipes in one loop, and collect what became of them."""
        syscalls.end_with_parent(signal.SIGTERM)
        self._limit()
        if "pid" not in self._words:
            syscalls.become_subreaper()
        elif self._init < 0:
            self._found_namespace()
        self.bound = self._bound_of_namespace()  # before anything can make use of its absence
        results = [result for name in self._job.names if (result := self._started(name))]
        results += self._served()
        return results + [self._over(probe) for probe in tuple(self._running)]

    def _limit(self) -> None:
        """Limit what is used; less, and for less long, where the caller has limits of its own."""
        self._given = {which: resource.getrlimit(which)[0] for which, _ in _LETTERS}
        scarce = 0 < self._given[resource.RLIMIT_AS] < _NEEDS_NARROW
        # QEMU without enough addresses may look for them, place by place, for minutes.
        self._seconds = _SCARCE_CPU_SECONDS if scarce else isolation.CPU_SECONDS
        isolation.limit(self._seconds)
        most = isolation.most_tasks(self._proc, len(self._job.names))
        isolation.lower(resource.RLIMIT_NPROC, most)

    def found(self, words: list[str]) -> None:
        """While there are rights: limit the pid namespace where no limit of a process binds.

        Root of a user namespace may be the host's. Elsewhere this process has another user by then,
        and its children, too.
        """
        self._words = words
        if {"pid", "user"} <= set(words):
            self._bounded, tell = os.pipe()
            self._found_namespace(tell)
            os.close(tell)

    def _found_namespace(self, tell: int = -1) -> None:
        """Fork the first process of the pid namespace: with it everything in there ends.

        It does nothing but wait; the kernel reaps what is left to it. Only who is in there can
        limit the namespace, and tells whether it did.
        """
        watch, held = os.pipe()
        self._init = os.fork()
        if self._init == 0:
            try:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGCHLD, signal.SIG_IGN)
                os.close(held)
                if tell >= 0:
                    os.write(tell, b"1" if isolation.limit_pids(self._proc) else b"0")
                    os.close(tell)
                    syscalls.drop_capabilities()
                os.read(watch, 1)  # the stage's end closes the pipe, whatever way it ends
            finally:
                os._exit(0)
        os.close(watch)

    def _bound_of_namespace(self) -> tuple[str, ...]:
        """Whether the namespace has a limit of its own, in a word."""
        return ("tasks",) if self._bounded >= 0 and os.read(self._bounded, 1) == b"1" else ()

    def _started(self, name: str) -> ProbeResult | None:
        """Start one probe; a result if that failed."""
        try:
            probe = start(name, self._job)
        except OSError as error:
            if error.errno in EXHAUSTED - {errno.ENOMEM}:
                raise
            return ProbeResult(name, errno=error.errno or errno.EIO, fields={})
        known = self._job.known.get(name)
        if known is None or not self._recognised(probe, known):
            self._running.append(probe)
            for descriptor in (probe.output, probe.end):
                if descriptor >= 0:
                    self._poll.register(descriptor, select.POLLIN)
        return None

    def _recognised(self, probe: Started, known: tuple[int, int]) -> bool:
        """Whether this emulator executes a probe, which is ended then, before it has done a thing.

        The kernel lets a parent go on before the child has its new image (fs/exec.c,
        exec_mmap): until then the child is a second one of this process. What has not changed
        after a moment runs to its end like everything else.
        """
        mine, exe = program_at("self/exe", self._proc), f"{probe.pid}/exe"
        end = time.monotonic() + _MOMENT
        while (program := program_at(exe, self._proc)) == mine and time.monotonic() < end:
            os.sched_yield()
        if program != known:
            return False
        os.kill(probe.pid, signal.SIGKILL)
        os.waitpid(probe.pid, 0)
        probe.close()
        self.recognised.append(probe.probe)
        return True

    def _forget(self, probe: Started) -> None:
        self._running.remove(probe)
        for descriptor in (probe.output, probe.end):
            with suppress(KeyError):
                self._poll.unregister(descriptor)
        probe.close()

    def _served(self) -> Iterator[ProbeResult]:
        """Those that end in time, as they do."""
        deadline = time.monotonic() + self._job.seconds
        while self._running and (left := deadline - time.monotonic()) > 0:
            blind = any(probe.end < 0 for probe in self._running)
            wait = min(left * 1000, _SLICE) if blind else left * 1000
            ready = {descriptor for descriptor, _ in self._poll.poll(wait)}
            for probe in tuple(self._running):
                if probe.output in ready:
                    self._hear(probe)
                if probe.end in ready or probe.end < 0:
                    status = ended(probe.pid)
                    if status is not None:
                        yield self._finished(probe, status)

    def _hear(self, probe: Started) -> None:
        """Take what a probe printed; what is too much is left to wait in the pipe.

        A probe that has printed its line waits on standard input, so that one can still see
        which program is really executing it. When posix_spawn returns is too early for that: the
        kernel lets the parent go on before the child has its new image (fs/exec.c, exec_mmap).
        """
        chunk = os.read(probe.output, OUTPUT_LIMIT)
        probe.text += chunk
        probe.closed = not chunk
        if not chunk or len(probe.text) >= OUTPUT_LIMIT:
            self._poll.unregister(probe.output)
        if b"\n" in probe.text and probe.release >= 0:
            probe.program = program_at(f"{probe.pid}/exe", self._proc)
            probe.let_go()

    def _over(self, probe: Started) -> ProbeResult:
        """One whose time is over: what it was doing, and that it was killed."""
        hung = self._doing(probe) or "nobody knows why"
        with suppress(ProcessLookupError):
            os.kill(probe.pid, signal.SIGKILL)
        return self._finished(probe, os.waitpid(probe.pid, 0)[1], hung=hung)

    def _doing(self, probe: Started) -> str:
        """What a probe's process is doing, in words; its state letter is that of proc(5)."""
        with suppress(OSError, IndexError):
            text = read_small(f"{probe.pid}/stat", self._proc)
            name, _, rest = text.partition("(")[2].rpartition(")")
            letter = rest.split()[0]
            states = {"R": "computing", "S": "asleep", "D": "waiting for a device", "T": "stopped"}
            printed = "after it had printed something" if probe.text else "without a word"
            closed = ", its output closed" if probe.closed else ""
            return f"{name} is {states.get(letter, letter)}, {printed}{closed}"
        return ""

    def _finished(self, probe: Started, status: int, *, hung: str = "") -> ProbeResult:
        """What became of a probe that has ended."""
        probe.text += rest(probe)
        self._forget(probe)
        text = probe.text[:OUTPUT_LIMIT].decode("utf-8", "replace")
        itself = self._job.copies.get(probe.probe, f"/{probe.probe}")
        native = probe.program is not None and probe.program == program_at(itself)
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        if number == signal.SIGXCPU:
            hung = f"it computed for {self._seconds} s"
        result = ProbeResult(
            probe.probe,
            exit_status=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=number,
            timed_out=bool(hung),
            output=text,
            native=native,
            pinned=None if native else probe.program,
            fields=parse_output(text),
            hung=hung,
        )
        return result if result.fields else replace(result, limit=self._too_low(probe.probe))

    def _too_low(self, probe: str) -> str:
        """The limit of the caller that leaves an emulator too little for this probe, in words."""
        with suppress(OSError):
            with open(f"/{probe}", "rb", buffering=0) as file:
                narrow = file.read(5)[4] == _ELFCLASS32
            needs = _NEEDS_NARROW if narrow else _NEEDS_WIDE
            for which, letter in _LETTERS:
                most = _NEEDS_WIDE if which == resource.RLIMIT_DATA else needs
                if 0 < self._given[which] < most:
                    return (
                        f"the caller's own limit is {self._given[which] // _MIB} MiB "
                        f"(ulimit -{letter}), and QEMU needs {most // _MIB} MiB for it"
                    )
        return ""

    def end_everything(self) -> None:
        """End all that was started, and what that has started; the probes are reaped first.

        The kernel lets an init go when everything else in its namespace has been reaped.
        """
        for probe in self._running:
            with suppress(ProcessLookupError, ChildProcessError):
                os.kill(probe.pid, signal.SIGKILL)
                os.waitpid(probe.pid, 0)
        if self._init > 0:
            os.kill(self._init, signal.SIGKILL)
            os.waitpid(self._init, 0)
        else:
            end_children(self._proc, os.getpid(), _LAST)
