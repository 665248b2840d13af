"""The workout: its programs, what becomes of exercises, and the verdict beside the control."""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.targets import TARGETS
from binfmt_setup.report.words import exercises as words
from binfmt_setup.system import scratch
from binfmt_setup.workout import exercises, programs, stage
from binfmt_setup.workout.judging import best, judged, speed_factors, unfit
from binfmt_setup.workout.results import Done, Judged, Session, WorkoutReport
from binfmt_setup.workout.stage import LIST, Task, answer_of
from tests.own_namespace import TOP

FOLDER = TOP / "binfmt_setup" / "data" / "workout"
PACKED = sorted(FOLDER.glob("*.xz"))
MOST_BYTES = 800 * 1024
NATIVE = os.uname().machine


def test_programs_are_those_of_the_checksums_and_small() -> None:
    lines = (FOLDER / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {p.stem: hashlib.sha256(lzma.decompress(p.read_bytes())).hexdigest() for p in PACKED}
    assert found == listed
    assert sum(path.stat().st_size for path in PACKED) < MOST_BYTES


def test_each_program_is_one_of_a_probe_and_all_container_platforms_have_one() -> None:
    probes = {platform.probe for target in TARGETS for platform in target.platforms}
    names = {path.stem.removesuffix("-pie") for path in PACKED}
    assert names <= probes
    assert {p.stem.removesuffix("-pie") for p in PACKED if p.stem.endswith("-pie")} == set(
        exercises.WITH_PIE
    )
    assert {"aarch64", "arm-v6", "arm-v7", "ppc64le", "riscv64", "s390x", "loongarch64"} <= names


def test_the_catalogue_names_what_the_program_has(tmp_path: Path) -> None:
    name = {"x86_64": "x86_64", "aarch64": "aarch64"}.get(NATIVE)
    if name is None:
        pytest.skip("the workout of this machine's architecture is not known here")
    program = tmp_path / "workout"
    program.write_bytes(lzma.decompress((FOLDER / f"{name}.xz").read_bytes()))
    program.chmod(0o755)
    said = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout
    known = {*exercises.exercises_of(name), *(f"speed-{kind}" for kind in exercises.SPEEDS)}
    assert set(said.split()) == known - set(exercises.PIE)


def test_every_exercise_says_who_meets_it_and_names_its_reports() -> None:
    names = {each for name in (p.stem for p in PACKED) for each in exercises.exercises_of(name)}
    assert not [name for name in names if not words.meaning(name)]
    assert names >= exercises.VITAL
    named = re.compile(r"[\w-]+#\d|Launchpad \d|bug \d|issue \d|QEMU .|Linux\b")
    assert not [name for name in names if not named.search(words.reported(name))]


@pytest.mark.parametrize(
    ("text", "status", "answer"),
    [
        ("heap ok\n", 0, ("ok", "")),
        ("heap fail too little: 5\n", 0, ("fail", "too little: 5")),
        ("qemu: something\nheap unsupported x: ENOSYS\n", 0, ("unsupported", "x: ENOSYS")),
        ("heap ok\n", None, ("ok", "")),
        ("", None, ("fail", "no end within 10 s")),
        ("", 11, ("fail", "killed by SIGSEGV")),
        ("", 40, ("fail", "killed by signal 40")),
        ("oops\n", 256, ("fail", "exit status 1: oops")),
        ("heap perhaps\n", 0, ("fail", "exit status 0: heap perhaps")),
        ("other ok\n", 0, ("fail", "exit status 0: other ok")),
    ],
)
def test_what_an_exercise_said(text: str, status: int | None, answer: tuple[str, str]) -> None:
    assert answer_of("heap", text, status) == answer


@pytest.mark.parametrize(
    ("status", "answer"), [(0, "ok"), (256, "fail"), (11, "fail"), (None, "fail")]
)
def test_a_program_that_names_its_exercises_works(status: int | None, answer: str) -> None:
    assert answer_of(LIST, "heap\nthreads\n", status)[0] == answer


@pytest.mark.parametrize(
    ("exercise", "answers"),
    [
        ("heap", "ok"),
        ("heap", "unsupported"),
        ("heap", "fail ok"),  # a busy machine
        ("heap", "fail fail fail"),
        ("heap", "hang hang"),
        ("heap-pie", "ok " * 7 + "fail"),  # once is enough
        ("heap-pie", "ok hang " * 99 + "ok"),  # but not because a machine stood still
        ("signal-counter", "fail ok fail fail fail fail"),  # QEMU 5.2, more than 97 of 100 times
        ("signal-counter", "ok fail ok ok ok ok"),
        ("signal-counter", "unsupported"),
    ],
)
def test_an_answer_counts_when_it_came_often_enough(exercise: str, answers: str) -> None:
    task = Task("aarch64", exercise)
    sure = []
    for answer in answers.split():
        task.hear(answer)
        sure.append(task.is_sure)
    assert sure == [*[False] * (len(sure) - 1), True]


def test_one_that_is_never_silent_does_not_keep_the_others_waiting() -> None:
    endless = os.open("/dev/zero", os.O_RDONLY)
    runner = stage._Runner(stage.Job("/", (), frozenset(), measure=False), -1, [])
    runner._hear(stage._Running(Task("aarch64", "heap"), os.getpid(), endless, ""))
    os.close(endless)


CONTROL = Session(
    "x86_64",
    (
        Done("heap", "ok"), Done("terminal", "unsupported", "no /dev/ptmx"), Done("xattr", "ok"),
        Done("speed-integers", "ok", "microseconds: 100"),
        Done("speed-floats", "ok", "microseconds: 10"),
    ),
)  # fmt: skip


def test_the_native_run_is_the_control() -> None:
    session = Session(
        "aarch64",
        (
            Done("heap", "fail", "x"), Done("terminal", "fail", "y"),
            Done("xattr", "unsupported", "z"), Done("level-neon", "fail", "killed by SIGILL"),
            Done("speed-integers", "ok", "microseconds: 420"), Done("speed-floats", "fail", "no"),
        ),
    )  # fmt: skip
    found = judged(session, CONTROL)
    assert [(each.exercise, each.outcome) for each in found] == [
        ("heap", "fail"), ("terminal", "host"), ("xattr", "unsupported"), ("level-neon", "fail"),
    ]  # fmt: skip
    assert dict(speed_factors(session, CONTROL)) == {"integers": 4.2}


def test_a_control_that_never_ran_excuses_nothing() -> None:
    broken = Session(
        "x86_64", tuple(Done(done.exercise, "fail", "no start") for done in CONTROL.done)
    )
    found = judged(Session("aarch64", (Done("terminal", "fail", "SIGSEGV"),)), broken)
    assert [(each.outcome, each.native) for each in found] == [("fail", "")]


def report(source: str, *failing: str, fine: str = "", not_run: str = "") -> WorkoutReport:
    bad = tuple(Judged(name, "fail") for name in failing)
    good = tuple(Judged(name, "ok") for name in fine.split())
    return WorkoutReport(
        "linux/arm64", "aarch64", source=source, judged=bad + good, not_run=not_run
    )


def test_the_best_of_several_fails_least_and_at_nothing_that_all_need() -> None:
    vital, two, three = report("a", "heap"), report("b", "rseq", "vdso"), report("c", "a", "b", "c")
    dead = report("d", not_run="no emulator")
    assert best([vital, two, three, dead]) is two
    assert best([vital, three]) is three
    assert best([dead]) is None


def test_what_keeps_an_emulator_from_serving() -> None:
    assert unfit(report("a", "spawn-error", "heap"), None) == ("heap",)
    serving = report("b", "spawn-error", fine="xattr")
    assert unfit(report("a", "spawn-error", "xattr"), serving) == ("xattr",)


def test_no_place_for_it(tmp_path: Path) -> None:
    gone = str(tmp_path / "none")
    with pytest.raises(EnvironmentUnfit) as stopped:  # noqa: SIM117 - the first is what is tested
        with programs.laid_out(["aarch64"], {"TMPDIR": gone}):
            pass
    assert stopped.value.code == "no-scratch"
    assert gone in stopped.value.message


def test_a_place_may_be_named_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is run in there changes its directory."""
    monkeypatch.chdir(tmp_path)
    with programs.laid_out(["aarch64"], {"TMPDIR": "."}) as root:
        assert root.startswith(f"{tmp_path}/")
    monkeypatch.chdir("/")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(EnvironmentUnfit):  # noqa: SIM117 - the first is what is tested
        with programs.laid_out(["aarch64"], {"TMPDIR": "."}):
            pass


def test_what_was_laid_out_is_gone_afterwards(tmp_path: Path) -> None:
    with programs.laid_out(["aarch64"], {"TMPDIR": str(tmp_path)}) as root:
        names = {path.name for path in Path(root).iterdir()}
        assert names == {
            "aarch64", "aarch64-pie", "scratch", "proc", "dev", "other", "overlay", "layers",
            "tmp",
        }  # fmt: skip
    assert not list(tmp_path.iterdir())


LAYS_OUT = """
import os, sys
from binfmt_setup.system.scratch import locked_folder
with locked_folder(sys.argv[1]) as where:
    open(where + "/file", "w").close()
    print(where, flush=True)
    sys.stdin.read()
"""


IS_TOLD_TO_END = """
import os, shutil, signal, sys, tempfile
from binfmt_setup.cli import signals
from binfmt_setup.system.scratch import locked_folder
def told(function):
    def then(*words, **more):
        done = function(*words, **more)
        os.kill(os.getpid(), signal.SIGTERM)
        return done
    return then
signals.listen()
if sys.argv[2] == "made":
    tempfile.mkdtemp = told(tempfile.mkdtemp)
else:
    os.unlink = told(os.unlink)
with locked_folder(sys.argv[1]) as where:
    open(where + "/file", "w").close()
"""


@pytest.mark.parametrize("when", ["made", "removed"])
def test_who_is_told_to_end_while_a_folder_is_made_or_removed_leaves_none(
    tmp_path: Path, when: str
) -> None:
    argv = [sys.executable, "-c", IS_TOLD_TO_END, str(tmp_path), when]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Ended: 15" in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_goes_with_the_next_one_and_nothing_else(tmp_path: Path) -> None:
    theirs = tmp_path / ".binfmt-setup-notes"
    theirs.mkdir()
    argv = [sys.executable, "-c", LAYS_OUT, str(tmp_path)]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as killed,
        subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as running,
    ):
        left, used = (
            Path(one.stdout.readline().strip()) for one in (killed, running) if one.stdout
        )
        killed.kill()
        killed.wait()
        assert left.is_dir()
        with scratch.locked_folder(str(tmp_path)) as own:
            assert set(tmp_path.iterdir()) == {theirs, used, Path(own)}
        running.communicate()
    assert list(tmp_path.iterdir()) == [theirs]
