"""The process that has exercises run: it isolates itself, starts them, and tells what they said.

It forks once more: the child is the first process of a pid namespace, and all that exercises
start ends with it. That one runs a few at a time, each with a limit of its own, so one that hangs
fails alone. What failed is tried again by itself, as a busy machine may have been too slow.
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import signal
import time
from contextlib import suppress

from binfmt_setup.system import syscalls
from binfmt_setup.system.pipes import read_to_end, say
from binfmt_setup.system.probes import isolation
from binfmt_setup.system.probes.started import SIGNALS
from binfmt_setup.workout import sandbox
from binfmt_setup.workout.exercises import (
    HANG,
    PIE,
    SET_USER_ID,
    SPEEDS,
    TIMES,
    USUAL,
    exercises_of,
)
from binfmt_setup.workout.programs import demand_space

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn


SECONDS = 10.0
"""What one exercise may take; most take milliseconds."""
LIST = "--list"
"""What a program is asked for first: the names of its exercises."""
_AT_ONCE = 4
_SLICE = 20.0  # milliseconds
_MOMENT = 1.0  # from a process's last word to its end
_OUTPUT_LIMIT = 4096
_READS = 32  # at once: more than a pipe holds


class Job:
    """What to run: programs by name, all their exercises or some, and whether to measure."""

    def __init__(
        self, root: str, programs: Sequence[str], only: frozenset[str], *, measure: bool
    ) -> None:
        self.root = root
        self.programs = tuple(programs)
        self.only = only
        self.measure = measure

    def exercises(self, program: str) -> list[str]:
        """The exercises of a program that are wanted."""
        return [e for e in exercises_of(program) if not self.only or e in self.only]


def count(job: Job) -> int:
    """How many exercises there are to run, for who shows progress."""
    each = len(SPEEDS) if job.measure else 0
    return sum(len(job.exercises(program)) + each for program in job.programs)


def perform(job: Job, writer: int) -> NoReturn:
    """Be the stage; it leaves with os._exit whatever happens."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        syscalls.end_with_parent(signal.SIGKILL)
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        as_root = os.geteuid() == 0 and isolation.knows_nobody()
        words = sandbox.leave_the_host(as_root=as_root)
        child = os.fork()
        if child == 0:
            _inside(job, writer, proc, words, as_root=as_root and "user" not in words)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
        os.waitpid(child, 0)  # when it is gone, all is gone that it started
    except isolation.CannotIsolate as error:
        _tell(writer, error.error.errno or errno.EPERM)
    except OSError as error:
        _tell(writer, error.errno or errno.EIO)
    finally:
        os._exit(0)


def _inside(job: Job, writer: int, proc: int, words: list[str], *, as_root: bool) -> NoReturn:
    """Be the first process in there."""
    try:
        syscalls.end_with_parent(signal.SIGKILL)
        sandbox.furnish(job.root, job.programs)
        gained = _with_set_user_id(job, proc, as_root=as_root)
        had = sandbox.enter(job.root, become_nobody=as_root, proc=proc)
        syscalls.end_with_parent(signal.SIGKILL)  # becoming nobody forgets it
        _tell(writer, (*words, *had))
        _Runner(job, writer, gained).run()
    except OSError as error:
        _tell(writer, error.errno or errno.EIO)
    finally:
        os._exit(0)


def _with_set_user_id(job: Job, proc: int, *, as_root: bool) -> list[list[str]]:
    """The answers of the one exercise that needs a process which can still gain rights."""
    asked = [program for program in job.programs if SET_USER_ID in job.exercises(program)]
    return [[SET_USER_ID, *_gaining(job.root, name, proc, as_root=as_root)] for name in asked]


