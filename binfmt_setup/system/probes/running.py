"""Having probes run: the stage is forked, and its answer is waited for, but not for ever."""

from __future__ import annotations

import errno
import marshal
import os
import time
from contextlib import ExitStack, contextmanager, suppress

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.records import NOTHING, replace
from binfmt_setup.system.pipes import LENGTH_BYTES, readable
from binfmt_setup.system.probes.job import PROBES, TIME_LIMIT, Job
from binfmt_setup.system.probes.result import ProbeResult, version_of
from binfmt_setup.system.signals import signal, undisturbed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import NoReturn


_EI_VERSION = 6  # elf(5)
GRACE = 5.0  # seconds that the stage gets to end what it started
_CHUNK = 65536  # bytes
_REFUSED = {
    errno.EPERM: "neither root nor a user namespace is to be had",
    errno.ENOSPC: "no more user namespaces are allowed",
}


def available(probe: str) -> bool:
    """Whether the package has a probe of this name."""
    return os.path.isfile(os.path.join(PROBES, probe))


def with_pinned_versions(
    results: Mapping[str, ProbeResult], asked: Sequence[str]
) -> dict[str, ProbeResult]:
    """Ask the interpreters that really run these probes for their version.

    QEMU user mode prints it and ends, instead of running the program, when QEMU_VERSION is
    set in its environment (linux-user/main.c).
    """
    said = run_probes(asked, environment={"QEMU_VERSION": "1"})
    versions = {name: version_of(result.output) for name, result in said.items()}
    return {
        name: replace(result, pinned_version=versions.get(name, ""))
        for name, result in results.items()
    }


def run_probes(
    probes: Sequence[str],
    *,
    root: str | os.PathLike[str] = PROBES,
    seconds: float = TIME_LIMIT,
    environment: Mapping[str, str] = NOTHING,
) -> dict[str, ProbeResult]:
    """Run these probes, all at once, with `root` as their root directory.

    Where they cannot be isolated the results say `not_run`. Raises EnvironmentUnfit when the
    stage process dies, or when this process may not have what it takes.
    """
    job = Job(tuple(probes), os.fspath(root), seconds, environment=environment)
    with _running(job) as results:
        return results()


def prove_candidates(
    candidates: Mapping[str, str], *, seconds: float = TIME_LIMIT
) -> dict[str, ProbeResult]:
    """Start emulators, at these paths, directly on the probes of these names.

    In the same isolation as probes, and found by nothing but a descriptor: for emulators that
    are not registered yet. One that may not be opened has the errno of that.
    """
    results, emulators = {}, {}
    with ExitStack() as opened:
        for probe, path in candidates.items():
            try:
                emulators[probe] = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
                opened.callback(os.close, emulators[probe])
            except OSError as error:
                results[probe] = ProbeResult(probe, errno=error.errno or 0, fields={})
        job = Job(tuple(emulators), seconds=seconds, emulators=emulators)
        with _running(job) as found:
            return results | found()


def prove_past_entries(
    probes: Sequence[str], *, seconds: float = TIME_LIMIT
) -> dict[str, ProbeResult]:
    """Run copies of probes that no usual entry takes: whether the kernel itself runs them.

    Entries for ELF programs want the one version that there is; no kernel's loader looks at it
    (fs/binfmt_elf.c). One that an entry takes all the same is not `native`. Raises OSError where
    nothing in memory may be executed.
    """
    with ExitStack() as opened:
        copies = {name: _copy_in_memory(name, opened) for name in probes if available(name)}
        with _running(Job(tuple(copies), seconds=seconds, copies=copies)) as found:
            return found()


