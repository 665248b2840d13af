"""Running probes: the only proof that a platform works.

A probe is executed directly, in a root directory that holds probes and nothing else, so
that an interpreter which is not pinned (flag F) or not static cannot be found. All run at
once from one forked stage process, which has no way back out of that directory; the errno
of each execve and the line each probe prints come back through a pipe.
"""

from __future__ import annotations

import errno
import marshal
import os
import resource
import select
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing
from binfmt_setup.model.records import NOTHING, Record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PROBES = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "probes")
TIME_LIMIT = 20.0
"""Seconds for all probes together: an emulated start takes milliseconds, a host under full
load a second or two."""
ARGV0 = "binfmt-setup-probe"
_OUTPUT_LIMIT = 4096  # bytes kept of what a probe or its interpreter prints
_STAGE_CHROOT_FAILED = "chroot"


class ProbeResult(Record):
    """What happened to one probe.

    `errno` is that of execve (0: it was started). `fields` are what the probe printed;
    `native` says that the kernel ran it itself; `pinned` is (device, inode) of the
    interpreter that really ran, which with F may be older than the file on disk;
    `pinned_version` is what that one says of itself, where it was asked.
    """

    probe: str
    errno: int = 0
    exit_status: int | None = None
    signal: int = 0
    timed_out: bool = False
    output: str = ""
    native: bool = False
    pinned: tuple[int, int] | None = None
    fields: Mapping[str, str] = NOTHING
    pinned_version: str = ""

    @property
    def ok(self) -> bool:
        """Whether the probe ran to its end as the program that it is."""
        return (
            self.errno == 0
            and self.exit_status == 0
            and self.fields.get("target") == self.probe
            and self.fields.get("argc") == "2"
        )

    @property
    def arguments_shifted(self) -> bool:
        """Kernel and QEMU disagree about the P flag: the program got other arguments."""
        return "argc" in self.fields and self.fields["argc"] != "2"

    @property
    def argv0_kept(self) -> bool:
        """Whether argv[0] arrived as it was given; without P it becomes the path."""
        return self.fields.get("argv0") == ARGV0

    def why(self) -> str:
        """In a few words what went wrong; empty when nothing did."""
        if self.ok:
            return ""
        if self.errno:
            return f"execve: {errno.errorcode.get(self.errno, str(self.errno))}"
        if self.timed_out:
            return "no end within the time limit"
        if self.signal:
            return f"killed by {signal.Signals(self.signal).name}"
        last = self.output.strip().splitlines()[-1:] or ["nothing printed"]
        return f"exit status {self.exit_status}: {last[0][:200]}"


def available(probe: str) -> bool:
    """Whether the package has a probe of this name."""
    return os.path.isfile(os.path.join(PROBES, probe))


def parse_output(text: str) -> dict[str, str]:
    """The fields of a probe's line; argv0 comes last and may hold spaces."""
    for line in text.splitlines():
        if line.startswith("binfmt-probe "):
            head, _, argv0 = line.partition(" argv0=")
            pairs = (word.partition("=") for word in head.split()[1:])
            return {**{key: value for key, _, value in pairs}, "argv0": argv0}
    return {}


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


def version_of(text: str) -> str:
    """QEMU's word for its version, as in `qemu-arm version 7.2.22 (Debian …)`."""
    _, _, after = text.partition(" version ")
    return after.splitlines()[0].strip() if after.strip() else ""


def run_probes(
    probes: Sequence[str],
    *,
    root: str | os.PathLike[str] = PROBES,
    seconds: float = TIME_LIMIT,
    environment: Mapping[str, str] = NOTHING,
) -> dict[str, ProbeResult]:
    """Run these probes, all at once, with `root` as their root directory.

    Needs root or a user namespace of its own; raises PrivilegesMissing when it gets
    neither, EnvironmentUnfit when the stage process dies.
    """
    with running_probes(probes, root=root, seconds=seconds, environment=environment) as results:
        return results()


@contextmanager
def running_probes(
    probes: Sequence[str],
    *,
    root: str | os.PathLike[str] = PROBES,
    seconds: float = TIME_LIMIT,
    environment: Mapping[str, str] = NOTHING,
) -> Iterator[Callable[[], dict[str, ProbeResult]]]:
    """Run probes as `run_probes` does, beside what the block does in the meantime.

    Yields the function that waits for their results, to be called once.
    """
    names = [name for name in dict.fromkeys(probes) if os.path.isfile(os.path.join(root, name))]
    if not names:
        yield dict
        return
    reader, writer = os.pipe()
    stage = os.fork()
    if stage == 0:
        _stage(writer, names, root, seconds, environment)
    os.close(writer)
    status = None
    with os.fdopen(reader, "rb") as pipe:

        def results() -> dict[str, ProbeResult]:
            nonlocal status
            said = pipe.read()
            _, status = os.waitpid(stage, 0)
            return _understood(said, status)

        try:
            yield results
        finally:
            if status is None:
                # Interrupted: the stage and its probes, a process group of their own, go first.
                with suppress(ProcessLookupError):
                    os.killpg(stage, signal.SIGKILL)
                os.waitpid(stage, 0)