def _gaining(root: str, program: str, proc: int, *, as_root: bool) -> tuple[str, str]:
    """What the copy that belongs to another user says; it is kept as all others are."""
    reader, output = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            sandbox.enter(root, become_nobody=as_root, proc=proc, for_good=False)
            os.dup2(output, 1)
            for path in (f"/other/{program}", f"/{program}"):  # the second says: no other user
                with suppress(OSError):
                    os.execve(path, [path, SET_USER_ID, "/scratch"], {})
        finally:
            os._exit(127)
    os.close(output)
    try:
        text = read_to_end(reader, SECONDS)
    except TimeoutError:
        return answer_of(SET_USER_ID, "", None)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    return answer_of(SET_USER_ID, text.decode("utf-8", "replace"), status)


def _tell(writer: int, answer: list[str] | tuple[str, ...] | int | None) -> None:
    """Write one of several answers."""
    say(writer, marshal.dumps(answer))


class _Running:
    """An exercise that was started."""

    def __init__(self, task: Task, pid: int, output: int, scratch: str) -> None:
        self.task = task
        self.pid = pid
        self.output = output
        self.scratch = scratch
        self.text = b""
        self.is_heard = False
        self.until = time.monotonic() + SECONDS


class Task:
    """An exercise of a program, and the answers that came so far."""

    def __init__(self, program: str, exercise: str) -> None:
        self.program = program
        self.exercise = exercise
        self.is_sure = False
        self._came: dict[str, int] = {}

    def hear(self, answer: str) -> None:
        """Count an answer; it is sure when it came often enough."""
        if answer == "ok":
            self._came.pop(HANG, None)  # what is repeated may be too slow now and then
        self._came[answer] = self._came.get(answer, 0) + 1
        self.is_sure = self._came[answer] >= TIMES.get(self.exercise, USUAL).get(answer, 1)


