"""The recipes for images: those of the page are those in deploy/images, and are understood.

scripts/try-images makes images with them and boots those.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from binfmt_setup.cli.reader import read
from binfmt_setup.cli.table import COMMANDS
from binfmt_setup.model.wish_list import parse_wish_list

TOP = Path(__file__).resolve().parents[2]
RECIPES = sorted(p for p in (TOP / "deploy/images").iterdir() if p.suffix != ".py")
PAGE = (TOP / "docs/images.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_the_page_shows_the_recipe_as_it_is(path: Path) -> None:
    blocks = re.findall(r"^```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert path.read_text(encoding="utf-8") in blocks


def commands() -> list[str]:
    """Every command line of the tool in the page, however it is written there."""
    lines = re.findall(r"binfmt-setup ((?:install|check|uninstall) [^\"'\n`]*)", PAGE)
    lines += [" ".join(row.split(", ")) for row in re.findall(r"\[binfmt-setup, (.*)\]", PAGE)]
    return [f"{line}x" if line.endswith("--root ") else line for line in lines]


def test_every_command_is_understood() -> None:
    assert len(commands()) >= 9
    assert [line for line in commands() if read(shlex.split(line), COMMANDS) is None] == []


def test_the_script_for_mkosi_is_sound() -> None:
    shellcheck = shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck is not installed")
    subprocess.run([shellcheck, TOP / "deploy/images/mkosi.finalize"], check=True)
    assert (TOP / "deploy/images/mkosi.finalize").stat().st_mode & 0o111 == 0o111


def test_the_wish_list_of_the_cloud_is_one() -> None:
    text = (TOP / "deploy/images/cloud-init.yaml").read_text(encoding="utf-8")
    content = re.search(r"content: \|\n((?:      .*\n)+)", text)
    assert content
    wish = parse_wish_list(content[1].replace("      ", ""), "cloud-init.yaml")
    assert wish.platforms == ("linux/arm64",)
