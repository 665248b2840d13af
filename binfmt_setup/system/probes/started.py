"""One probe that was started: its process, its pipes, and what executes it."""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress

from binfmt_setup.system.pipes import end_of
from binfmt_setup.system.probes.result import ARGV0
from binfmt_setup.system.signals import signal

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping

    from binfmt_setup.system.probes.job import Job

OUTPUT_LIMIT = 4096  # bytes kept of what a probe or its interpreter prints
# What is ignored would stay so in programs. Two can never be, three are the C library's own.
SIGNALS = tuple(sorted({*range(1, 65)} - {signal.SIGKILL, signal.SIGSTOP, 32, 33, 34}))


class Started:
    """One probe that was started, and what is known of it.

    `program` is (device, inode) of what executes it, None until it has said something;
    `release` is the end of its standard input, closed once that is known. `end` becomes
    readable when it has ended; -1 where the kernel has no such descriptors.
    """

    def __init__(self, probe: str, pid: int, output: int, release: int) -> None:
        self.probe = probe
        self.pid = pid
        self.output = output
        self.release = release
        self.text = b""
        self.closed = False
        self.program: tuple[int, int] | None = None
        self.end = end_of(pid)

    def let_go(self) -> None:
        """Let it come to its end."""
        if self.release >= 0:
            os.close(self.release)
            self.release = -1

    def close(self) -> None:
        """Close what belongs to it."""
        self.let_go()
        os.close(self.output)
        if self.end >= 0:
            os.close(self.end)


def start(name: str, job: Job) -> Started:
    """Execute one probe without a shell or any inherited descriptor.

    By the kernel, or with an emulator that is open, or a copy of it that is. Raises OSError with
    the errno of the execve itself.
    """
    read_in, release = os.pipe()
    output, write_out = os.pipe()
    try:
        if name in job.emulators:
            # Its own name is left out: under some names QEMU runs for the kernel alone.
            command = ["qemu", "-0", ARGV0, f"/{name}", "one"]
            pid = _started_open(job.emulators[name], command, read_in, write_out)
        elif name in job.copies:
            pid = _started_open(job.copies[name], [ARGV0, "one"], read_in, write_out)
        else:
            pid = _started(name, job.environment, read_in, write_out)
    except OSError:
        os.close(release)
        os.close(output)
        raise
    finally:
        os.close(read_in)
        os.close(write_out)
    return Started(name, pid, output, release)


def _started(name: str, environment: Mapping[str, str], read_in: int, write_out: int) -> int:
    actions = [
        (os.POSIX_SPAWN_DUP2, read_in, 0),
        (os.POSIX_SPAWN_DUP2, write_out, 1),
        (os.POSIX_SPAWN_DUP2, write_out, 2),
    ]
    return os.posix_spawn(
        f"/{name}", [ARGV0, "one"], environment, file_actions=actions, setsigdef=SIGNALS
    )


def _started_open(program: int, command: list[str], read_in: int, write_out: int) -> int:
    """Start a program that is open; raises OSError with the errno of execve."""
    refused, tell = os.pipe()
    child = os.fork()
    if child == 0:
        number = errno.EIO
        try:
            for ignored in SIGNALS:
                signal.signal(ignored, signal.SIG_DFL)
            for here, there in ((read_in, 0), (write_out, 1), (write_out, 2)):
                os.dup2(here, there)
            os.execve(program, command, {})
        except OSError as error:
            number = error.errno or errno.EIO
        finally:
            os.write(tell, bytes([number]))
            os._exit(126)
    os.close(tell)
    said = os.read(refused, 1)
    os.close(refused)
    if said:
        os.waitpid(child, 0)
        raise OSError(said[0], os.strerror(said[0]))
    return child


def ended(process: int) -> int | None:
    """The status of a child that has ended; None while it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return status if found else None


def rest(probe: Started) -> bytes:
    """What a probe that has ended left in its pipe; others may hold that open."""
    text, poll = b"", select.poll()
    poll.register(probe.output, select.POLLIN)
    while not probe.closed and len(probe.text + text) < OUTPUT_LIMIT and poll.poll(0):
        chunk = os.read(probe.output, OUTPUT_LIMIT)
        text += chunk
        probe.closed = not chunk
    return text


def program_at(path: str | int, directory: int | None = None) -> tuple[int, int] | None:
    """Device and inode of a program; None when it is gone."""
    with suppress(OSError):
        image = os.stat(path, dir_fd=directory)
        return image.st_dev, image.st_ino
    return None


def read_small(name: str, directory: int) -> str:
    """A small file of /proc."""
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        return os.read(descriptor, 4096).decode("utf-8", "replace")
    finally:
        os.close(descriptor)
