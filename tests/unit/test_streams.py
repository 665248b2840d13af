"""What becomes of the output changes neither what is done nor the exit status."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.mountinfo import BINFMT_MISC
from tests import amounts
from tests.own_namespace import TOP, unmeasured

if TYPE_CHECKING:
    from pathlib import Path

TOOL = shlex.join([sys.executable, "-m", "binfmt_setup"])
TEXT_OR_JSON = ("text", "json")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An offline host without any emulator."""
    root = tmp_path_factory.mktemp("host")
    (root / "etc").mkdir()
    (root / "etc" / "os-release").write_text("ID=debian\n")
    return root


LINES = {
    "check, no": ("check linux/arm64 --root {tree}", 1),
    # To an ordinary user's made host root's files are nobody's, which is a finding.
    "check --security": ("check --security", 0 if os.geteuid() == 0 else None),
    "check, host": ("check amd64 arm64", None),
    "install --check": ("install --check linux/arm64 --root {tree}", 5),
    "status": ("status", 0),
    "explain, yes": ("explain /bin/sh", 0),
    "explain, no": ("explain /etc/passwd", 1),
    "usage": ("check linux/amr64", 2),
    "not read": ("check --nosuch", 2),
    "unit": ("unit --root {tree} arm64", 5),
    "help": ("check --help", 0),
}
"""Commands, and what they answer; None where that depends on the host."""


def sh(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", script], cwd=TOP, env=unmeasured(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def line(name: str, tree: Path, format_: str) -> tuple[str, int]:
    words, status = LINES[name]
    command = f"{TOOL} {words.format(tree=shlex.quote(str(tree)))} --format {format_}"
    return command, sh(command).returncode if status is None else status


def no_trace(said: str) -> None:
    assert "Traceback" not in said
    assert "defect" not in said
    assert "Exception" not in said


AROUND = {
    "{} >/dev/full": "stderr",
    "{} >&-": "",
    "{} </dev/null 1<&0": "stderr",
    "{} | true; exit ${{PIPESTATUS[0]}}": "",
    "{} | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}": "",
    "{} 2>/dev/full": "stdout",
    "{} 2>&-": "stdout",
    "{} <&-": "stdout",
    "{} <&- >&- 2>&-": "",
    "{} >/dev/full 2>&1": "",
    "{} 2>&1 >/dev/null | true; exit ${{PIPESTATUS[0]}}": "",
}
"""Where its streams lead, and on which of them something still arrives."""


@pytest.mark.parametrize(
    ("around", "name", "format_"), amounts.pairs_and_one_of(AROUND, LINES, TEXT_OR_JSON)
)
def test_the_exit_status_is_the_answer(around: str, name: str, format_: str, tree: Path) -> None:
    reached = AROUND[around]
    command, expected = line(name, tree, format_)
    done = sh(around.format(command))
    assert done.returncode == expected, done.stderr
    no_trace(done.stderr + done.stdout)
    answers = format_ == "json" or expected in (0, 1)
    if reached == "stdout" and format_ == "json" and name != "help":
        assert json.loads(done.stdout)["exit_code"] == expected
    elif reached == "stderr" and answers:
        assert "the answer could not be written: " in done.stderr
    elif reached == "":
        assert done.stdout == ""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    """What the tool opens, seen by strace's twin: its own open calls, told by an audit hook."""
    log = tmp_path / "low"
    code = (
        "import os, sys\n"
        "from binfmt_setup.cli import streams\n"
        "streams.guard()\n"
        f"log = os.open({str(log)!r}, os.O_WRONLY | os.O_CREAT)\n"
        "links = [os.readlink(f'/proc/self/fd/{n}') for n in (0, 1, 2)]\n"
        "os.write(log, f'{log} {links}'.encode())\n"
    )
    sh(f"{shlex.join([sys.executable, '-c', code])} {closed}")
    number, _, links = log.read_text().partition(" ")
    assert int(number) > 2
    assert links.count("/dev/null") >= len(closed.split())


def test_closed_streams_are_closed_for_the_command_of_run() -> None:
    if sh(f"unshare -Urm mount -t binfmt_misc none {BINFMT_MISC}").returncode:
        pytest.skip("no registry for a user namespace here")
    done = sh(f"{TOOL} run -- /bin/sh -c '[ ! -e /proc/$$/fd/1 ] && [ -e /proc/$$/fd/2 ]' >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_slow_reader_gets_everything(tree: Path) -> None:
    """A pipe that does not block is waited for until it takes the rest."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    command = [sys.executable, "-m", "binfmt_setup", "check", "--root", str(tree),
               "--format", "json", "arm64", "s390x", "riscv64", "ppc64le", "loong64", "arm",
               "mips64le", "mips64", "mipsle", "mips", "sparc64", "alpha"]  # fmt: skip
    with subprocess.Popen(command, cwd=TOP, env=unmeasured(), stdout=writer) as tool:
        os.close(writer)
        time.sleep(0.5)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        assert tool.wait(60) == json.loads(said)["exit_code"] == 1
    assert len(said) > 4096


def test_conversation_that_cannot_be_written_stops_nothing(tree: Path) -> None:
    done = sh(f"{TOOL} check arm64 -v --root {shlex.quote(str(tree))} 2>/dev/full")
    assert done.returncode == 1
    assert "linux/arm64" in done.stdout


@pytest.mark.parametrize(
    "command", ["check arm64", "status", "explain /bin/sh", "uninstall --check --root {tree}"]
)
def test_verbose_says_what_was_read_and_how_long_it_took(command: str, tree: Path) -> None:
    done = sh(f"{TOOL} {command.format(tree=shlex.quote(str(tree)))} --verbose")
    told = done.stderr.splitlines()[-1]
    assert told.startswith(f"{command.split(maxsplit=1)[0]}: read ")
    assert f" ms; exit {done.returncode}" in told


@pytest.mark.parametrize("format_", ["text", "github", "junit", "json"])
def test_what_an_encoding_lacks_is_shown_in_another_form(tmp_path: Path, format_: str) -> None:
    config = tmp_path / "etc/binfmt.d/b\u00e4d.conf"
    config.parent.mkdir(parents=True)
    config.write_text("n\u00e4\n")
    done = subprocess.run(
        [sys.executable, "-m", "binfmt_setup", "check", "--root", tmp_path, "--format", format_],
        env=unmeasured() | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        cwd=TOP, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert b"Traceback" not in done.stderr
    assert b"config-invalid" in done.stdout
