"""Each recipe of CONTRIBUTING.md, followed and with a step left out.

Followed, the tests that it names are green; else they are red and say what is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.recipes import RECIPES, TOP, Recipe, Tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_python

PARTS = ("binfmt_setup", "docs", "scripts", "systemd", "tests")
# Without conftest.py: what it makes is for tests that look at a host.
OPTIONS = ("-qx", "--noconftest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
# Of the tests those about the new thing, and those that look whether all are complete.
ABOUT = "dummy or every or each or folder or documentation"
TRY_ALL = """
import os, sys
import pytest, jsonschema, elftools.elf.elffile, xml.etree.ElementTree
options, folders = sys.argv[1].split("\\t"), sys.argv[2:]
for folder in folders:
    if not (pid := os.fork()):
        os.chdir(folder)
        os.dup2(os.open("told", os.O_WRONLY | os.O_CREAT), 1)
        status = pytest.main(options)
        sys.stdout.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""Runs tests in several trees; what they all import is imported once."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources from which others can be made by links."""
    top = tmp_path_factory.mktemp("sources")
    for part in PARTS:
        shutil.copytree(TOP / part, top / part)
    for path in (*TOP.glob("*.md"), TOP / "pyproject.toml"):
        shutil.copy(path, top)
    return top


def followed(recipe: Recipe, source: Path, tree: Path, left_out: int | None = None) -> Path:
    """A tree in which all steps were done, but for one."""
    shutil.copytree(source, tree, copy_function=os.link)
    for number, step in enumerate(recipe.steps):
        if number != left_out:
            step.done(Tree(tree))
    return tree


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.section)
def test_the_text_has_these_steps_and_tests(recipe: Recipe) -> None:
    said = recipe.numbered()
    assert len(said) == len(recipe.steps)
    for text, step in zip(said, recipe.steps, strict=True):
        assert step.words in text
    for path in re.findall(r"`([a-z_]+/[a-z_/]+(?:\.\w+)?)`", recipe.text()):
        assert (TOP / path).exists(), path
    assert set(re.findall(r"tests/unit/test_\w+\.py", recipe.text())) >= set(recipe.tests)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.section)
def test_followed_it_is_green_and_with_a_step_left_out_it_says_which(
    recipe: Recipe, copy: Path, tmp_path: Path
) -> None:
    if not shutil.which(recipe.program):
        pytest.skip(f"{recipe.program} is not installed")
    left_out = (None, *range(len(recipe.steps)))
    trees = [followed(recipe, copy, tmp_path / str(number), number) for number in left_out]
    done = subprocess.run(
        [sys.executable, "-c", TRY_ALL, "\t".join([*OPTIONS, "-k", ABOUT, *recipe.tests]), *trees],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = [(tree / "told").read_text() for tree in trees]
    assert done.stdout.split()[0] == "0", told[0]
    for status, text, step in zip(done.stdout.split()[1:], told[1:], recipe.steps, strict=True):
        assert status in ("1", "2"), step.words
        assert step.missed in text, text
