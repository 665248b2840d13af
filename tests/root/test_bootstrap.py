"""scripts/bootstrap with the real package: needs a package index and root."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PARTS = ("LICENSE", "README.md", "binfmt_setup", "pyproject.toml", "scripts", "systemd")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the sources, as a fresh clone has them."""
    top = tmp_path_factory.mktemp("real") / "clone"
    top.mkdir()
    for part in PARTS:
        source = TOP / part
        if source.is_dir():
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, top / part, ignore=leave_out)
        else:
            shutil.copy(source, top / part)
    return top


def bootstrap(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts" / "bootstrap", "--prefix", clone.parent / "prefix", *arguments],
        env={**os.environ, "PYTHON": sys.executable},
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


def test_second_run_is_fast(clone: Path) -> None:
    bootstrap(clone)
    seconds = []
    for _ in range(5):
        start = time.monotonic()
        done = bootstrap(clone)
        seconds.append(time.monotonic() - start)
        assert "installing" not in done.stderr
    # The best of five: what other programs do at the time is not its fault.
    assert min(seconds) < 0.3
