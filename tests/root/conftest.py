"""Stand-in clones, with and without what scripts/bootstrap makes of them; root and a stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.many_users import ManyUsers, many_users
from tests.own_folder import own_folder
from tests.own_namespace import copy_for_everybody, folder_for_everybody
from tests.stand_in_clone import Clone, make_clone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def clone() -> Iterator[Clone]:
    """Return a clone of which nothing is installed."""
    with own_folder() as folder:
        yield make_clone(folder)


@pytest.fixture(scope="session")
def installed() -> Iterator[Clone]:
    """Return a clone that is installed; each test leaves it so."""
    with own_folder() as folder:
        clone = make_clone(folder)
        done = clone.run("first")
        assert done.returncode == 0, done.stderr
        yield clone


@pytest.fixture(scope="session")
def for_everybody() -> Iterator[Path]:
    """Return a folder that every user can reach, with the tool in `libraries`."""
    with folder_for_everybody() as folder:
        copy_for_everybody(folder / "libraries")
        yield folder


@pytest.fixture
def users(for_everybody: Path) -> Iterator[ManyUsers]:
    """Return a user namespace with many users, for one test."""
    with many_users(for_everybody / "libraries") as inside:
        yield inside