class _Runner:
    """Runs tasks, a few at a time; what failed again by itself; what measures by itself, last."""

    def __init__(self, job: Job, writer: int, gained: list[list[str]]) -> None:
        self._job = job
        self._writer = writer
        self._gained = gained
        self._running: dict[int, _Running] = {}
        self._poll = select.poll()
        self._number = 0

    def run(self) -> None:
        """Run all, and tell of each what became of it."""
        started = [program for program in self._job.programs if self._starts(program)]
        tasks = [Task(p, e) for p in started for e in self._job.exercises(p) if e != SET_USER_ID]
        for answer in self._gained if started else ():
            _tell(self._writer, answer)
        failed: list[Task] = []
        self._all(tasks, min(_AT_ONCE, len(os.sched_getaffinity(0))), failed)
        while failed:
            again, failed = failed, []
            self._all(again, 1, failed)
        if started and self._job.measure:
            speeds = [Task(p, f"speed-{s}") for p in started for s in SPEEDS]
            self._all(speeds, 1, [])
        _tell(self._writer, None)

    def _starts(self, program: str) -> bool:
        """Whether a program gets as far as to name its exercises.

        Where it does not, each of them would take all of its time to say nothing: all have failed.
        """
        self._start(Task(program, LIST))
        while not (ended := self._ended()):
            pass
        _, answer, detail = ended[0]
        if answer != "ok":
            for exercise in self._job.exercises(program):
                _tell(self._writer, [exercise, answer, f"the program does not start: {detail}"])
        return answer == "ok"

    def _all(self, tasks: Sequence[Task], at_once: int, failed: list[Task]) -> None:
        waiting = list(reversed(tasks))
        while waiting or self._running:
            while waiting and len(self._running) < at_once:
                self._start(waiting.pop())
            for task, answer, detail in self._ended():
                if answer == "fail":
                    demand_space("/scratch")
                if task.is_sure:
                    _tell(self._writer, [task.exercise, answer, detail])
                elif answer == "ok":
                    waiting.append(task)
                else:
                    failed.append(task)
                    _tell(self._writer, [])  # a word of life: what hangs takes long

    def _start(self, task: Task) -> None:
        self._number += 1
        scratch = f"/scratch/{self._number}"
        os.mkdir(scratch, 0o700)
        output, write_out = os.pipe()
        path = f"/{task.program}-pie" if task.exercise in PIE else f"/{task.program}"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, path, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, write_out, 1),
            (os.POSIX_SPAWN_DUP2, write_out, 2),
        ]
        try:
            pid = os.posix_spawn(
                path, [path, task.exercise, scratch], {}, file_actions=actions, setpgroup=0,
                setsigdef=SIGNALS,
            )  # fmt: skip
        except OSError as error:
            os.close(output)
            raise _NotStarted(task, error) from error
        finally:
            os.close(write_out)
        self._running[output] = _Running(task, pid, output, scratch)
        self._poll.register(output, select.POLLIN)

    def _ended(self) -> list[tuple[Task, str, str]]:
        """Those that came to their end, with their answers; it waits a moment for some."""
        ending = any(each.is_heard for each in self._running.values())
        for output, _ in self._poll.poll(_MOMENT if ending else _SLICE):
            self._hear(self._running[output])
        gone = self._reaped()
        found = []
        for each in list(self._running.values()):
            late = time.monotonic() > each.until
            if each.pid in gone or late:
                if each.pid in gone:
                    self._hear(each)
                found.append((each.task, *self._over(each, gone.get(each.pid))))
        return found

    def _hear(self, each: _Running) -> None:
        poll = select.poll()
        poll.register(each.output, select.POLLIN)
        for _ in range(_READS):  # one may never be silent
            if not poll.poll(0):
                return
            chunk = os.read(each.output, _OUTPUT_LIMIT)
            each.text = (each.text + chunk)[-_OUTPUT_LIMIT:]
            if not chunk:
                each.is_heard = True
                with suppress(KeyError):
                    self._poll.unregister(each.output)
                return

    def _reaped(self) -> dict[int, int]:
        """The status of each process that has ended; orphans are ours to reap as well."""
        gone: dict[int, int] = {}
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    break
                gone[pid] = status
        return gone

    def _over(self, each: _Running, status: int | None) -> tuple[str, str]:
        """What became of one that has ended, or whose time is over; nothing of it stays."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(each.pid, signal.SIGKILL)
        if status is None:
            os.waitpid(each.pid, 0)
        with suppress(KeyError):
            self._poll.unregister(each.output)
        os.close(each.output)
        del self._running[each.output]
        _remove(each.scratch)
        text = each.text.decode("utf-8", "replace")
        answer, detail = answer_of(each.task.exercise, text, status)
        each.task.hear(HANG if status is None and answer == "fail" else answer)
        return answer, detail


class _NotStarted(OSError):
    """The kernel does not start the program: nothing that follows would be started either."""

    def __init__(self, task: Task, error: OSError) -> None:
        super().__init__(error.errno, f"{task.program}: {error.strerror}")


def answer_of(exercise: str, text: str, status: int | None) -> tuple[str, str]:
    """What an exercise said, or how it ended without a word."""
    if exercise == LIST and status == 0:
        return "ok", ""
    for line in reversed(text.splitlines()):
        name, _, rest = line.partition(" ")
        answer, _, detail = rest.partition(" ")
        if name == exercise and answer in ("ok", "fail", "unsupported"):
            return answer, detail.strip()
    if status is None:
        return "fail", f"no end within {SECONDS:g} s"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        named = number in set(signal.Signals)
        return "fail", f"killed by {signal.Signals(number).name if named else f'signal {number}'}"
    last = text.strip().splitlines()[-1:] or ["nothing was printed"]
    return "fail", f"exit status {os.WEXITSTATUS(status)}: {last[0][:200]}"


def _remove(folder: str) -> None:
    """Remove a scratch folder and what an exercise left in it."""
    for where, folders, files in os.walk(folder, topdown=False):
        for name in files:
            with suppress(OSError):
                os.unlink(os.path.join(where, name))
        for name in folders:
            with suppress(OSError):
                path = os.path.join(where, name)
                os.unlink(path) if os.path.islink(path) else os.rmdir(path)
    with suppress(OSError):
        os.rmdir(folder)
