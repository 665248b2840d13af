"""Hundreds of real files, executed and explained: the kernel and explain say the same of each."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.own_namespace import in_namespace

GUIDE = Path(__file__).parents[2] / "docs" / "explain.md"
AT_LEAST = 500


class Row(NamedTuple):
    """A file: what execve and the program said, and what explain says."""

    kind: str
    about: str
    path: str
    errno: str
    status: int
    told_errno: str
    told_runs: bool
    why: str

    @property
    def agrees(self) -> bool:
        """The same errno, and success where success was foretold."""
        really = self.errno == "" and self.status == 0
        return self.errno == self.told_errno and self.told_runs == really


def rows_of(folder: Path, emulators: Path, *words: str) -> list[Row]:
    """Make, execute and explain all files, in one process of a private namespace."""
    driver = (sys.executable, "-m", "tests.sandbox.kinds_driver")
    done = in_namespace([*driver, folder, emulators, *words])
    assert done.returncode == 0, done.stderr
    return [Row(*row) for row in json.loads(done.stdout)]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the files are made for amd64")
def test_explain_says_of_every_file_what_becomes_of_it(tmp_path: Path, qemu: Path) -> None:
    rows = rows_of(tmp_path, qemu)
    assert [row for row in rows if not row.agrees] == []
    assert len(rows) > AT_LEAST
    section = GUIDE.read_text().partition("## Kinds of files")[2].partition("\n## ")[0]
    table = re.findall(r"^\| (.+?) \| .+ \|$", section, re.MULTILINE)
    assert set(table[1:]) - {"---"} == {row.kind for row in rows}
    assert {row.errno for row in rows} >= {
        "", "EACCES", "EIO", "ELIBBAD", "ELOOP", "ENOENT", "ENOEXEC", "ENOTDIR",
    }  # fmt: skip
