"""`check --deep` for real: exercises emulated and native, candidates, and what goes wrong."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, cast
from xml.etree import ElementTree as ET

import pytest

from binfmt_setup.system import locks
from binfmt_setup.workout import running, stage
from binfmt_setup.workout.exercises import KINDS
from tests.own_namespace import as_user, run
from tests.patched_emulator import hang_at
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.sandbox.conftest import Sandbox

QEMU = "/usr/bin"
QEMUS = Path(QEMU)
BROKEN = "jit-two-mappings"  # with QEMU before 8.1
NATIVE = {"x86_64": "x86_64", "aarch64": "aarch64"}.get(os.uname().machine, "")
FEW = "heap threads spawn-error exec-self tcp ptrace terminal"
# All exercises of one platform take seconds; here it is about what becomes of their answers.
_DRIVER = f"""
import sys
from binfmt_setup.workout import exercises
exercises.KINDS = {{"memory": "{FEW}"}}
exercises.LEVELS = {{}}
from binfmt_setup.__main__ import main
main()
"""

# Fewer still, nothing is measured, and each has a second.
_HASTY = (
    _DRIVER.replace(FEW, "heap uname terminal")
    .replace("exercises.LEVELS", "exercises.SPEEDS = ()\nexercises.LEVELS")
    .replace(
        "from binfmt_setup.__main__",
        "from binfmt_setup.workout import stage\nstage.SECONDS = 1.0\nfrom binfmt_setup.__main__",
    )
)


def deep(
    sandbox: Sandbox, place: Path, *words: str, driver: str = _DRIVER
) -> subprocess.CompletedProcess[str]:
    """Run the tool with a few exercises; its scratch space in a folder that is empty afterwards."""
    command = shlex.join([sys.executable, "-c", driver, *words])
    done = sandbox.sh(f"cd {shlex.quote(str(Path.cwd()))} && TMPDIR={place} {command}")
    assert not list(place.iterdir())
    return done


def rows(document: Mapping[str, object]) -> list[Mapping[str, object]]:
    return cast("list[Mapping[str, object]]", document["workouts"])


def outcomes(row: Mapping[str, object]) -> dict[str, str]:
    exercises = cast("list[dict[str, str]]", row["exercises"])
    return {each["name"]: each["outcome"] for each in exercises}


def test_no_exercise_fails_natively() -> None:
    if not NATIVE:
        pytest.skip("no workout is known for this machine")
    session = running.run_workouts([NATIVE], environment={}, measure=False)[NATIVE]
    if session.not_run:
        pytest.skip(f"this machine does not let it run: {session.not_run}")
    assert [done for done in session.done if done.answer == "fail"] == []
    assert len(session.done) > sum(len(text.split()) for text in KINDS.values()) - 10
    assert {"chroot", "no-capabilities", "pid", "mount"} <= set(session.isolation)


def test_what_serves_is_exercised_beside_native(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.mount()
    assert sandbox.tool("install", "arm64", "--private", "--no-persist").returncode == 0
    done = deep(sandbox, tmp_path, "check", "--deep", "linux/arm64", "--format", "json")
    assert done.returncode == 1, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert_fits(found)
    (row,) = rows(found)
    seen = outcomes(row)
    assert set(seen) == set(FEW.split())
    assert seen["threads"] == seen["heap"] == seen["tcp"] == seen["exec-self"] == "ok"
    assert seen["spawn-error"] == "fail"
    assert seen["ptrace"] == "unsupported"
    assert set(cast("dict[str, float]", row["speed"])) == {
        "integers", "floats", "calls", "starts", "memory",
    }  # fmt: skip


def test_candidates_are_compared_and_nobody_registers_them(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.mount()
    words = ("check", "--deep", "arm64", "--qemu", QEMU, "--qemu", f"{QEMU}/", "--format", "junit")
    done = deep(sandbox, tmp_path, *words)
    assert done.returncode == 1, done.stderr
    suite = ET.fromstring(done.stdout)  # noqa: S314 - our own
    cases = list(suite.iter("testcase"))
    failing = {case.get("name") for case in cases if case.find("failure") is not None}
    assert f"linux/arm64 with {QEMU}: spawn-error" in failing
    assert sandbox.entries() == {}


def test_a_source_without_an_emulator_is_said(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.mount()
    place = tmp_path / "scratch"
    place.mkdir()
    done = deep(sandbox, place, "check", "--deep", "arm64", "--qemu", str(tmp_path))
    assert done.returncode == 4, done.stdout + done.stderr
    assert "no usable emulator" in done.stdout
    assert "--qemu SOURCE" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("--qemu", QEMU),
        ("--deep", "--security"),
        ("--deep", "--root", "/etc"),
    ],
)
def test_what_does_not_go_together(sandbox: Sandbox, words: tuple[str, ...]) -> None:
    assert sandbox.tool("check", "arm64", *words).returncode == 2


def test_no_place_to_run_programs(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.mount()
    place = tmp_path / "noexec"
    place.mkdir()
    done = sandbox.sh(
        f"mount -t tmpfs -o noexec none {place} && cd {Path.cwd()} && "
        f"TMPDIR={place} {sys.executable} -m binfmt_setup check --deep arm64 --qemu {QEMU}"
    )
    assert done.returncode == 4
    assert "noexec" in done.stderr + done.stdout


def exercises_with(sandbox: Sandbox, tmp_path: Path, word: bytes) -> dict[str, str]:
    """Outcomes of a few exercises with a QEMU that hangs at a word; a second for each of them."""
    source = next(
        p for p in (QEMUS / f"qemu-aarch64{end}" for end in ("-static", "")) if p.exists()
    )
    emulators, place = tmp_path / "emulators", tmp_path / "scratch"
    emulators.mkdir()
    place.mkdir()
    hang_at(word, source, emulators / source.name)
    sandbox.mount()
    words = ("check", "--deep", "arm64", "--qemu", str(emulators), "--format", "json")
    done = deep(sandbox, place, *words, driver=_HASTY)
    assert done.returncode == 1, done.stdout + done.stderr
    (row,) = rows(json.loads(done.stdout))
    return outcomes(row)


@pytest.mark.skipif(NATIVE != "x86_64", reason="the emulator is changed by code for x86_64")
def test_one_that_hangs_fails_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    """A real QEMU that waits for ever in one exercise: that one fails, the others go on."""
    seen = exercises_with(sandbox, tmp_path, b"terminal")
    assert seen == {"heap": "ok", "uname": "ok", "terminal": "fail"}


@pytest.mark.skipif(NATIVE != "x86_64", reason="the emulator is changed by code for x86_64")
def test_one_that_always_hangs_is_found_out_at_once(sandbox: Sandbox, tmp_path: Path) -> None:
    seen = exercises_with(sandbox, tmp_path, stage.LIST.encode() + b"\0/")
    assert set(seen.values()) == {"fail"}


def test_no_scratch_space(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.mount()
    place = tmp_path / "small"
    place.mkdir()
    done = sandbox.sh(
        f"mount -t tmpfs -o size=4m none {place} && cd {Path.cwd()} && "
        f"TMPDIR={place} {sys.executable} -m binfmt_setup check --deep arm64 --qemu {QEMU}"
    )
    assert done.returncode == 4
    assert "64 MiB" in done.stderr + done.stdout
    assert "TMPDIR=" in done.stderr + done.stdout


# All exercises, and no control before them.
_AT_ONCE = """
from binfmt_setup.commands import deep
from binfmt_setup.workout.results import Session
deep.native_control = lambda *words, **more: Session("")
from binfmt_setup.__main__ import main
main()
"""

# Somebody fills the file system just before the emulator's turn; natively there was space.
_FILLED = """
from binfmt_setup.workout import stage
count = stage.count
def of_a_full_place(job):
    if job.programs != ("x86_64",):
        about = os.statvfs(job.root)
        with open(os.environ["TMPDIR"] + "/filler", "wb") as filler:
            filler.write(bytes(about.f_bavail * about.f_frsize))
    return count(job)
