"""What `run` makes of what it is given: the command, the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.commands.run import callers_environment, callers_qemu, find_command
from binfmt_setup.model.errors import CommandNotExecutable, CommandNotFound, UsageProblem
from binfmt_setup.system.host import Host

if TYPE_CHECKING:
    from pathlib import Path


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


def test_a_directory_with_qemu_is_taken_as_it_is(tmp_path: Path) -> None:
    assert callers_qemu(Host(), "") == ""
    assert (
        callers_qemu(Host(), f"{tmp_path}/../{tmp_path.name}") == f"{tmp_path}/../{tmp_path.name}"
    )
    with pytest.raises(UsageProblem, match="no such file"):
        callers_qemu(Host(), "/nosuch")
