"""scripts/bootstrap, on a stand-in clone that needs no network."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.planted import NOBODY
from tests.stand_in_clone import BACKEND, PROGRAM, make_clone

if TYPE_CHECKING:
    from tests.stand_in_clone import Clone


def state_of(top: Path) -> dict[str, tuple[int, int, int]]:
    """Return what would tell of any change below a folder."""
    found = {}
    for path in [top, *top.rglob("*")]:
        facts = path.lstat()
        found[str(path)] = (facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns)
    return found


def test_answer_and_exit_code_are_those_of_the_tool(installed: Clone) -> None:
    done = installed.run("one", "--two", "seven")
    assert (done.stdout, done.returncode) == ("answer one --two seven\n", 7)


def test_second_run_changes_nothing_and_says_nothing(installed: Clone) -> None:
    before = state_of(installed.prefix)
    done = installed.run("again")
    assert (done.stdout, done.stderr) == ("answer again\n", "")
    assert state_of(installed.prefix) == before


def test_link_runs_the_tool(installed: Clone) -> None:
    assert installed.link.resolve() == installed.environment() / "bin" / "binfmt-setup"
    done = subprocess.run([installed.link], capture_output=True, text=True, check=True)
    assert done.stdout == "answer\n"


def test_installed_tool_ignores_pythonpath(installed: Clone, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('foreign code')\n")
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    assert subprocess.check_output([installed.link], text=True, env=variables) == "answer\n"
    assert installed.run("x", PYTHONPATH=str(tmp_path)).stdout == "answer x\n"


def test_bytecode_is_there_from_the_start(installed: Clone) -> None:
    assert list(installed.environment().rglob("binfmt_setup/__pycache__/__main__.*.pyc"))


def test_without_arguments_it_says_how_to_go_on(installed: Clone) -> None:
    done = installed.run()
    assert (done.returncode, done.stdout) == (0, "")
    assert f"{installed.link} install" in done.stderr


def test_damaged_environment_is_made_anew(installed: Clone) -> None:
    (module,) = installed.environment().rglob("site-packages/binfmt_setup/__main__.py")
    module.write_text("")
    done = installed.run("mended")
    assert done.stdout == "answer mended\n"
    assert "installing" in done.stderr


def test_interrupted_build_is_made_anew(installed: Clone) -> None:
    environment = installed.environment()
    (environment / ".seal").unlink()
    shutil.rmtree(environment / "bin")
    done = installed.run("mended")
    assert done.stdout == "answer mended\n"


def test_lost_link_is_made_anew_and_its_folder(installed: Clone) -> None:
    shutil.rmtree(installed.link.parent)
    done = installed.run("linked")
    assert done.stdout == "answer linked\n", done.stderr
    assert installed.link.is_symlink()
    assert "installing" not in done.stderr


def test_changed_sources_are_installed_and_a_failure_keeps_the_old(
    clone: Clone, installed: Clone
) -> None:
    clone.take_environment_of(installed)
    clone.run()
    program = clone.top / "binfmt_setup" / "__main__.py"
    backend = clone.top / "binfmt_setup" / "backend.py"
    old = clone.environment()
    program.write_text(PROGRAM.replace("answer", "news"))
    backend.write_text("raise SystemExit('no such luck')\n")

    done = clone.run("x")
    assert done.returncode == 6
    assert done.stdout == ""
    assert "no such luck" in done.stderr
    assert "what to do" in done.stderr
    assert subprocess.check_output([clone.link], text=True) == "answer\n"
    assert clone.environment() == old

    backend.write_text(BACKEND)
    assert clone.run("x").stdout == "news x\n"
    assert subprocess.check_output([clone.link], text=True) == "news\n"
    assert clone.environment() != old


def test_pip_settings_of_the_caller_do_not_matter(clone: Clone, tmp_path: Path) -> None:
    done = clone.run(
        "x",
        PIP_TARGET=str(tmp_path / "elsewhere"),
        PIP_USER="1",
        PIP_NO_COMPILE="1",
        PYTHONHOME="/nonexistent",
        VIRTUAL_ENV="/nonexistent",
    )
    assert done.stdout == "answer x\n", done.stderr
    assert not (tmp_path / "elsewhere").exists()
    assert "venv-" in str(clone.link.readlink())


def test_foreign_command_of_the_same_name_stays(installed: Clone) -> None:
    installed.link.unlink()
    installed.link.write_text("somebody else's\n")
    done = installed.run("x")
    assert done.stdout == "answer x\n"
    assert "not ours" in done.stderr
    assert installed.link.read_text() == "somebody else's\n"
    installed.link.unlink()


def test_uninstall_removes_what_it_made_and_nothing_else(clone: Clone) -> None:
    environment = clone.lib / "venv-0123456789abcdef"
    environment.mkdir(parents=True)
    clone.link.parent.mkdir()
    clone.link.symlink_to(environment / "bin" / "binfmt-setup")
    other = clone.link.with_name("other")
    other.write_text("")
    done = clone.run("--uninstall-tool")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert sorted(path.name for path in clone.prefix.rglob("*")) == ["bin", "lib", "other"]
    assert "nothing to remove" in clone.run("--uninstall-tool").stderr


def test_uninstall_leaves_a_foreign_link_and_foreign_files(clone: Clone) -> None:
    clone.lib.mkdir(parents=True)
    (clone.lib / "notes").write_text("")
    clone.link.parent.mkdir()
    clone.link.symlink_to("/bin/true")
    assert clone.run("--uninstall-tool").returncode == 0
    assert clone.link.is_symlink()
    assert (clone.lib / "notes").exists()


def as_nobody(top: Path, path: str) -> subprocess.CompletedProcess[str]:
    """Run a clone's script as another user: root looks for programs in fixed places."""
    user = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    return subprocess.run(
        ["/usr/bin/setpriv", *user, "/bin/sh", top / "scripts" / "bootstrap", "x"],
        env={"PATH": path}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def path_without_python(folder: Path) -> str:
    """Return a PATH with what the script needs, and no Python."""
    folder.mkdir()
    for name in ("sh", "env", "sed", "id", "dirname", "readlink", "cat", "grep"):
        program = shutil.which(name)
        assert program
        (folder / name).symlink_to(program)
    return str(folder)


def test_no_python_at_all() -> None:
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        Path(folder).chmod(0o755)
        clone = make_clone(Path(folder))
        done = as_nobody(clone.top, path_without_python(Path(folder) / "path"))
    assert (done.returncode, done.stdout) == (4, "")
    assert "3.10" in done.stderr
    assert "what to do" in done.stderr


def test_python_too_old(clone: Clone, tmp_path: Path) -> None:
    old = tmp_path / "old-python"
    # As the real one does: the helper leaves with 4 when it is run by an old Python.
    old.write_text("#!/bin/sh\nexit 4\n")
    old.chmod(0o755)
    done = clone.run("x", PYTHON=str(old))
    assert done.returncode == 4
    assert f"PYTHON={old}" in done.stderr
    assert not clone.prefix.exists()


def test_prefix_that_cannot_be_written(clone: Clone) -> None:
    done = clone.run("--prefix", "/dev/null/x", "install")
    assert done.returncode == 3
    assert "--prefix" in done.stderr


@pytest.mark.parametrize("arguments", [["--prefix"], ["--prefix", "x", "--prefix"]])
def test_prefix_without_a_folder(clone: Clone, arguments: list[str]) -> None:
    assert clone.run(*arguments).returncode == 2


def test_not_in_a_clone(clone: Clone) -> None:
    (clone.top / "pyproject.toml").unlink()
    done = clone.run("x")
    assert done.returncode == 2
    assert "not a clone" in done.stderr


def test_help_names_each_option_and_code(clone: Clone) -> None:
    done = clone.run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("--prefix", "--uninstall-tool", "PYTHON", "PIP_INDEX_URL", "3 privileges"):
        assert word in done.stdout
