"""The Ansible collection: what it says to the tool is understood, and what it promises is there."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from binfmt_setup import __version__
from binfmt_setup.cli.reader import read
from binfmt_setup.cli.table import COMMANDS
from tests.collection import COLLECTION, NOTHING, TOP, tool

SCHEMA = json.loads((TOP / "binfmt_setup/data/schema.json").read_text(encoding="utf-8"))
TOOL = tool()
VALUES = {
    "platforms": (None, ["linux/arm64", "arm/v7"]), "credentials": (None, True, False),
    "persist": (True, False), "keep": (None, True, False),
    "qemu": (None, "/q"), "config": (None, "/c"),
    "strict": (True, False), "force": (True, False),
}  # fmt: skip
WISHES = [
    NOTHING | dict(zip(VALUES, row, strict=True)) for row in itertools.product(*VALUES.values())
]


@pytest.mark.parametrize("words", ["install_words", "uninstall_words"])
@pytest.mark.parametrize("check", [True, False])
def test_every_command_line_is_understood(words: str, *, check: bool) -> None:
    for wish in WISHES:
        line = getattr(TOOL, words)(wish, check=check)
        assert read(line, COMMANDS) is not None, line


def test_every_question_is_understood() -> None:
    for wish in WISHES:
        assert read(TOOL.check_words(wish), COMMANDS) is not None


def test_the_schema_is_the_one_that_it_reads() -> None:
    assert SCHEMA["properties"]["schema_version"]["const"] == TOOL.SCHEMA_VERSION
    assert set(TOOL.KEPT) <= set(SCHEMA["required"])


def documented(module: str, value: str) -> set[str]:
    """The parts that a module's RETURN says a value has."""
    text = (COLLECTION / f"plugins/modules/{module}.py").read_text(encoding="utf-8")
    returned = re.search(r'RETURN = r"""(.*?)"""', text, re.DOTALL)
    assert returned
    part = re.search(rf"^{value}:\n(.*?)(?=^\w|\Z)", returned[1], re.MULTILINE | re.DOTALL)
    assert part
    return set(re.findall(r"^    (\w+):$", part[1].partition("  sample:")[0], re.MULTILINE))


@pytest.mark.parametrize("module", ["binfmt", "binfmt_info"])
def test_a_platform_has_the_parts_that_are_documented(module: str) -> None:
    assert documented(module, "platforms") == set(SCHEMA["$defs"]["platform"]["required"])


def test_a_step_has_the_parts_that_are_documented() -> None:
    assert documented("binfmt", "actions") == set(SCHEMA["$defs"]["action"]["required"])
    assert documented("binfmt_info", "entries") <= set(SCHEMA["$defs"]["entry"]["required"])


def test_it_has_the_version_of_the_tool() -> None:
    galaxy = (COLLECTION / "galaxy.yml").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.+)$", galaxy, re.MULTILINE) == [__version__]


def test_modules_carry_the_licence_that_ansible_wants_and_the_rest_this_projects() -> None:
    for path in COLLECTION.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        gpl = path.parent.name in {"modules", "doc_fragments"} and "unit" not in path.parts
        wanted = "GPL-3.0-or-later" if gpl else "MIT"
        assert f"SPDX-License-Identifier: {wanted}\n" in text, path
        assert ("GNU General Public License v3.0+" in text) == gpl, path
    assert (COLLECTION / "LICENSES/MIT.txt").read_bytes() == (TOP / "LICENSE").read_bytes()
