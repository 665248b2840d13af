"""docs/engines.md names every finding, error and variable that the code knows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from binfmt_setup.engines.interface import ENGINES, engine_named

TOP = Path(__file__).resolve().parents[2]
TEXT = (TOP / "docs" / "engines.md").read_text()
PASSED_VARIABLES = sorted({word for name in ENGINES for word in engine_named(name).variables})


def codes() -> set[str]:
    found: set[str] = set()
    for module in (TOP / "binfmt_setup" / "engines").glob("*.py"):
        source = module.read_text()
        found |= set(re.findall(r'\bcode ?= ?"([a-z-]+)"', source))
    return found


def test_there_are_codes_to_look_for() -> None:
    assert {"engine-missing", "builder-stale", "engine-own-registry", "engine-timeout"} <= codes()


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_code_is_explained(code: str) -> None:
    assert f"`{code}`" in TEXT


@pytest.mark.parametrize("name", PASSED_VARIABLES)
def test_every_variable_that_is_passed_is_named(name: str) -> None:
    assert f"`{name}`" in TEXT


def test_every_command_is_run_by_a_test() -> None:
    """As it stands on the page, with a real engine."""
    lines = set(re.findall(r"^    (?:\$ )?binfmt-setup check (.+)$", TEXT, re.MULTILINE))
    run = "".join(path.read_text() for path in (TOP / "tests/engines").glob("test_*.py"))
    assert len(lines) == 4
    assert [line for line in lines if f'"check {line}"' not in run] == []
