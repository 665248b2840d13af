"""What a file holds never decides how much work it makes: bytes read, lines judged and told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.binfmt_d import PROBLEMS_KEPT, parse_config
from binfmt_setup.system.tree import TEXT_LIMIT, Tree

if TYPE_CHECKING:
    from pathlib import Path

BAD = "nonsense\n"


def test_bad_lines_are_told_up_to_a_number_and_then_counted() -> None:
    config = parse_config("/etc/binfmt.d/a.conf", BAD * 20_000)
    assert [number for number, _ in config.problems] == list(range(1, PROBLEMS_KEPT + 1))
    assert config.more_problems == 20_000 - PROBLEMS_KEPT


def test_a_line_ends_where_systemd_ends_it() -> None:
    line = ":a:E::x::/opt/\u2028\x0b\x85/q:"
    assert len(parse_config("/etc/binfmt.d/a.conf", line).registrations) == 1


def _read_by(*arguments: str | Path) -> tuple[int, subprocess.CompletedProcess[str]]:
    """The bytes that a run of the tool reads, Python's own included, and how it ended."""
    code = (
        "import atexit, sys; sys.argv = sys.argv[1:]\n"
        "from binfmt_setup.cli.app import run_command_line\n"
        "status = run_command_line(sys.argv)\n"
        "sys.stdout.flush()\n"
        "print(open('/proc/self/io').read(), file=sys.stderr)\n"
        "sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    found = re.search(r"rchar: (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1]), done


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for path in (
        "etc/binfmt.d",
        "etc/systemd/system",
        "usr/bin",
        "var/lib/binfmts",
        "proc/sys/kernel",
    ):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "proc/sys/kernel/osrelease").write_text("6.1.0\n")
    return tmp_path


def test_hostile_files_cost_no_more_than_the_bound(tree: Path) -> None:
    before, _ = _read_by("check", "--root", tree, "s390x", "--format", "json")
    files = ("etc/fstab", "etc/os-release", "etc/binfmt.d/sparse.conf",
             "etc/systemd/system/binfmt-setup.service")  # fmt: skip
    for path in files:
        with (tree / path).open("wb") as file:
            file.truncate(1 << 40)
    for name in ("random", "zero", "full"):
        (tree / f"etc/binfmt.d/{name}.conf").symlink_to(f"/dev/{name}")
    os.mkfifo(tree / "etc/binfmt.d/fifo.conf")
    (tree / "etc/binfmt.d/directory.conf").mkdir()
    (tree / "etc/binfmt.d/bad.conf").write_text(BAD * 20_000)
    after, done = _read_by("check", "--root", tree, "s390x", "--format", "json")
    assert after - before < (len(files) + 1) * (TEXT_LIMIT + 65536)
    assert len(done.stdout) < 20_000
    told = [f for f in json.loads(done.stdout)["findings"] if f["code"] == "config-invalid"]
    assert len(told) == PROBLEMS_KEPT + 1
    assert "19,990 more" in told[-1]["message"]
    assert [finding.get("omitted") for finding in told] == [None] * PROBLEMS_KEPT + [19_990]


def test_very_many_bad_files_are_counted(tree: Path) -> None:
    for number in range(200):
        (tree / f"etc/binfmt.d/{number:03}.conf").write_text(BAD)
    _, done = _read_by("check", "--root", tree, "s390x", "--format", "json")
    told = [f for f in json.loads(done.stdout)["findings"] if f["code"] == "config-invalid"]
    assert len(told) == PROBLEMS_KEPT + 1
    assert f"{200 - PROBLEMS_KEPT} more files" in told[-1]["message"]
    assert told[-1]["omitted"] == 200 - PROBLEMS_KEPT


def test_a_text_that_is_too_long_is_not_taken_for_a_whole_one(tree: Path) -> None:
    (tree / "etc/fstab").write_text("x" * TEXT_LIMIT)
    assert len(Tree(tree).text("/etc/fstab")) == TEXT_LIMIT
    (tree / "etc/fstab").write_text("x" * (TEXT_LIMIT + 1))
    with pytest.raises(OSError, match="File too large"):
        Tree(tree).whole_text("/etc/fstab")
    assert Tree(tree).text("/etc/fstab") == ""


def test_work_grows_with_the_names_in_a_directory_and_no_faster(tree: Path) -> None:
    """Counted as calls of functions: ten times the files make at most ten times the work."""
    code = (
        "import sys\nfrom binfmt_setup.inspect.snapshot import snapshot\n"
        "from binfmt_setup.diagnosis.judge import judge\n"
        "from binfmt_setup.system.host import Host\ncalls = 0\n"
        "def count(*_):\n    global calls\n    calls += 1\n"
        "sys.setprofile(count)\n"
        "judge(snapshot(Host(sys.argv[1])), (), {})\nsys.setprofile(None)\nprint(calls)"
    )

    def calls() -> int:
        argv = [sys.executable, "-c", code, str(tree)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
        return int(done.stdout)

    def fill(numbers: range) -> None:
        for n in numbers:
            (tree / f"etc/binfmt.d/{n}.conf").write_text(f":n{n}:E::x::/usr/bin/q{n}:\n")

    empty = calls()
    fill(range(200))
    few = calls() - empty
    fill(range(200, 2000))
    assert calls() - empty < 11 * few
