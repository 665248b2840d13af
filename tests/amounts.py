"""How many cases a test tries: some in each run of the tests, all with `pytest --long`.

For tests that go through a product of cases or through moments of a run, where neighbours are
nearly alike. `scripts/test --long` runs them so.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LONG = False
"""Set by tests/conftest.py before it looks for tests."""


def pairs_and_one_of(*kinds: Iterable[object]) -> list[tuple[object, ...]]:
    """Every combination in the long form; else each pair of the others with one of the last kind.

    The last kind takes turns, so that each of it meets each of the others as well.
    """
    *others, last = (list(kind) for kind in kinds)
    if LONG:
        return list(product(*others, last))
    turns = ((sum(at), chosen) for at, chosen in _numbered(others))
    return [(*chosen, last[turn % len(last)]) for turn, chosen in turns]


def _numbered(kinds: list[list[object]]) -> Iterable[tuple[tuple[int, ...], tuple[object, ...]]]:
    """Every combination, with the positions of what is in it."""
    return zip(product(*(range(len(kind)) for kind in kinds)), product(*kinds), strict=True)


def steps(long: int, short: int) -> int:
    """A number of steps to go through something in."""
    return long if LONG else short