stage.count = of_a_full_place
"""


def test_a_file_system_that_becomes_full_is_no_fault_of_an_emulator(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.mount()
    driver = _HASTY.replace("heap uname terminal", "statx large-file sync")
    driver = driver.replace("import sys", "import os, sys", 1)
    driver = driver.replace("from binfmt_setup.__main__", f"{_FILLED}from binfmt_setup.__main__")
    tool = shlex.join([sys.executable, "-c", driver, "check", "--deep", "arm64", "--qemu", QEMU])
    place = f"mount -t tmpfs -o size=72m none {tmp_path} && export TMPDIR={tmp_path}"
    done = sandbox.sh(f"{place} && cd {Path.cwd()} && {tool}")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "became full" in " ".join(done.stdout.split())
    assert "fails at" not in done.stdout


@pytest.mark.parametrize(
    ("send", "number"), [(os.kill, signal.SIGTERM), (os.killpg, signal.SIGINT)]
)
def test_what_is_interrupted_leaves_nothing(
    sandbox: Sandbox, tmp_path: Path, send: Callable[[int, int], None], number: int
) -> None:
    """While a candidate is exercised, which another process does than the one that is told."""
    sandbox.mount()
    argv = [*sandbox.inside, "env", f"TMPDIR={tmp_path}", sys.executable, "-c", _AT_ONCE]
    argv += ["check", "--deep", "arm64", "--qemu", QEMU]
    with subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        while not list(tmp_path.glob("*/scratch/*")):
            assert running.poll() is None
            time.sleep(0.01)
        send(running.pid, number)
        _, said = running.communicate()
    assert running.returncode == 128 + number
    assert len(said.splitlines()) == 1, said
    assert not list(tmp_path.iterdir())


def test_nothing_runs_on_when_the_tool_is_killed_at_the_very_start(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    """Whatever lives in there holds the lock of its folder."""
    sandbox.mount()
    driver = f"""
