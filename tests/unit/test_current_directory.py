"""Modules that somebody planted in the current directory: none of them is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PLANTED = (
    *("typer", "click", "rich", "psutil", "jinja2", "urllib3", "elftools", "json", "hashlib"),
    *("tempfile", "socket", "ssl", "subprocess", "shlex", "ctypes", "dataclasses", "inspect"),
    *("textwrap", "difflib", "signal", "struct", "selectors", "gettext", "tarfile", "lzma"),
)


@pytest.mark.parametrize(
    "command",
    [
        "--version", "--help", "install --help", "nonsense", "status", "status --format json",
        "check arm64 --format json", "check --security", "install --check arm64 --no-persist",
        "explain /bin/sh", "unit arm64", "install --check arm64 --qemu image:127.0.0.1:1/x/y",
    ],
)  # fmt: skip
@pytest.mark.parametrize("more", ["", ":"], ids=["named", "empty-part"])
def test_nothing_is_imported_from_there(tmp_path: Path, command: str, more: str) -> None:
    marker = tmp_path / "ran"
    evil = tmp_path / "here"
    evil.mkdir()
    for name in PLANTED:
        text = f"with open({str(marker)!r}, 'a') as file: file.write({name!r})\n"
        (evil / f"{name}.py").write_text(text)
    variables = {name: os.environ[name] for name in ("PATH", "HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "binfmt_setup", *command.split()],
        cwd=evil, env={**variables, "PYTHONPATH": f"{TOP}{more}"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert not marker.exists(), marker.read_text()
    assert "Traceback" not in done.stderr
    assert done.stdout + done.stderr
