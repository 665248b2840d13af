"""What scripts/test tells of tiers: of whole ones, of those cut off, and of traces left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import testbed
from tests import made_host
from tests.own_namespace import TOP
from tiers import Outcomes, count, read, unfinished
from traces import differences

pytestmark = pytest.mark.one_python

RUN = """
import sys
from pathlib import Path
import pytest
from tests.results import ResultsFile
where = Path(sys.argv[1])
sys.exit(pytest.main(["-q", "-c", "/dev/null", str(where / "test_x.py")],
                     plugins=[ResultsFile(where / "log")]))
"""
TESTS = """
import time, pytest
def test_passes(): pass
def test_fails(): assert 0
def test_is_skipped(): pytest.skip("no such thing here")
@pytest.fixture
def broken():
    yield
    assert 0
def test_breaks_behind(broken): pass
def test_hangs():
    print("hangs", flush=True)
    time.sleep(1000)
def test_comes_after(): pass
"""


def test_a_tier_that_is_cut_off_has_told_what_ran_and_what_did_not(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text(TESTS)
    log = tmp_path / "log"
    with subprocess.Popen(
        [sys.executable, "-c", RUN, tmp_path], cwd=TOP, stdout=subprocess.DEVNULL
    ) as tier:
        while not read(log).running.endswith("::test_hangs"):
            assert tier.poll() is None
        tier.send_signal(signal.SIGKILL)
    outcomes = read(log)
    result = testbed.Result("x")
    count(outcomes, result)
    assert (result.passed, result.failed) == (1, 2)
    assert result.skips == {"no such thing here": 1}
    told = [line.replace("test_x.py::", "") for line in unfinished(outcomes).split("\n")[2:-1]]
    broken = ["failed: test_fails", "failed: test_breaks_behind", "was running: test_hangs"]
    assert told == ["did not run: test_comes_after", *broken]


def test_a_file_that_cannot_be_imported_has_failed(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("import nothing_of_this_name\n")
    subprocess.run([sys.executable, "-c", RUN, tmp_path], cwd=TOP, capture_output=True, check=False)
    assert [outcome for outcome, _ in read(tmp_path / "log").ended.values()] == ["failed"]


def test_what_tells_nothing_new_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testbed, "MOST_SECONDS", 5)
    script = f"sleep 1000 & echo $! > '{tmp_path}/child'; wait"
    code, result = testbed.run("x", ["sh", "-c", script])
    assert code == 124
    assert result.output.endswith("ended: nothing new for 5 s\n")
    # The kernel ends it in its own time; a loop without an end is for the tier's limit to find.
    stat = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    while lives(stat):
        pass


def test_what_goes_on_telling_may_take_its_time() -> None:
    silence, seconds = testbed.Silence(100.0), []
    for told, now in ((0, 101.0), (0, 105.0), (7, 106.0), (7, 109.0), (8, 900.0), (8, 901.0)):
        silence.look(told, now)
        seconds.append(silence.seconds)
    assert seconds == [1, 5, 0, 3, 0, 1]


def lives(stat: Path) -> bool:
    """Whether a process is neither gone nor dead."""
    try:
        return ") Z " not in stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_run_without_a_log_has_no_outcome(tmp_path: Path) -> None:
    assert read(tmp_path / "log") == Outcomes()


def test_what_came_went_or_changed_is_named() -> None:
    before, after = {"/a": "1", "/b": "1", "/c": "1"}, {"/b": "2", "/c": "1", "/d": "1"}
    assert differences(before, after) == ["/a is gone", "/b was changed", "/d is new"]


def test_a_program_that_a_test_starts_ignores_no_signal_and_has_the_usual_mask(
    tmp_path: Path,
) -> None:
    """As a shell in the background leaves them, under nohup, with a mask of one's own."""
    test = "import os, signal\ndef test_x():\n    for n in (1, 2, 3, 15):\n"
    test += (
        "        assert signal.getsignal(n) != signal.SIG_IGN\n    assert os.umask(0o22) == 0o22\n"
    )
    (tmp_path / "test_x.py").write_text(
        f"from tests import made_host\nmade_host.clean_environment()\n{test}"
    )
    script = "trap '' HUP INT QUIT TERM; umask 077; exec \"$@\""
    words = ["-m", "pytest", "-q", "-c", "/dev/null", "-p", "no:cacheprovider"]
    subprocess.run(
        ["sh", "-c", script, "sh", sys.executable, *words, str(tmp_path / "test_x.py")],
        cwd=TOP, env={**os.environ, "PYTHONPATH": f"{TOP}:{TOP}/scripts"}, check=True,
    )  # fmt: skip


def test_nothing_of_the_callers_settings_reaches_a_test() -> None:
    tools = [name for name in os.environ if name.startswith(made_host.TOOLS)]
    assert set(os.environ) <= {*testbed.KEPT_VARIABLES, *tools, "LC_ALL", "PIP_CONFIG_FILE"}
    assert list(Path.home().iterdir()) == []


def test_the_testers_own_place_hides_nothing_that_the_tests_need() -> None:
    there = [folder for folder in made_host.PLACES if Path(folder).is_dir()]
    assert made_host.free_place([]) == there[0]
    assert made_host.free_place([Path(there[0], "clone/tests/x.py")]) == there[1]


def test_a_clone_that_the_tests_would_hide_is_known() -> None:
    assert testbed.hidden_by_tests(Path("/mnt/clone")) == "/mnt"
    assert testbed.hidden_by_tests(Path("/srv/mnt")) == ""