def _understood(said: bytes, status: int) -> dict[str, ProbeResult]:
    """The results that the stage process sent."""
    try:
        # The stage is a fork of this very process: its word needs no other format.
        rows = marshal.loads(said)  # noqa: S302
    except (EOFError, ValueError, TypeError) as error:
        raise EnvironmentUnfit(f"the probes' stage process died (status {status})") from error
    if isinstance(rows, dict):
        raise PrivilegesMissing(
            f"cannot isolate probes: {os.strerror(rows[_STAGE_CHROOT_FAILED])}",
            hint="run as root, or allow user namespaces (sysctl user.max_user_namespaces)",
        )
    return {row["probe"]: ProbeResult(**row) for row in rows}


def _stage(
    writer: int,
    names: Sequence[str],
    root: str | os.PathLike[str],
    seconds: float,
    environment: Mapping[str, str],
) -> None:
    """The stage process: isolate itself, run everything, report, and end at once.

    It leaves with os._exit whatever happens, so that nothing of the parent's (buffers,
    context managers, exit handlers) runs a second time.
    """
    answer = b""
    try:
        os.setpgid(0, 0)
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _isolate(root)
        answer = marshal.dumps(
            [vars(result) for result in _run_all(names, proc, seconds, environment)]
        )
    except OSError as error:
        answer = marshal.dumps({_STAGE_CHROOT_FAILED: error.errno or errno.EIO})
    finally:
        with suppress(BaseException), os.fdopen(writer, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)


def _isolate(root: str | os.PathLike[str]) -> None:
    """Make `root` this process's root directory, in an own user namespace if need be."""
    try:
        os.chroot(root)
    except PermissionError:
        from binfmt_setup.system.syscalls import CLONE_NEWNS, CLONE_NEWUSER, unshare

        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        os.chroot(root)
    os.chdir("/")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class _Running:
    """One probe that was started, and what is known of it.

    `program` is (device, inode) of what executes it, None until it has said something;
    `release` is the end of its standard input, closed once that is known.
    """

    def __init__(self, probe: str, pid: int, output: int, release: int) -> None:
        self.probe = probe
        self.pid = pid
        self.output = output
        self.release = release
        self.text = b""
        self.program: tuple[int, int] | None = None

    def let_go(self) -> None:
        """Let it come to its end."""
        if self.release >= 0:
            os.close(self.release)
            self.release = -1


def _run_all(
    names: Sequence[str], proc: int, seconds: float, environment: Mapping[str, str]
) -> list[ProbeResult]:
    """Start every probe, serve their pipes in one loop, and collect what became of them."""
    results, running = [], {}
    poll = select.poll()
    for name in names:
        started = _start(name, environment)
        if isinstance(started, ProbeResult):
            results.append(started)
        else:
            running[started.output] = started
            poll.register(started.output, select.POLLIN)
    deadline = time.monotonic() + seconds
    while running and (left := deadline - time.monotonic()) > 0:
        for descriptor, _ in poll.poll(left * 1000):
            if not _serve(running[descriptor], proc):
                poll.unregister(descriptor)
                results.append(_finished(running.pop(descriptor)))
    results += [_finished(probe, timed_out=True) for probe in running.values()]
    return results


def _start(name: str, environment: Mapping[str, str]) -> _Running | ProbeResult:
    """Execute one probe without a shell or any inherited descriptor.

    posix_spawn reports the errno of the execve itself.
    """
    read_in, release = os.pipe()
    output, write_out = os.pipe()
    actions = [
        (os.POSIX_SPAWN_DUP2, read_in, 0),
        (os.POSIX_SPAWN_DUP2, write_out, 1),
        (os.POSIX_SPAWN_DUP2, write_out, 2),
    ]
    try:
        pid = os.posix_spawn(f"/{name}", [ARGV0, "one"], environment, file_actions=actions)
    except OSError as error:
        os.close(release)
        os.close(output)
        return ProbeResult(name, errno=error.errno or errno.EIO, fields={})
    finally:
        os.close(read_in)
        os.close(write_out)
    return _Running(name, pid, output, release)


def _serve(probe: _Running, proc: int) -> bool:
    """Take what a probe printed; False when it has closed its output.

    A probe that has printed its line waits on standard input, so that one can still see
    which program is really executing it. When posix_spawn returns is too early for that: the
    kernel lets the parent go on before the child has its new image (fs/exec.c, exec_mmap).
    """
    chunk = os.read(probe.output, _OUTPUT_LIMIT)
    probe.text = (probe.text + chunk)[:_OUTPUT_LIMIT]
    if b"\n" in probe.text and probe.release >= 0:
        probe.program = _program(f"{probe.pid}/exe", proc)
        probe.let_go()
    return bool(chunk)


def _program(path: str, directory: int | None = None) -> tuple[int, int] | None:
    """Device and inode of a program; None when it is gone."""
    with suppress(OSError):
        image = os.stat(path, dir_fd=directory)
        return image.st_dev, image.st_ino
    return None


def _finished(probe: _Running, *, timed_out: bool = False) -> ProbeResult:
    """Reap a probe, killing it first when its time is over."""
    if timed_out:
        with suppress(ProcessLookupError):
            os.kill(probe.pid, signal.SIGKILL)
    probe.let_go()
    os.close(probe.output)
    _, status = os.waitpid(probe.pid, 0)
    text = probe.text.decode("utf-8", "replace")
    native = probe.program is not None and probe.program == _program(f"/{probe.probe}")
    return ProbeResult(
        probe.probe,
        exit_status=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0,
        timed_out=timed_out,
        output=text,
        native=native,
        pinned=None if native else probe.program,
        fields=parse_output(text),
    )
