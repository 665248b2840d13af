"""The command line of `run`: the fast reading and the library's say the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.cli.app import run_command_line
from binfmt_setup.commands import run as run_module
from binfmt_setup.commands.run import RunOptions, callers_environment, find_command, plain_options
from binfmt_setup.model.errors import CommandNotExecutable, CommandNotFound
from binfmt_setup.system.host import Host
from binfmt_setup.userns.identity import Users

if TYPE_CHECKING:
    from pathlib import Path

READ_ALIKE = [
    ["true"],
    ["--", "true"],
    ["-P", "arm64", "make", "-j4", "--", "all"],
    ["-Parm64", "-v", "--", "make"],
    ["--platform", "arm64", "--platform=riscv64", "--", "make", "--platform", "x"],
    ["--map-root", "--map-users", "auto", "--qemu", "/usr", "--", "sh", "-c", "id"],
    ["--map-users=one", "--qemu=/usr/../usr", "--format", "text", "id"],
    ["--map-users", "current", "--verbose", "--", "-weird-name"],
]


@pytest.mark.parametrize("arguments", READ_ALIKE, ids=" ".join)
def test_both_readings_agree(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RunOptions] = []
    monkeypatch.setattr(run_module, "execute", lambda _, options: seen.append(options))
    assert run_command_line(["run", *arguments]) == 0
    assert [plain_options(arguments)] == seen


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--"],
        ["--help"],
        ["-h"],
        ["--plat", "arm64", "true"],
        ["--nosuch", "true"],
        ["--map-users", "two", "true"],
        ["--map-users"],
        ["--qemu", "/nosuch", "true"],
        ["--format", "json", "--", "true"],
        ["--map-root=yes", "true"],
    ],
    ids=" ".join,
)
def test_the_library_explains_what_is_not_plain(arguments: list[str]) -> None:
    assert plain_options(arguments) is None


def test_options_are_read_as_they_are_meant() -> None:
    options = plain_options(["-P", "arm64", "-P", "s390x", "--map-users", "auto", "a", "-v"])
    assert options == RunOptions(("a", "-v"), ("arm64", "s390x"), users=Users.auto)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    (tmp_path / "one" / "tool").write_text("not executable")
    (tmp_path / "one" / "alone").write_text("not executable")
    (tmp_path / "two" / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "two" / "tool").chmod(0o755)
    (tmp_path / "one" / "folder").mkdir()
    return tmp_path


def search(tree: Path) -> bytes:
    return f"{tree}/none:{tree}/one:{tree}/two".encode()


def test_a_command_is_found_as_a_shell_does(tree: Path) -> None:
    assert find_command(Host(), "tool", search(tree)) == f"{tree}/two/tool"
    assert find_command(Host(), f"{tree}/two/tool", b"") == f"{tree}/two/tool"
    assert find_command(Host(), "sh", None) == "/bin/sh"


@pytest.mark.parametrize("name", ["nosuch", "folder", "/nosuch/tool"])
def test_no_such_command(tree: Path, name: str) -> None:
    with pytest.raises(CommandNotFound) as raised:
        find_command(Host(), name, search(tree))
    assert raised.value.exit_code == 127


@pytest.mark.parametrize("name", ["alone", "/etc/passwd", "/etc"])
def test_a_command_that_may_not_be_executed(tree: Path, name: str) -> None:
    with pytest.raises(CommandNotExecutable) as raised:
        find_command(Host(), name, search(tree))
    assert raised.value.exit_code == 126


def test_the_environment_is_read_as_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    block = b"A=1\0B=\0A=2\0broken\0C=x=y\0D=\xff\0"
    (tmp_path / "proc" / "self" / "environ").write_bytes(block)
    expected = {b"A": b"1", b"B": b"", b"C": b"x=y", b"D": b"\xff"}
    assert callers_environment(Host(tmp_path)) == expected
