"""The command line: help, usage errors, streams; never a stack trace for a user's mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from binfmt_setup import __version__
from binfmt_setup.changes.conditions import require_root
from binfmt_setup.model.errors import PrivilegesMissing
from binfmt_setup.model.facts import HostFacts, ProcessFacts

COMMANDS = ("install", "check", "status", "explain", "uninstall", "unit", "run", "completion")


def tool(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "binfmt_setup", *arguments], capture_output=True, text=True,
        timeout=60, check=False, env={**os.environ, **environment},
    )  # fmt: skip


def test_version() -> None:
    assert tool("--version").stdout == f"binfmt-setup {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = tool(command, "--help")
    assert done.returncode == 0
    assert f"binfmt-setup {command}" in done.stdout
    assert command in tool("--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",), ("check", "--frobnicate"), ("check", "--format", "xml"),
        ("check", "linux/amr64"), ("install", "linux/amr64", "--check"),
        ("status", "--root", "/nonexistent"), ("install", "--qemu", "/nonexistent"),
        ("install", "arm64", "--private", "--check"), ("uninstall", "nothing-like-it"),
    ],
)  # fmt: skip
def test_usage_errors_exit_2_with_a_hint(arguments: tuple[str, ...]) -> None:
    if "--private" in arguments and "0 4294967295" not in _uid_map():
        pytest.skip("this is a user namespace already")
    done = tool(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr
    assert "Traceback" not in done.stderr


def _uid_map() -> str:
    with open("/proc/self/uid_map", encoding="ascii") as file:  # noqa: PTH123 - procfs
        return " ".join(file.read().split())


def test_errors_are_json_too_when_json_is_asked_for() -> None:
    done = tool("check", "linux/amr64", "--format", "json")
    data = json.loads(done.stdout)
    assert (data["exit_code"], data["errors"][0]["code"]) == (2, "usage")
    assert "linux/amr64" in data["errors"][0]["message"]


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    pipeline = f"{sys.executable} -m binfmt_setup check all --format json | head -c 1"
    done = subprocess.run(
        ["sh", "-c", pipeline], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "{"
    assert done.stderr == ""


def test_no_colour_off_a_terminal_and_ascii_where_the_stream_is() -> None:
    done = tool("check", "amd64", PYTHONIOENCODING="ascii")
    assert "\x1b" not in done.stdout
    assert done.stdout.isascii()
    assert "Traceback" not in done.stderr


def test_writing_needs_root() -> None:
    with pytest.raises(PrivilegesMissing, match="needs root"):
        require_root(HostFacts("/", process=ProcessFacts(effective_uid=1000)))
    require_root(HostFacts("/", process=ProcessFacts(effective_uid=0)))


def test_help_names_the_exit_codes() -> None:
    words = " ".join(tool("--help").stdout.split())
    assert "70 a defect of this tool" in words


@pytest.mark.parametrize("empty", ["", ",", "arm64,", " "])
@pytest.mark.parametrize(
    "command",
    ["install --check", "check", "uninstall --check", "unit", "check --engine docker"],
)
def test_an_empty_platform_never_means_all(command: str, empty: str) -> None:
    done = tool(*command.split(), empty)
    assert (done.returncode, done.stdout) == (2, "")
    assert "a platform's name is empty" in done.stderr
    assert "'all'" in done.stderr


def test_an_empty_platform_of_run_never_means_all() -> None:
    for options in (["--platform", ""], ["-P,"], ["-P", "arm64", "--platform="]):
        done = tool("run", *options, "--", "true")
        assert done.returncode == 2
        assert "is empty" in done.stderr


@pytest.mark.parametrize(
    "line",
    ["install --check --qemu=", "install --check --emulator=", "install --check --qemu-sha256=",
     "check --engine=", "check --config=", "check --root=", "check --deep --qemu=",
     "status --output=", "explain --chroot= /bin/sh", "uninstall --check --config=", "unit --qemu=",
     "run --qemu= -- true", "run --map-users= -- true", "check --format="],
)  # fmt: skip
def test_an_empty_value_never_means_that_nothing_was_asked_for(line: str) -> None:
    done = tool(*line.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert "→" in done.stderr or "->" in done.stderr


@pytest.mark.parametrize("arguments", [("check", "linux/amr64"), ("check", "--nosuch"), ("chek",)])
def test_all_mistakes_look_alike(arguments: tuple[str, ...]) -> None:
    first, hint = tool(*arguments, PYTHONIOENCODING="utf-8").stderr.splitlines()
    assert first.startswith("✗ ")
    assert hint.startswith("  → ")
    data = json.loads(tool(*arguments, "--format", "json").stdout)
    assert data["exit_code"] == 2
    assert data["errors"][0]["message"] == first.removeprefix("✗ ")


def test_without_a_command_there_is_help() -> None:
    done = tool()
    assert (done.returncode, done.stdout) == (2, "")
    assert "Commands:" in done.stderr
    assert "no command is named" in done.stderr
