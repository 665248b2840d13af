"""The scripts, read rather than run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_python

TOP = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(
    path for folder in ("scripts", ".ci") for path in (TOP / folder).iterdir() if path.is_file()
)


def first_line(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.readline().decode(errors="replace")


SHELL_SCRIPTS = [path for path in SCRIPTS if first_line(path).rstrip().endswith("sh")]


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


@pytest.mark.parametrize("path", SHELL_SCRIPTS, ids=name)
def test_shellcheck(path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if not shellcheck:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([shellcheck, path], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


@pytest.mark.parametrize("path", SHELL_SCRIPTS, ids=name)
def test_first_failing_command_ends_the_script(path: Path) -> None:
    assert "\nset -e" in path.read_text()


@pytest.mark.parametrize(
    "path", [path for path in SCRIPTS if first_line(path).startswith("#!")], ids=name
)
def test_executable(path: Path) -> None:
    assert os.access(path, os.X_OK)


def test_each_script_that_design_names_is_there() -> None:
    assert {"scripts/bootstrap", "scripts/test", ".ci/run"} <= {name(path) for path in SCRIPTS}
