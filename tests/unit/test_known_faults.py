"""The table of what is known to fail with a version of QEMU, and how it is made of answers."""

from __future__ import annotations

import re

import pytest

import qemu_quality
from binfmt_setup.system import packaged
from binfmt_setup.system.probes import available
from binfmt_setup.workout.exercises import VITAL, exercises_of
from binfmt_setup.workout.known_faults import HOST, known_faults

ROWS = [
    row.split()
    for row in packaged.content("data", "known-faults.txt").decode().splitlines()
    if not row.startswith("#")
]


@pytest.mark.parametrize("row", ROWS, ids=" ".join)
def test_each_line_names_a_series_an_exercise_and_programs(row: list[str]) -> None:
    series, exercise, *programs = row
    assert re.fullmatch(r"\d+\.\d+", series)
    assert programs
    for program in programs:
        assert available(program)
        assert exercise in exercises_of(program)


def test_a_line_counts_for_its_series_its_programs_and_its_host() -> None:
    series, exercise, program, *_ = ROWS[0]
    for version in (f"{series}.99 (Debian x)", f"{series}.0", series):
        assert exercise in known_faults(version, program, HOST)
    assert known_faults(f"{series}.99", program, "aarch64") == ()
    assert known_faults("99.9.1", program, HOST) == ()
    assert known_faults("", program, HOST) == ()


def test_what_ordinary_programs_need_comes_first() -> None:
    for series, program in {(series, program) for series, _, *all_ in ROWS for program in all_}:
        found = [name in VITAL for name in known_faults(series, program, HOST)]
        assert found == sorted(found, reverse=True)


def emulators(version: str, **outcomes: str) -> qemu_quality.Emulators:
    one = qemu_quality.Emulators("Debian")
    exercises: list[qemu_quality.Exercise] = [
        {"name": name.replace("_", "-"), "outcome": what} for name, what in outcomes.items()
    ]
    one.add([{"platform": "linux/arm64", "version": version, "not_run": "",
              "exercises": exercises}])  # fmt: skip
    return one


def test_only_what_fails_with_every_version_of_a_series_gets_into_the_table() -> None:
    found = [
        emulators("7.2.1", heap="fail", mprotect="fail", memfd="unsupported", epoll="fail"),
        emulators("7.2.22", heap="fail", mprotect="ok", memfd="unsupported", epoll="fail"),
        emulators("10.0.2", heap="ok", mprotect="varies", epoll="fail"),
    ]
    rows = [row for row in qemu_quality.faults(found).splitlines() if not row.startswith("#")]
    assert rows == ["7.2 heap aarch64"]


def test_an_answer_that_differs_between_rounds_is_told() -> None:
    one = emulators("7.2.1", heap="ok")
    one.add([{"platform": "linux/arm64", "version": "7.2.1", "not_run": "",
              "exercises": [{"name": "heap", "outcome": "fail"}]}])  # fmt: skip
    page = qemu_quality.document([one], "linux/amd64")
    assert "| 7.2.1 | Debian | 2 (1 of them) | heap |" in page
