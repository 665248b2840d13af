"""Killed, ended or refused at any moment: the next install is right, and leaves nothing.

A bounded form of scripts/soak: some of the points of each scenario, the same in every run.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import fault_points
from tests.fault_points import Lab, Outcome, Point

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

KILLED = ("signal=KILL", "signal=TERM")
NAMES = ("fresh", "replace", "take over", "uninstall, puts back")
MOST = 4
"""Points of each scenario; scripts/soak takes all of them."""


@pytest.fixture
def lab(system: Sandbox) -> Lab:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    return Lab(system)


def some(points: list[Point]) -> list[Point]:
    """Those that write to the registry first of all: there the order matters most."""
    kernel = [p for p in points if p.call == "write" and "binfmt_misc" in p.about]
    others = [p for p in points if p not in kernel and p.call != "openat"]
    step = max(1, len(others) // 2)
    return [*kernel, *others[::step]][: MOST + 1]


def entries_left(found: Outcome) -> list[str]:
    return [name for name in found.left.split() if not name.startswith("/")]


@pytest.mark.parametrize("name", NAMES)
def test_killed_at_any_moment_the_next_run_is_right(lab: Lab, emulators: Path, name: str) -> None:
    scenario = next(s for s in fault_points.scenarios(emulators) if s.name == name)
    points = some(lab.points(scenario))
    assert points
    for number, point in enumerate(points):
        found = lab.disturb(scenario, point, KILLED[number % 2])
        assert (found.wrong, entries_left(found), found.changed_again) == ("", [], False), found
        assert found.status != 0, found
        assert not found.traceback, found.said


@pytest.mark.parametrize("error", ["ENOSPC", "EROFS"])
def test_a_file_that_cannot_be_written_is_told(lab: Lab, emulators: Path, error: str) -> None:
    scenario = next(s for s in fault_points.scenarios(emulators) if s.name == "fresh")
    point = next(p for p in lab.points(scenario) if p.call.startswith("rename"))
    found = lab.disturb(scenario, point, f"error={error}")
    assert (found.wrong, entries_left(found), found.changed_again) == ("", [], False), found
    assert found.status == 4, found.said
    assert "--no-persist" in found.said
    assert "does not work: linux/arm64" in found.said
