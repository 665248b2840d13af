"""Programs of the host are waited for, but not for ever, and end with all that they started."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from binfmt_setup.model.errors import EnvironmentUnfit, OtherProgramFailed, TookTooLong
from binfmt_setup.system.limits import EXHAUSTED, exhausted
from binfmt_setup.system.programs import Completed, run_program

NEVER_ENDING = {
    "closes its output and stays": "exec >&- 2>&-; sleep 300",
    "ignores SIGTERM": "trap '' TERM; echo said; while :; do sleep 300; done",
    "is stopped": "kill -STOP $$",
    "has a daemon that ignores all": "(setsid sh -c 'trap \"\" TERM HUP; sleep 300' &) ; sleep 300",
    "talks without end": "yes",
}


def of_this_test(mark: str) -> list[int]:
    """The processes that have a variable of this value, which no child of theirs loses."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in place.read_bytes():
                found.append(int(place.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("what", NEVER_ENDING)
def test_what_does_not_end_is_ended_with_all_it_started(what: str, tmp_path: Path) -> None:
    sleeper = tmp_path / "sleep"
    sleeper.write_text("#!/bin/sh\nexec /bin/sleep 300\n")
    sleeper.chmod(0o755)
    script = tmp_path / "script"
    escaped = str(sleeper).replace(" ", "\\ ")  # within quotes, too
    script.write_text(NEVER_ENDING[what].replace("sleep 300", f"sh {escaped}"))
    start = time.monotonic()
    with pytest.raises(TookTooLong) as stopped:
        run_program(["sh", str(script)], 0.5)
    assert time.monotonic() - start < 15
    assert of_this_test(str(tmp_path)) == []
    assert len(stopped.value.message) < 5000


def test_a_daemon_that_holds_the_pipe_is_not_waited_for(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    daemon = f"(while [ ! -e '{stop}' ]; do sleep 0.05; done) & echo hi"
    start = time.monotonic()
    try:
        assert run_program(["sh", "-c", daemon], 60) == Completed(0, "hi\n", "")
        assert time.monotonic() - start < 10
    finally:
        stop.touch()


def test_all_that_was_said_is_heard() -> None:
    done = run_program(["sh", "-c", "head -c 3000000 /dev/zero; echo end >&2; exit 3"], 60)
    assert (done.status, len(done.output), done.errors) == (3, 3000000, "end\n")


def test_what_cannot_be_started_is_told() -> None:
    with pytest.raises(OtherProgramFailed, match="No such file"):
        run_program(["/nowhere/at/all"], 1)


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.EMFILE, "ulimit -n"), (errno.EAGAIN, "ulimit -u"), (errno.ENFILE, "fs.file-max"),
     (errno.ENOMEM, "memory")],
)  # fmt: skip
def test_the_limit_that_was_met_is_named(number: int, word: str) -> None:
    error = exhausted(OSError(number, os.strerror(number)), "cannot do it")
    assert isinstance(error, EnvironmentUnfit)
    assert word in error.message + error.hint


def test_too_few_descriptors_are_an_error_of_the_environment() -> None:
    code = (
        "import os, resource, sys\n"
        "import subprocess\n"
        "from binfmt_setup.model.errors import EnvironmentUnfit\n"
        "from binfmt_setup.system.programs import run_program\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))\n"
        'try: run_program(["it\'s a program"], 5)\n'
        "except EnvironmentUnfit as error: print(error.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "5 files (ulimit -n)" in done.stdout
    assert errno.EMFILE in EXHAUSTED
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 5
