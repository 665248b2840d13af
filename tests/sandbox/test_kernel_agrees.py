"""The kernel picks the entry that this tool says it picks, and arch-test agrees with `check`.

Bounded; `scripts/kernel-agrees` has the full form of both.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from tests.own_namespace import in_namespace
from tests.sandbox.kernel_driver import ARCHITECTURES, STATES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_python

DRIVER = (sys.executable, "-m", "tests.sandbox.kernel_driver")


def answered(*words: str) -> list[list[object]]:
    """What the driver found out, in a namespace of its own."""
    done = in_namespace([*DRIVER, *words])
    assert done.returncode == 0, done.stderr
    found: list[list[object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_kernel_picks_the_same_entry(tmp_path: Path, seed: str) -> None:
    assert answered("matcher", "500", "60", seed, str(tmp_path)) == []


@pytest.mark.usefixtures("qemu")
def test_arch_test_agrees_in_every_state(tmp_path: Path) -> None:
    if shutil.which("arch-test") is None:
        pytest.skip("arch-test is not installed")
    rows = answered("states", str(tmp_path))
    assert len(rows) == len(STATES) * len(ARCHITECTURES)
    assert [row for row in rows if row[2] != row[3]] == []
    assert {state for state, _, ok, _ in rows if ok} == {"right", "a good one in front"}
