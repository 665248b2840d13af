"""Starting foreign programs all the while, to see whether a single start ever fails."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.conftest import Sandbox

# A start is good when the program runs, says who it is, and ends with 0. Nothing else counts: not
# to be startable, to crash, to succeed without having run.
_STARTER = """
import os, sys
probe, stop, least, tester = sys.argv[1], sys.argv[2], int(sys.argv[3]), os.getppid()
done = failed = 0
null = [(os.POSIX_SPAWN_OPEN, n, "/dev/null", os.O_RDWR, 0) for n in (0, 2)]
print("ready", flush=True)
# A tester that was killed leaves no word to stop.
while (done < least or not os.path.exists(stop)) and os.getppid() == tester:
    read, write = os.pipe()
    try:
        pid = os.posix_spawn(probe, ["x"], {}, file_actions=[
            *null, (os.POSIX_SPAWN_DUP2, write, 1)])
        os.close(write)
        said = os.read(read, 100)
        failed += os.waitpid(pid, 0)[1] != 0 or not said.startswith(b"binfmt-probe")
    except OSError:
        os.close(write)
        failed += 1
    os.close(read)
    done += 1
print(done, failed)
"""


@dataclass
class Starts:
    """How many there were, and how many of them failed; known at the end."""

    done: int = 0
    failed: int = 0


def starts(sandbox: Sandbox) -> bool:
    """Whether an arm64 program runs there at this moment."""
    # Bytes: what the kernel does not know nsenter hands to a shell, as execvp does.
    done = subprocess.run(
        [*sandbox.inside, str(PROBES / "aarch64"), "one"], stdin=subprocess.DEVNULL,
        capture_output=True, check=False,
    )  # fmt: skip
    return done.returncode == 0 and done.stdout.startswith(b"binfmt-probe")


@contextmanager
def starting(sandbox: Sandbox, *, loops: int = 1, least: int = 0) -> Iterator[Starts]:
    """Start arm64 programs, one after the other in each loop, for as long as the block lasts."""
    found = Starts()
    with tempfile.TemporaryDirectory() as folder:
        stop = Path(folder) / "stop"
        command = [
            *sandbox.inside, sys.executable, "-I", "-c", _STARTER, str(PROBES / "aarch64"),
            str(stop), str(-(-least // loops)),
        ]  # fmt: skip
        running = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(loops)
        ]
        try:
            for one in running:
                assert one.stdout is not None
                assert one.stdout.readline() == "ready\n"
            yield found
        finally:
            stop.touch()
            for one in running:
                done, failed = map(int, one.communicate()[0].split())
                found.done += done
                found.failed += failed
