"""The single file: made by scripts/build-zipapp, run as anybody would who has copied it.

Making it needs a package index; running it needs nothing but a Python.
"""

from __future__ import annotations

import ast
import marshal
import os
import pwd
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import testbed
from binfmt_setup import __version__
from tests import ci, ci_runner
from tests.own_folder import own_folder
from tests.own_namespace import PROBES, TOP, in_namespace, unmeasured
from tests.packing import Item, deb, tar, write

if TYPE_CHECKING:
    from collections.abc import Iterator

QEMU = Path("/usr/bin/qemu-aarch64-static")
PLACES = ("/run", "/tmp", "/var/tmp", "/dev/shm")


def build(out: Path) -> str:
    done = subprocess.run(
        [sys.executable, TOP / "scripts" / "build-zipapp", "--out", out],
        capture_output=True, text=True, check=False, env=unmeasured(),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with own_folder() as folder:
        yield folder


@pytest.fixture(scope="module")
def file(home: Path) -> Path:
    out = home / "build" / "binfmt-setup.pyz"
    assert "compiled for cpython-310" in build(out)
    return out


def offline(file: Path, home: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script as root of a namespace with its own registry, and without a network."""
    shell = ("unshare", "--net", "sh", "-ec", f'tool() {{ {file} "$@"; }}; {script}')
    return in_namespace(shell, {"PATH": os.environ["PATH"], "HOME": str(home)})


def test_one_file_and_one_archive_do_everything_without_a_network(file: Path, home: Path) -> None:
    empty = home / "empty"
    empty.mkdir()
    program = shutil.copy(PROBES / "aarch64", home)
    archive = home / "qemu.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(QEMU.resolve(), "usr/bin/qemu-aarch64-static")
    store = "--qemu-store /usr/local/qemu"
    # Places of its own to unpack to: others may be at it in the usual ones.
    own = "; ".join(f"mount -t tmpfs -o mode=1777 none {place}" for place in PLACES)
    done = offline(file, empty, f"""
        {own}
        mount -t tmpfs -o mode=755 none /usr/local
        tool install arm64 --private --no-persist --qemu {archive} {store}
        tool install arm64 --private --no-persist --qemu {archive} {store} | tail -1
        tool check arm64 | tail -1
        tool status | grep qemu-aarch64
        tool explain {program} | tail -1
        tool unit arm64 | grep -c ExecStart
        {program} one
        tool uninstall --private | tail -1
        ! {program} one 2>/dev/null
        tool run -P arm64 --qemu {archive} --map-users current -- {program} one two
        ! ls {" ".join(PLACES)} | grep binfmt-setup-
        """)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works: linux/arm64; changed" in done.stdout
    assert "works: linux/arm64; nothing changed" in done.stdout
    assert [line for line in done.stdout.splitlines() if " argc=" in line or "two" in line]
    # `run` keeps an emulator that it unpacked where a user's caches are; nothing else is there.
    assert {path.name for path in empty.iterdir()} <= {".cache"}


def test_it_runs_on_every_python_from_any_directory(file: Path) -> None:
    for python in testbed.find_interpreters(None):
        for where, name in ((file.parent, file.name), (Path("/"), str(file))):
            for arguments, said in (
                (["--version"], f"binfmt-setup {__version__}\n"),
                (["completion", "fish"], (TOP / "binfmt_setup/data/completion/fish").read_text()),
            ):
                done = subprocess.run(
                    [python.path, "-IS", name, *arguments], cwd=where, capture_output=True,
                    text=True, check=False, env={},
                )  # fmt: skip
                assert (done.returncode, done.stdout, done.stderr) == (0, said, "")


def test_what_is_wrong_with_a_line_is_said_without_the_libraries_left_out(file: Path) -> None:
    done = subprocess.run([file, "check", "--nosuch"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "✗ No such option: --nosuch\n  → see: binfmt-setup check --help\n"
    done = subprocess.run([file, "install", "-h"], capture_output=True, text=True, check=True)
    assert "--install-qemu" in done.stdout


def old_python() -> str:
    """Some Python 3 that is too old."""
    found = [
        *Path(pwd.getpwuid(os.geteuid()).pw_dir).glob(".pyenv/versions/3.[6-9].*/bin/python3"),
        Path("/usr/bin/python3"),
    ]
    for path in found:
        asked = subprocess.run(
            [path, "-c", "import sys; print(sys.version_info < (3, 10))"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if asked.stdout == "True\n":
            return str(path)
    return ""


def test_an_older_python_is_refused_in_words(file: Path) -> None:
    python = old_python()
    if not python:
        pytest.skip("no Python 3 before 3.10 is here")
    done = subprocess.run([python, file], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "needs Python 3.10 or newer" in done.stderr
    assert "Traceback" not in done.stderr


def without(file: Path, out: Path, left_out: str) -> Path:
    """The same archive but for the members whose names begin so."""
    with zipfile.ZipFile(file) as was, zipfile.ZipFile(out, "w") as fresh:
        for name in was.namelist():
            if not name.startswith(left_out):
                fresh.writestr(name, was.read(name))
    return out


def test_a_python_that_nothing_was_compiled_for_takes_the_sources(file: Path, home: Path) -> None:
    plain = without(file, home / "sources.pyz", "code/cpython")
    done = subprocess.run(
        ["/usr/bin/python3", "-IS", plain, "check", "--help"], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "--strict" in done.stdout


def test_a_defect_is_shown_with_the_lines_of_the_sources(file: Path, home: Path) -> None:
    broken = without(file, home / "broken.pyz", "binfmt_setup/data/completion")
    done = subprocess.run(
        ["/usr/bin/python3", "-IS", broken, "completion", "bash"], capture_output=True, check=False
    )
    assert done.returncode == 70
    assert b"return packaged.content(" in done.stderr


def test_where_nothing_may_be_executed_it_says_so(file: Path, home: Path) -> None:
    mounts = "; ".join(f"mount -t tmpfs -o noexec none {place}" for place in PLACES)
    shutil.copy(file, home / "copy.pyz")
    done = offline(home / "copy.pyz", home, f"{mounts}; tool check arm64")
    assert done.returncode == 4
    assert "probes cannot be unpacked" in done.stderr
    assert "noexec" in done.stderr


def test_built_twice_it_is_the_same(file: Path, home: Path) -> None:
    build(home / "again.pyz")
    assert (home / "again.pyz").read_bytes() == file.read_bytes()


def test_it_is_made_of_few_pieces_which_is_why_it_starts_fast(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
    files = [name for name in names if "/data/" not in name and "/systemd/" not in name]
    assert len(files) < 25
    assert not [name for name in names if name.endswith((".so", ".pyc")) or "/rich/" in name]


def test_the_line_of_the_page_about_ci(file: Path, home: Path) -> None:
    page = (TOP / "docs/ci.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\$ sudo (\./binfmt-setup\.pyz .+)$", page, re.MULTILINE)
    packed = tar(Item("./usr/bin/qemu-aarch64-static", QEMU.read_bytes()))
    write(home / "qemu-user-static.deb", deb(packed))
    shutil.copy(file, home)
    with ci_runner.runner() as host:
        done = host.run("sh", "-ec", f"cd {home}; {line}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "works: linux/arm64; changed" in done.stdout


def test_the_action_takes_the_file_that_lies_beside_it(file: Path, home: Path) -> None:
    shutil.copy(file, home)
    shutil.copy(ci.FOLDER / "action.sh", home)
    inputs = {"platforms": "amd64", "deep": "true", "check": "false"}
    with ci_runner.runner() as host:
        done = ci_runner.act(host, inputs, folder=home, tool="", user="0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::group::The tool\nbinfmt-setup " in done.stdout


def test_the_libraries_lie_apart_and_the_loader_knows_them(file: Path) -> None:
    launcher = ast.parse((TOP / "scripts" / "single_file.py").read_text())
    (named,) = (
        eval(compile(ast.Expression(node.value), "", "eval"))  # noqa: S307 - a tuple of ours
        for node in launcher.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LIBRARIES"
    )
    with zipfile.ZipFile(file) as archive:
        for tag in ("sources", "cpython-310"):
            own, libraries = (
                {name.partition(".")[0] for name in marshal.loads(archive.read(f"code/{tag}{end}"))}  # noqa: S302
                for end in ("", ".libraries")
            )
            assert (own, libraries) == ({"binfmt_setup"}, set(named))
