"""Ctrl-C and other ends: at any moment, one word and the status that a shell would give."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.cli.signals import WORDS
from binfmt_setup.system.pipes import say
from binfmt_setup.system.probes.running import end, forked, heard
from tests import amounts
from tests.own_namespace import TOP, unmeasured

if TYPE_CHECKING:
    from typing import NoReturn

AT_EVENT = """
import os, sys
number, at = int(sys.argv.pop(1)), int(sys.argv.pop(1))
from binfmt_setup.__main__ import main
count = 0
me = os.getpid()
def event(*_):
    global count
    count += 1
    if count == at and os.getpid() == me:
        sys.setprofile(None)
        os.kill(me, number)
real = os._exit
def told(status):
    if at < 0 and os.getpid() == me:
        os.write(2, str(count).encode())
    real(status)
os._exit = told
sys.setprofile(event)
main()
"""
"""Runs the tool and sends itself a signal at the so many-th call or return of a function: while
importing, reading, judging, printing. With -1 it tells how many there are."""
TELLING = """
import gc, os
from binfmt_setup.__main__ import main
gc.disable = lambda: os.write(1, b'x')
main()
"""
"""Runs the tool, and says so once Ctrl-C is its business: that is the first thing it calls."""
COMMANDS = (["check", "arm64", "amd64", "--format", "json"], ["status"], ["--help"])


def run(number: int, at: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", AT_EVENT, str(int(number)), str(at), *command],
        cwd=TOP, env=unmeasured(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("number", sorted(WORDS))
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_signal_at_any_moment(command: list[str], number: int) -> None:
    calls = int(run(number, -1, command).stderr.split()[-1])
    assert calls > 500
    # All commands begin alike.
    first = range(3, 8) if command == COMMANDS[0] else ()
    step = calls // amounts.steps(long=14, short=5)
    start = 8 + step * sorted(WORDS).index(number) // len(WORDS)
    moments = [*first, *range(start, calls - 8, step)]
    for at in moments:
        done = run(number, at, command)
        if number == signal.SIGINT or at > 500:
            assert (done.returncode, done.stderr) == (128 + number, f"{WORDS[number]}\n"), at
        else:  # before the tool listens, the kernel ends it
            assert done.returncode in (-number, 128 + number)
            assert done.stderr in ("", f"{WORDS[number]}\n")
        assert done.stdout == ""


def test_an_ignored_signal_stays_ignored() -> None:
    command = f'trap \'\' HUP TERM INT; exec {sys.executable} -c "$0" "$@"'
    for number in WORDS:
        done = subprocess.run(
            ["sh", "-c", command, AT_EVENT, str(int(number)), "300", "--version"],
            cwd=TOP, env=unmeasured(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0
        assert done.stdout.startswith("binfmt-setup ")


def test_a_signal_that_the_caller_made_wait_comes() -> None:
    """As from a program that starts this one in the midst of what must not be interrupted."""
    code = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
        "os.kill(os.getpid(), signal.SIGTERM); "
        "os.execv(sys.executable, [sys.executable, '-m', 'binfmt_setup', 'status'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=TOP, env=unmeasured(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "terminated\n")


def test_a_signal_that_python_makes_another_error_of_is_none() -> None:
    code = (
        "import functools, os, signal; from binfmt_setup.__main__ import main; "
        "named = lambda *_: os.kill(os.getpid(), signal.SIGTERM); "
        "functools.cached_property.__set_name__ = named; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "status"],
        cwd=TOP, env=unmeasured(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "terminated\n")


def test_ctrl_c_from_outside_leaves_no_traceback_and_no_process() -> None:
    """Real time: at moments all over the life of a check."""
    for step in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", TELLING, "check", "all"],
            cwd=TOP, env=unmeasured(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        ) as tool:  # fmt: skip
            assert tool.stdout is not None
            assert tool.stderr is not None
            assert tool.stdout.read(1) == b"x"
            time.sleep(step * 0.005)
            tool.send_signal(signal.SIGINT)
            said = tool.stderr.read().decode()  # until nobody holds it any more
            status = tool.wait(30)
        if status not in (0, 1):
            assert (status, said) == (130, "interrupted\n"), step
        with pytest.raises(ProcessLookupError):
            os.killpg(tool.pid, 0)


def test_a_forked_process_has_none_of_its_parents_handlers_before_its_own() -> None:
    """With them it would unwind as its parent does: say the same, take back the same."""

    def tell(writer: int) -> NoReturn:
        waiting = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        say(writer, bytes(sorted(map(int, waiting))))
        os._exit(0)

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    process, reader = forked(tell)
    assert set(heard(reader, 5)) >= {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    end(process, reader, asked=False)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
