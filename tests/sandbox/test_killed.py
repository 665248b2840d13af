"""Killed, ended or refused at any moment: the next install is right, and leaves nothing.

A bounded form of scripts/soak: some of the points of each scenario, the same in every run.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import fault_points
from tests.emulator_sources import made_archive
from tests.fault_points import Lab, Point, Scenario

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

KILLED = ("signal=KILL", "signal=TERM")
NAMES = ("install", "a replacement", "install --take-over", "uninstall that puts back")
MOST = 2
"""Points of each scenario; scripts/soak takes all of them."""


@pytest.fixture
def lab(system: Sandbox) -> Lab:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    return Lab(system)


def named(name: str, emulators: Path) -> Scenario:
    return next(s for s in fault_points.scenarios(emulators) if s.name == name)


def some(points: list[Point]) -> list[Point]:
    """Those that write to the registry first of all: there the order matters most."""
    kernel = [p for p in points if p.call == "write" and "binfmt_misc" in p.about]
    others = [p for p in points if p not in kernel and p.call != "openat"]
    step = max(1, len(others) // 2)
    return [*kernel, *others[::step]][: MOST + 1]


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_moment_the_next_run_is_right(lab: Lab, emulators: Path, name: str) -> None:
    scenario = named(name, emulators)
    points = some(lab.points(scenario))
    assert points
    for number, point in enumerate(points):
        found = lab.disturb(scenario, point, KILLED[number % 2])
        assert found.hit, found
        assert found.fine, found
        assert found.status != 0, found


@pytest.mark.parametrize(
    ("name", "call"),
    [("install", "renameat"), ("install", "symlinkat"), ("uninstall", "unlinkat")],
)
def test_no_directory_is_left_half_made(lab: Lab, emulators: Path, name: str, call: str) -> None:
    """A directory comes with its first file, and goes with its last: else it is nobody's."""
    scenario = named(name, emulators)
    point = next(p for p in lab.points(scenario) if p.call == call)
    found = lab.disturb(scenario, point, "signal=KILL")
    assert found.hit, found
    assert found.fine, found


IN_THE_STORE = (
    ("fchmod", "/.lock>, 0600", "signal=KILL"),  # it is not there yet
    ("mkdirat", ".new-", "signal=TERM"),
    ("unlinkat", '".lock"', "signal=KILL"),
)


def test_of_a_store_that_a_killed_run_made_nothing_is_left(lab: Lab, emulators: Path) -> None:
    scenarios = fault_points.scenarios(emulators, made_archive(emulators))
    scenario = next(s for s in scenarios if s.name == "install --qemu ARCHIVE")
    points = lab.points(scenario)
    for call, about, fault in IN_THE_STORE:
        point = next(p for p in points if p.call == call and about in p.about)
        found = lab.disturb(scenario, point, fault)
        assert found.hit, found
        assert found.fine, found


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"])
def test_a_file_that_cannot_be_written_is_told(lab: Lab, emulators: Path, error: str) -> None:
    scenario = named("install", emulators)
    points = lab.points(scenario)
    point = next(p for p in points if p.call == "write" and "/etc/.binfmt-setup" in p.about)
    found = lab.disturb(scenario, point, f"error={error}")
    assert found.fine, found
    assert found.status == 4, found.said
    assert "--no-persist" in found.said
    assert "does not work: linux/arm64" in found.said
