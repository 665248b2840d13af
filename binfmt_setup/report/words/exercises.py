"""Who meets what each exercise does, in words, and where it was reported or changed.

They lie in data/exercises.txt, a line each: the exercise, who meets it when it fails, and the
report or the change in QEMU: what once was wrong in it, or since when it is there.
"""

from __future__ import annotations

from functools import cache

from binfmt_setup.system import packaged


@cache
def _rows() -> dict[str, tuple[str, str]]:
    rows = (
        line.split(" | ")
        for line in packaged.content("data", "exercises.txt").decode().splitlines()
    )
    return {name: (who, report) for name, who, report in rows}


def meaning(exercise: str) -> str:
    """Who meets it when this exercise fails, or is refused."""
    return _rows().get(exercise, ("", ""))[0]


def reported(exercise: str) -> str:
    """Where it was reported or changed."""
    return _rows().get(exercise, ("", ""))[1]
