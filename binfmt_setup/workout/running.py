"""Having exercises run: the stage is forked, and its answers are heard as they come."""

from __future__ import annotations

import errno
import marshal
import os
import time

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.system.pipes import LENGTH_BYTES, readable
from binfmt_setup.system.probes.running import end, forked
from binfmt_setup.workout import programs as laid
from binfmt_setup.workout.results import ANSWERS, Done, Session

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from binfmt_setup.workout.stage import Job


_SILENCE = 300.0  # seconds without a word after which the stage is given up: it tries thrice
_REFUSED = {
    errno.EPERM: "neither root nor user namespaces are to be had",
    errno.ENOSPC: "no more namespaces are allowed",
    errno.ENOEXEC: "nothing on this host runs the program",
    errno.ENOENT: "the interpreter is not to be found in another root directory: flag F is missing",
}
_ISOLATED = _REFUSED | {errno.ENOSPC: "the file system of its scratch folder became full"}


def run_workouts(
    programs: Sequence[str],
    *,
    environment: Mapping[str, str],
    only: frozenset[str] = frozenset(),
    measure: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Session]:
    """What these programs can do, by name.

    Where they cannot be isolated, or started, their sessions say `not_run`. Raises
    EnvironmentUnfit where there is no place for them.
    """
    known = [name for name in dict.fromkeys(programs) if laid.available(name)]
    missing = {
        name: Session(name, not_run="the package has no workout for it")
        for name in programs
        if name not in known
    }
    found = {}
    for name in known:  # one after the other: a program that does not start stops no other
        with laid.laid_out([name], environment) as root:
            from binfmt_setup.workout import stage

            job = stage.Job(root, [name], only, measure=measure)
            try:
                found[name] = _session(name, job, progress)
            except EnvironmentUnfit as error:
                found[name] = Session(name, not_run=error.message)
    return missing | found


def _session(name: str, job: Job, progress: Callable[[str], None]) -> Session:
    """Run one program's exercises in a stage, and hear what becomes of them."""
    from binfmt_setup.workout import stage

    done: list[Done] = []
    isolation: tuple[str, ...] = ()
    number = stage.count(job)
    for said in _answers(job):
        if isinstance(said, int):
            why = (_ISOLATED if isolation else _REFUSED).get(said, os.strerror(said))
            return Session(name, not_run=why, isolation=isolation)
        if isinstance(said, tuple):
            isolation = said
            continue
        if not said:  # a word of life
            continue
        exercise, answer, detail = said
        done.append(Done(exercise, ANSWERS[answer], detail))
        progress(f"{name}: {len(done)} of {number} exercises, {exercise}")
    order = {exercise: place for place, exercise in enumerate(job.exercises(name))}
    done.sort(key=lambda each: order.get(each.exercise, len(order)))
    return Session(name, tuple(done), isolation=isolation)


def _answers(job: Job) -> Iterator[list[str] | tuple[str, ...] | int]:
    """What the stage says: a list for each exercise, how it is kept, or the errno that ended it."""
    from binfmt_setup.workout import stage

    process, reader = forked(lambda writer: stage.perform(job, writer))
    try:
        while True:
            size = int.from_bytes(_heard(reader, LENGTH_BYTES), "little")
            said = marshal.loads(_heard(reader, size))  # noqa: S302 - a fork of this process
            if said is None:
                return
            yield said
    finally:
        end(process, reader, asked=True)


def _heard(reader: int, size: int) -> bytes:
    """So many bytes; raises EnvironmentUnfit when they do not come."""
    said, end = b"", time.monotonic() + _SILENCE
    while len(said) < size and readable(reader, end - time.monotonic()):
        chunk = os.read(reader, size - len(said))
        if not chunk:
            break
        said += chunk
    if len(said) < size or not size:
        raise EnvironmentUnfit(
            "the process that runs the workout died", hint="was it killed for lack of memory?"
        )
    return said
