"""scripts/bootstrap with the real package: needs a package index and root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests import ci_runner
from tests.own_folder import own_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
PARTS = (
    *("LICENSE", "README.md", "binfmt_setup", "pyproject.toml"),
    *("man", "requirements", "scripts", "systemd", "deploy/ci"),
)


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """Return a copy of the sources, as a fresh clone has them."""
    with own_folder() as folder:
        top = folder / "clone"
        top.mkdir()
        for part in PARTS:
            source = TOP / part
            if source.is_dir():
                leave_out = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, top / part, ignore=leave_out)
            else:
                shutil.copy(source, top / part)
        yield top


def bootstrap(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts" / "bootstrap", "--prefix", clone.parent / "prefix", *arguments],
        env={**os.environ, "PYTHON": sys.executable, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_real_package_is_installed_whole(clone: Path) -> None:
    done = bootstrap(clone, "--version")
    assert done.returncode == 0, done.stderr
    assert "0." in done.stdout
    (package,) = (clone.parent / "prefix").rglob("site-packages/binfmt_setup")
    for part, target in (("binfmt_setup", package), ("systemd", package / "systemd")):
        for path in (clone / part).rglob("*"):
            copy = target / path.relative_to(clone / part)
            if path.is_file() and "__pycache__" not in path.parts:
                assert copy.read_bytes() == path.read_bytes()
                assert os.access(copy, os.X_OK) == os.access(path, os.X_OK)


def test_second_run_starts_one_python_and_writes_nothing(clone: Path) -> None:
    """What makes it fast, counted: how long that takes is a matter of the machine."""
    bootstrap(clone)
    prefix = clone.parent / "prefix"
    before = {path: path.lstat() for path in prefix.rglob("*")}
    log, python = clone.parent / "starts", clone.parent / "python"
    python.write_text(f'#!/bin/sh\necho "${{4:-$*}}" >> {log}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = bootstrap(clone, PYTHON=str(python))
    assert done.returncode == 0, done.stderr
    assert "installing" not in done.stderr
    assert log.read_text() == "state\n"
    assert {path: path.lstat() for path in prefix.rglob("*")} == before


def test_what_is_installed_is_what_is_listed(clone: Path) -> None:
    """Each release as it is pinned, and nothing that only built others."""
    bootstrap(clone)
    (python,) = (clone.parent / "prefix").glob("lib/binfmt-setup/venv-*/bin/python")
    done = subprocess.run(
        [python, "-I", "-m", "pip", "list", "--format=freeze"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    listed = (TOP / "requirements" / "tool.txt").read_text().splitlines()
    asked = [Requirement(line.rstrip(" \\")) for line in listed if "==" in line and line[0] != "#"]
    version = subprocess.run([python, "-VV"], capture_output=True, text=True, check=True)
    here = {"python_full_version": version.stdout.split()[1]}
    pins = {f"{r.name}{r.specifier}" for r in asked if not r.marker or r.marker.evaluate(here)}
    there = {line.lower() for line in done.stdout.split()}
    assert pins <= there
    assert {line.partition("==")[0] for line in there - pins} <= {
        "binfmt-setup", "pip", "setuptools", "wheel",
    }  # fmt: skip


def test_a_file_with_another_sha256_is_not_installed(clone: Path) -> None:
    listed = clone / "requirements" / "tool.txt"
    good = listed.read_text()
    at = good.index("--hash=sha256:", good.index("typer==")) + len("--hash=sha256:")
    listed.write_text(good[:at] + "0" * 64 + good[at + 64 :])
    try:
        done = bootstrap(clone, "--version")
    finally:
        listed.write_text(good)
    assert done.returncode == 6
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert "what to do" in done.stderr


def test_the_action_installs_the_clone_that_it_is_part_of(clone: Path) -> None:
    bootstrap(clone)
    with ci_runner.runner() as host:
        prefix = clone.parent / "prefix"
        assert host.run("mount", "--bind", str(prefix), "/usr/local").returncode == 0
        done = ci_runner.act(
            host, {"platforms": "amd64"}, folder=clone / "deploy/ci", tool="", user="0",
            python=sys.executable,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "::group::The tool\nbinfmt-setup " in done.stdout
        assert ci_runner.said(host, "output").startswith("platforms=linux/amd64,")
