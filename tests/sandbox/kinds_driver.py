"""Runs inside a private namespace: makes the files of `explain_kinds`, executes each, explains it.

Prints one JSON row a file: what execve and the program said, and what explain says. As a program
it takes the folder to write to, the folder of emulators, and `full` for the long form.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.commands.explain import seen_by
from binfmt_setup.inspect.natives import with_natives
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import NOTHING
from binfmt_setup.system.host import Host
from binfmt_setup.system.probes import running_probes
from binfmt_setup.system.registry import Registry
from tests.explain_kinds import Maker, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.system.probes import ProbeResult

_CPU_SECONDS = 60


class ProbedOnce:
    """Runs each probe once, for however many files one has to tell about."""

    def __init__(self) -> None:
        self.known: dict[str, ProbeResult] = {}

    def __call__(
        self, names: Sequence[str], /, *, known: Mapping[str, ProbeResult] = NOTHING
    ) -> AbstractContextManager[Callable[[], Mapping[str, ProbeResult]]]:
        del known
        missing = [name for name in names if name not in self.known]
        if missing:
            with running_probes(missing) as results:
                self.known.update(results())
        return nullcontext(lambda: {name: self.known[name] for name in names if name in self.known})


def executed(path: str) -> tuple[str, int]:
    """The errno of execve and the status of a program that started, with nothing to read."""
    nothing = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
    try:
        process = os.posix_spawn(path, [path], {"PATH": os.environ["PATH"]}, file_actions=nothing)
    except OSError as error:
        return errno.errorcode[error.errno or errno.EIO], -1
    return "", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def told(host: Host, facts: HostFacts, sample: Sample) -> tuple[str, bool, str]:
    """What explain says of a file: the errno, whether it runs, and why not."""
    try:
        seen = seen_by(host, facts, host, sample.path)
    except UsageProblem as error:
        return "ENOENT", False, error.message
    failure = seen.failure
    return (failure.errno, False, failure.message) if failure else ("", True, "")


def main() -> int:
    """Do all of it."""
    folder, emulators, *words = sys.argv[1:]
    os.environ["PATH"] = "/usr/bin:/bin"
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    host = Host(prove=ProbedOnce())
    maker = Maker(Path(folder), Path(emulators), full="full" in words)
    for registration in maker.registrations():
        Registry(host).register(registration)
    for name in maker.disabled:
        Path(BINFMT_MISC, name).write_text("0")
    samples = maker.samples()
    facts = with_natives(host, snapshot(host), {})
    rows = []
    for sample in samples:
        number, status = executed(sample.path)
        rows.append(
            [sample.kind, sample.about, sample.path, number, status, *told(host, facts, sample)]
        )
    json.dump(rows, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
