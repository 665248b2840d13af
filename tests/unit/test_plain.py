"""Plain command lines are read without the command line library, and to the same effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.cli.app import run_command_line
from binfmt_setup.cli.ending import ended
from binfmt_setup.cli.plain import plain_command
from binfmt_setup.model.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    "line",
    [
        "check",
        "check arm64",
        "check arm64 -q",
        "check --strict arm64 -v linux/s390x",
        "check arm64,s390x --quiet --strict",
        "install",
        "install --private arm64 --no-persist riscv64",
        "install --check -v",
    ],
)
def test_plain_lines_ask_the_same_of_the_same_command(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def record(host: object, names: object, *options: object, **more: object) -> None:
        # The library's reading spells out defaults, too.
        given = {key: value for key, value in more.items() if value}
        asked.append((host, list(names or ()), options, given))  # type: ignore[call-overload]
        raise UsageProblem("enough is known")

    monkeypatch.setattr("binfmt_setup.commands.check.check", record)
    monkeypatch.setattr("binfmt_setup.commands.install.install", record)
    command = plain_command(line.split())
    assert command is not None
    assert ended(command) == run_command_line(line.split()) == 2
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    "line",
    ["", "--version", "--help", "status", "check --help", "check --format json", "check --root /x",
     "check --stric", "check --", "check -qv", "check --security", "install --diff",
     "install --qemu /x", "run --help"],
)  # fmt: skip
def test_everything_else_is_left_to_the_library(line: str) -> None:
    assert plain_command(line.split()) is None


def test_errors_of_plain_lines_are_told_in_the_same_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = []
    arguments = ["check", "linux/arm46"]
    plain = plain_command(arguments)
    assert plain is not None
    readings: tuple[Callable[[], int], ...] = (
        lambda: ended(plain), lambda: run_command_line(arguments),
    )  # fmt: skip
    for status in readings:
        assert status() == 2
        told.append(capsys.readouterr())
    assert told[0] == told[1]
    assert "did you mean" in told[0].err
