"""The exercise of set-user-ID bits, where there is a second user: with flag C, and without."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.many_users import PYTHON

if TYPE_CHECKING:
    from tests.many_users import ManyUsers

DRIVER = """
from binfmt_setup.workout import exercises
exercises.KINDS = {"processes": "setuid"}
exercises.LEVELS = {}
exercises.SPEEDS = ()
from binfmt_setup.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("flag", "outcome"), [("--credentials", "ok"), ("--no-credentials", "unsupported")]
)
def test_the_bit_counts_with_flag_c_alone(users: ManyUsers, flag: str, outcome: str) -> None:
    done = users.tool("install", "s390x", "--private", "--no-persist", flag)
    assert done.returncode == 0, done.stdout + done.stderr
    words = ("check", "--deep", "s390x", "--format", "json")
    done = users.root(PYTHON, "-c", DRIVER, *words)
    (row,) = json.loads(done.stdout)["workouts"]
    assert row["not_run"] == ""
    (exercise,) = row["exercises"]
    assert (exercise["native"], exercise["outcome"]) == ("ok", outcome), exercise
