"""deploy/ci: what the action takes, that nothing slips into its shell, and the page that shows it.

scripts/validate-ci validates the files against the schemas of their systems; the steps are run in
tests/engines and tests/root.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests import ci
from tests.own_namespace import TOP

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (TOP / "docs/ci.md").read_text(encoding="utf-8")
# docker/setup-qemu-action's, as of its version 4.
THEIRS = {"image", "platforms", "reset", "cache-image"}
RECIPES = pytest.mark.parametrize("path", sorted(ci.RECIPES.iterdir()), ids=lambda path: path.name)


def shellcheck(script: str) -> str:
    program = shutil.which("shellcheck")
    if not program:
        pytest.skip("shellcheck is not installed")
    words = (program, "--shell=sh", "-")
    return subprocess.run(words, input=script, capture_output=True, text=True, check=False).stdout


def test_it_takes_the_place_of_setup_qemu_action() -> None:
    action = ci.action()
    assert action["inputs"].keys() - THEIRS == {"qemu-version", "check", "deep"}
    assert action["inputs"].keys() > THEIRS
    assert list(action["outputs"]) == ["platforms"]
    for name, given in action["inputs"].items():
        default = f"`{given['default']}`" if given["default"] else ""
        assert f"| `{name}` | {default} |" in PAGE


def test_what_a_user_gives_is_no_part_of_a_script() -> None:
    for step in ci.action()["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", f"none@{'0' * 40}"))


@RECIPES
def test_the_page_shows_the_recipe_as_it_is(path: Path) -> None:
    blocks = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert path.read_text(encoding="utf-8") in blocks


@RECIPES
def test_its_shell_is_sound(path: Path) -> None:
    assert ci.recipe_runs(path.name)
    for run in ci.recipe_runs(path.name):
        assert shellcheck(run.script) == ""


def test_the_script_of_the_action_is_sound() -> None:
    assert shellcheck((ci.FOLDER / "action.sh").read_text(encoding="utf-8")) == ""
