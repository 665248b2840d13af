"""What fails beneath the tool, in Python itself, is told as what it is and never as a defect."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.system.limits import beneath_python
from tests.own_namespace import TOP

if TYPE_CHECKING:
    from pathlib import Path

UNREADABLE = """
import builtins, errno, sys
real = builtins.__import__
def broken(name, *rest, **named):
    if name == sys.argv[1]:
        raise {error}
    return real(name, *rest, **named)
builtins.__import__ = broken
sys.argv = ["binfmt-setup", "status", "--root", "/nowhere"]
from binfmt_setup.__main__ import main
main()
"""


@pytest.mark.parametrize(
    "error",
    [OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/a.py"), OSError(errno.EIO, "x"),
     MemoryError(), ImportError("cannot map", name="select", path="/lib/select.so")],
)  # fmt: skip
def test_the_environment_is_told(error: Exception) -> None:
    found = beneath_python(error)
    assert found is not None
    assert (found.code, found.exit_code) == ("resources-exhausted", 4)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOENT, "x"), ValueError("x"),
     ModuleNotFoundError("x", name="binfmt_setup.x"),
     ImportError("cannot import name", name="binfmt_setup.x", path="/a.py")],
)  # fmt: skip
def test_a_defect_stays_one(error: Exception) -> None:
    assert beneath_python(error) is None


@pytest.mark.parametrize("module", ["binfmt_setup.cli", "binfmt_setup.inspect.snapshot"])
@pytest.mark.parametrize("error", ["OSError(errno.EMFILE, 'no more', name)", "MemoryError()"])
def test_a_module_that_cannot_be_loaded_ends_no_run_in_a_traceback(module: str, error: str) -> None:
    code = UNREADABLE.replace("{error}", error).replace("sys.argv[1]", repr(module))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == 4, done.stderr


LACKING = """
import sys
from typing import TYPE_CHECKING
sys.modules[{library!r}] = None
sys.argv = ["binfmt-setup", *{words!r}]
from binfmt_setup.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("library", "words"),
    [("typer", ["--help"]), ("jinja2", ["unit", "--root", "TREE", "s390x"]),
     ("elftools", ["explain", "/bin/sh"]), ("select", ["status"])],
)  # fmt: skip
def test_a_library_that_is_missing_is_no_defect(
    tmp_path: Path, library: str, words: list[str]
) -> None:
    # A host of amd64 with an emulator, whatever this one is.
    for program in ("bin/sh", "usr/bin/qemu-s390x-static"):
        (tmp_path / program).parent.mkdir(parents=True)
        shutil.copy(TOP / "binfmt_setup/data/probes/x86_64", tmp_path / program)
        (tmp_path / program).chmod(0o755)
    words = [word.replace("TREE", str(tmp_path)) for word in words]
    code = LACKING.format(library=library, words=words)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert library in done.stderr
    assert done.returncode == 4, done.stderr


def test_a_defect_at_the_start_is_no_answer() -> None:
    code = LACKING.format(library="binfmt_setup.cli.reader", words=["status"])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("report it with the lines above\n")
    assert done.returncode == 70, done.stderr


@pytest.mark.parametrize(
    "words",
    [["install", "arm64", "--qemu", "."], ["install", "amd64", "--emulator", "x"],
     ["status", "--output", "x", "--format", "prometheus"], ["explain", "./x"],
     ["check", "--config", "x"], ["run", "--qemu", ".", "--", "true"],
     ["check", "--root", "."], ["explain", "--chroot", ".", "/bin/sh"],
     ["check", "--deep", "arm64", "--qemu", "."]],
)  # fmt: skip
def test_a_directory_that_is_gone_is_no_defect(words: list[str], tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", line, "sh", gone, sys.executable, "-m", "binfmt_setup", *words],
        env={"PYTHONPATH": str(TOP)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode in (2, 4), done.stderr
