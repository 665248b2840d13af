"""A crowd, garbage, limits, closed streams, signals: a part of what scripts/soak does."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests import fault_points, hardships

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.hardships import Hardship

HARDSHIPS: dict[str, Callable[[], Hardship]] = {
    "a crowd": lambda: hardships.at_once(1, 6),
    "many entries": lambda: hardships.crowded(300),
    "garbage": lambda: hardships.garbage(24),
    "limits": lambda: hardships.limited(22),
    "streams": lambda: hardships.closed(11),
    "starved": lambda: hardships.starved(800),
}


@pytest.mark.parametrize("name", HARDSHIPS)
def test_nothing_is_wrong(system: object, name: str) -> None:
    """The fixture tells whether this machine allows such namespaces."""
    assert system
    if name == "starved" and not shutil.which("strace"):
        pytest.skip("strace is not installed")
    found = HARDSHIPS[name]()
    assert found.points
    assert found.wrong == []


def test_a_signal_at_any_moment_of_a_replacement(system: object, emulators: Path) -> None:
    assert system
    scenario = next(one for one in fault_points.scenarios(emulators) if one.name == "a replacement")
    found = hardships.signalled(scenario, 4)
    assert found.points
    assert found.wrong == []