import time
from binfmt_setup.workout import sandbox
def slowly(root, programs):
    open(root + "/scratch/here", "w").close()
    time.sleep(60)
sandbox.furnish = slowly
{_AT_ONCE}"""
    argv = [*sandbox.inside, "env", f"TMPDIR={tmp_path}", sys.executable, "-c", driver]
    with subprocess.Popen([*argv, "check", "--deep", "arm64", "--qemu", QEMU]) as running:
        while not (found := list(tmp_path.glob("*/scratch/here"))):
            assert running.poll() is None
            time.sleep(0.01)
        running.kill()
    held = os.open(found[0].parent.parent, os.O_RDONLY)
    end = time.monotonic() + 5
    while not locks.taken(held):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.close(held)


@pytest.mark.parametrize("source", [(), ("--qemu", QEMU)])
def test_who_may_have_no_namespaces_is_told(
    sandbox: Sandbox, tmp_path: Path, source: tuple[str, ...]
) -> None:
    """An ordinary user where no namespaces may be made: what was not run is said."""
    sandbox.mount()
    assert sandbox.tool("install", "arm64", "--private", "--no-persist").returncode == 0
    words = shlex.join(["check", "--deep", "arm64", *source, "--format", "json"])
    done = sandbox.sh(
        f"echo 0 > /proc/sys/user/max_user_namespaces && TMPDIR={tmp_path} exec "
        f"setpriv --bounding-set=-all --inh-caps=-all {sys.executable} -m binfmt_setup {words}"
    )
    found = json.loads(done.stdout)
    assert_fits(found)
    assert done.returncode == (4 if source else 1), done.stdout
    (row,) = rows(found)
    assert row["exercises"] == []
    assert str(row["not_run"]).startswith("no registry" if source else "not even its probe")


def test_an_ordinary_user_compares_candidates_as_well(tmp_path: Path) -> None:
    words = ("check", "--deep", "s390x", "--qemu", QEMU, "--format", "json")
    argv = as_user([sys.executable, "-c", _HASTY, *words])
    done = run(argv, {**os.environ, "TMPDIR": str(tmp_path)})
    (row,) = rows(json.loads(done.stdout))
    assert outcomes(row) == {"heap": "ok", "uname": "ok", "terminal": "ok"}, row["not_run"]
    assert not list(tmp_path.iterdir())


def test_a_new_emulator_is_exercised_before_it_serves(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.mount()
    install = ("install", "arm64", "--private", "--no-persist", "--deep")
    done = deep(sandbox, tmp_path, *install)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "qemu-aarch64" in sandbox.entries()


def test_one_that_fails_at_what_all_need_never_serves(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.mount()
    needed = _DRIVER.replace(
        "exercises.LEVELS", "exercises.VITAL = {'spawn-error'}\nexercises.LEVELS"
    )
    words = [
        sys.executable,
        "-c",
        needed,
        "install",
        "arm64",
        "--private",
        "--no-persist",
        "--deep",
    ]
    done = sandbox.run("env", f"TMPDIR={tmp_path}", *words)
    assert done.returncode == 4, done.stdout + done.stderr
    assert "fails at spawn-error" in " ".join(done.stdout.split())
    assert sandbox.entries() == {}
