"""Completion: generated from what is declared, and tried in real shells, on a terminal."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

import completions
import declared
from binfmt_setup.commands.completion import SHELLS, completion_for
from binfmt_setup.model.errors import UsageProblem
from tests.shells import completed

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.one_python

# A line, words that complete it, and words that do not.
LINES = [
    ("", "install check status explain uninstall unit run completion", "--version"),
    ("ch", "check", "install"),
    ("--v", "--version", "--verbose"),
    ("check --f", "--format", "--root"),
    ("check --format j", "json junit", "github"),
    ("status --format j", "json", "junit"),
    ("check --format=ju", "junit", "json"),
    ("install linux/arm", "linux/arm64 linux/arm/v7", "linux/s390x arm64"),
    ("install arm6", "arm64 arm64v8", "linux/arm64"),
    ("check linux/arm64 ppc64e", "ppc64el", ""),
    ("check --engine do", "docker", "podman"),
    ("check --engine docker,p", "docker,podman", "podman"),
    ("explain fi", "fi+le file", "folder"),
    ("install --root f", "folder", "file"),
    ("install --qemu fi", "file", "folder"),
    ("install --qemu-sha256 ", "", "file linux/arm64"),
    ("uninstall --fo", "--force", "--hold"),
    ("run -P linux/s3", "linux/s390x", ""),
    ("run --map-users ", "auto one current", ""),
    ("run --ma", "--map-users --map-root", ""),
    ("run mkte", "mktemp", "file"),
    ("run -P arm64 mkte", "mktemp", "file"),
    ("run cat fi", "file", "find"),
    ("run -- cat fi", "file", "find"),
    ("run -P arm64 -- cat fi", "file", "find"),
    ("completion ", "bash zsh fish", "file"),
]  # fmt: skip


def present(word: str, found: str) -> bool:
    # fish adds a slash to a directory; bash takes an option and its value for two words.
    name = re.escape(word.replace("+", " "))
    return re.search(f"[<=]{name}/?>", found) is not None


@pytest.mark.parametrize("shell", SHELLS)
def test_is_made_from_what_is_declared(shell: str) -> None:
    text = completions.text_for(shell)
    assert text == (completions.FOLDER / shell).read_text(), "run scripts/completions.py"
    assert text == completion_for(shell)
    assert "@" not in text.replace('"$@"', "").replace("[@]", "")


def test_a_word_nobody_has_thought_of_is_refused() -> None:
    word = declared.Word(("--x",), "SOMETHING", "", (), many=False, default="")
    with pytest.raises(KeyError):
        completions.kind_of(word, declared.commands()[0])


def test_other_shells_are_told_which_there_are() -> None:
    with pytest.raises(UsageProblem, match="csh") as told:
        completion_for("csh")
    assert "bash, zsh, fish" in told.value.hint


@pytest.mark.parametrize("shell", ["bash", "plain bash", "zsh", "fish"])
def test_a_real_shell_completes(shell: str, tmp_path: Path) -> None:
    program = shell.rpartition(" ")[2]
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    (tmp_path / "folder").mkdir()
    for name in ("file", "fi le"):
        (tmp_path / name).touch()
    lines = [f"binfmt-setup {line}" for line, _, _ in LINES]
    found = completed(program, lines, tmp_path, library=shell == "bash")
    for (line, there, absent), said in zip(LINES, found, strict=True):
        typed = f"binfmt-setup {line}"
        assert [w for w in there.split() if not present(w, said)] == [], (typed, said)
        assert [w for w in absent.split() if present(w, said)] == [], (typed, said)


def test_every_option_is_completed_in_every_shell() -> None:
    names = {name for c in declared.commands() for word in c.options for name in word.names}
    for shell in SHELLS:
        text = completion_for(shell)
        spelled = {name if shell != "fish" else name.lstrip("-") for name in names}
        assert [name for name in spelled if name not in text] == []
