"""Stand-in clones, with and without what scripts/bootstrap makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.own_folder import own_folder
from tests.stand_in_clone import Clone, make_clone

if TYPE_CHECKING:
    from collections.abc import Iterator


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