def _copy_in_memory(probe: str, opened: ExitStack) -> int:
    """A probe with another ELF version, open for reading alone: else it would be busy."""
    with open(os.path.join(PROBES, probe), "rb") as file:
        content = bytearray(file.read())
    content[_EI_VERSION] ^= 0x80
    written = os.memfd_create(probe, os.MFD_CLOEXEC)
    try:
        os.write(written, content)
        copy = os.open(f"/proc/self/fd/{written}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(written)
    opened.callback(os.close, copy)
    return copy


def running_probes(
    probes: Sequence[str],
    *,
    seconds: float = TIME_LIMIT,
    known: Mapping[str, ProbeResult] = NOTHING,
) -> AbstractContextManager[Callable[[], dict[str, ProbeResult]]]:
    """Run probes as `run_probes` does, beside what the block does in the meantime.

    Gives the function that waits for their results, to be called once. Where the kernel starts
    the very file that a `known` result is of, that result stands.
    """
    files = {name: result.pinned for name, result in known.items() if result.pinned}
    return _running(Job(tuple(probes), seconds=seconds, known=files), known)


@contextmanager
def _running(
    job: Job, known: Mapping[str, ProbeResult] = NOTHING
) -> Iterator[Callable[[], dict[str, ProbeResult]]]:
    there = (p for p in dict.fromkeys(job.names) if os.path.isfile(os.path.join(job.root, p)))
    job = replace(job, names=tuple(there))
    if not job.names:
        yield dict
        return
    # Imported here, and with it what does system calls: once, however many stages are forked.
    from binfmt_setup.system.probes.stage import perform

    process, reader = forked(lambda writer: perform(job, writer))
    answered = False

    def results() -> dict[str, ProbeResult]:
        nonlocal answered
        said = heard(reader, job.seconds + GRACE)
        answered = True
        return understood(said, job.names, known)

    try:
        yield results
    finally:
        end(process, reader, asked=not answered)


def forked(perform: Callable[[int], NoReturn]) -> tuple[int, int]:
    """Fork what answers into a pipe; its process id, and where its answer comes from.

    Signals wait until the child has handlers of its own (`perform` lets them come again): by this
    process's it would unwind as this process does, and take back what this one has done.
    """
    started: list[tuple[int, int]] = []
    try:
        with undisturbed():
            reader, writer = os.pipe()
            process = os.fork()
            if process == 0:
                try:
                    perform(writer)
                finally:
                    os._exit(1)  # whatever is raised: what calls this is the parent's work
            os.close(writer)
            started.append((process, reader))
    except OSError as error:
        from binfmt_setup.system.limits import exhausted

        raise exhausted(error, "cannot run probes") from error
    except BaseException:  # a signal came meanwhile
        for process, reader in started:
            end(process, reader, asked=True)
        raise
    return started[0]


def heard(reader: int, seconds: float) -> bytes:
    """The stage's answer, its length in front; raises EnvironmentUnfit when it does not come."""
    said, end = b"", time.monotonic() + seconds
    while readable(reader, end - time.monotonic()):
        chunk = os.read(reader, _CHUNK)
        said += chunk
        size = int.from_bytes(said[:LENGTH_BYTES], "little")
        if not chunk or len(said) >= LENGTH_BYTES + size:
            return said[LENGTH_BYTES:]
    raise EnvironmentUnfit(
        f"the process that runs probes did not answer within {seconds:g} s",
        hint="is a file system that holds emulators stuck?", code="probe-timeout",
    )  # fmt: skip


def end(process: int, reader: int, *, asked: bool) -> None:
    """Wait for the stage, which ends what it started and then itself; `asked`: at once.

    One that the kernel does not let go is left behind rather than waited for.
    """
    for number in (signal.SIGTERM, signal.SIGKILL) if asked else (0, signal.SIGKILL):
        with suppress(ProcessLookupError):
            if number:
                os.kill(process, number)
        limit = time.monotonic() + GRACE
        while (left := limit - time.monotonic()) > 0 and readable(reader, left):
            if not os.read(reader, _CHUNK):  # closed: it is gone
                with suppress(ChildProcessError):
                    os.waitpid(process, 0)
                os.close(reader)
                return
    os.close(reader)


def understood(
    said: bytes, names: Sequence[str], known: Mapping[str, ProbeResult] = NOTHING
) -> dict[str, ProbeResult]:
    """The results that the stage process sent."""
    try:
        # The stage is a fork of this very process: its word needs no other format.
        answer = marshal.loads(said)  # noqa: S302
    except (EOFError, ValueError, TypeError) as error:
        raise EnvironmentUnfit(
            "the process that runs probes died", hint="was it killed for lack of memory?"
        ) from error
    if "rows" in answer:
        ran = {row["probe"]: ProbeResult(**row) for row in answer["rows"]}
        return ran | {name: known[name] for name in answer["recognised"]}
    number = next(iter(answer.values()))
    if "refused" in answer:
        why = f"probes cannot be isolated here, as {_REFUSED.get(number, os.strerror(number))}"
        return {name: ProbeResult(name, not_run=why, fields={}) for name in names}
    from binfmt_setup.system.limits import exhausted

    raise exhausted(OSError(number, os.strerror(number)), "cannot run probes")
