"""The reader of command lines understands each one as the command line library does."""

from __future__ import annotations

import inspect
import subprocess
import sys
from itertools import chain, product
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import command_table
from binfmt_setup.cli import actions, app
from binfmt_setup.cli.reader import Call, read
from binfmt_setup.cli.table import COMMANDS
from binfmt_setup.model.errors import UsageProblem
from tests.own_namespace import unmeasured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.cli.answers import Answer

READ = [
    "check", "check arm64", "check arm64 -q", "check -qv", "check --strict arm64 -v linux/s390x",
    "check arm64,s390x --quiet --strict", "check --format json", "check --format=junit arm64",
    "check --format text --format github", "check --root /x", "check --root=/x --security",
    "check --engine=docker,podman -- -v", "check --", "check -", "check -- --", "install",
    "install --private arm64 --no-persist riscv64", "install --check -v", "install --diff",
    "install --qemu /x --qemu-store=/y", "install --qemu --check", "status", "status -v",
    "status --format json", "explain /bin/true", "explain -- -x", "explain --chroot= /bin/true",
    "uninstall --force", "unit arm64 --qemu=", "run true", "run -- true", "run -P arm64 make -j4",
    "run -P arm64 make -- all", "run -Parm64 -v -- make", "run -vParm64 -P=s390x make",
    "run --platform arm64 --platform=riscv64 -- make --platform x", "run --map-users auto -- id",
    "run --map-root --map-users=one --qemu=/usr --format text sh -c id", "run -- -weird -- --name",
    "completion bash", "completion nosuch",
]  # fmt: skip
LEFT = [
    "", "--version", "--help", "-h", "nosuch", "check --help", "check -h", "check -qh", "chec",
    "check --stric", "check --strict=yes", "check --quiet=", "check --format", "check -x",
    "check --format xml", "check --format JSON", "check --format json --format xml", "explain",
    "explain one two", "status extra", "run", "run --", "run --map-users two true", "run -P",
    "run --map-root=yes true", "run -Pv", "--verbose check", "-- check", "check ---strict",
    "check --platforms x", "install --map-root", "completion",
]  # fmt: skip


def effect(call: Call) -> tuple[str, dict[str, object]]:
    """What a call comes to: all parameters of the function, defaults among them."""
    action = getattr(actions, call.command)
    bound = inspect.signature(action).bind(**call.parameters)
    bound.apply_defaults()
    # The library gives an empty list where the function has None.
    return call.command, {name: value or None for name, value in bound.arguments.items()}


def librarys(words: Sequence[str]) -> Call | Answer | UsageProblem:
    try:
        return app.read(words)
    except UsageProblem as problem:
        return problem


def test_the_table_is_that_of_the_library() -> None:
    text = command_table.table_text(command_table.commands())
    assert text == command_table.TABLE.read_text(), "run scripts/command_table.py"
    assert command_table.commands() == COMMANDS


@pytest.mark.parametrize("line", READ)
def test_valid_lines_are_read_alike(line: str) -> None:
    words = line.split()
    ours, theirs = read(words, COMMANDS), librarys(words)
    assert ours is not None
    assert isinstance(theirs, Call)
    assert effect(ours) == effect(theirs)


@pytest.mark.parametrize("line", LEFT)
def test_everything_else_is_left_to_the_library(line: str) -> None:
    words = line.split()
    assert read(words, COMMANDS) is None
    assert line == "-- check" or not isinstance(librarys(words), Call)


OPTIONS = sorted({name for command in COMMANDS.values() for name in command.options})
VALUES = (
    *("json", "text", "github", "xml", "auto", "one", "/"),
    *("", "-", "--", "-v", "arm64", "=", "é"),
)
OPERANDS = [["arm64"], ["s390x,arm64"], ["-"], [""], ["--"], ["true"]]
Words = list[str]


def options_as_people_write_them() -> list[Words]:
    """Right or wrong: each with every value in every way, and letters run together."""
    names = [*OPTIONS, "--help", "-h", "--nosuch", "-x", "---v"]
    letters = ["".join(some) for many in (1, 2, 3) for some in product("vqPhx", repeat=many)]
    parts = [[name] for name in names] + [[name[:-1]] for name in names]
    for value in VALUES:
        for name in names:
            parts += [[f"{name}={value}"], [name, value], [f"{name}{value}"]]
        for some in letters:
            parts += [[f"-{some}{value}"], [f"-{some}", value]]
    return parts


def sensible_options(command: str) -> list[Words]:
    """The options of a command with a value that each takes: most such lines are valid."""
    parts = []
    for name, option in COMMANDS[command].options.items():
        value = "json" if option.choice.endswith("Format") else "one" if option.choice else "arm64"
        joined = f"{name}={value}" if name[1] == "-" else f"{name}{value}"
        parts += [[name, value], [joined]] if option.takes_value else [[name]]
    return parts


def lines(command: str) -> st.SearchStrategy[Words]:
    """Lines of a command, with and without options that need not fit it."""
    fitting = st.sampled_from(OPERANDS) | st.sampled_from(sensible_options(command) or OPERANDS)
    parts = st.lists(fitting, max_size=5) | st.lists(fitting | st.sampled_from(ANY), max_size=5)
    ends = [[], [["true"]]] if COMMANDS[command].required else [[]]
    return st.tuples(parts, st.sampled_from(ends)).map(
        lambda both: [command, *chain(*chain(*both))]
    )


ANY = options_as_people_write_them()


@settings(max_examples=1100)
@given(st.one_of([lines(command) for command in sorted(COMMANDS)]))
def test_generated_lines_are_read_alike_or_left(words: Words) -> None:
    ours, theirs = read(words, COMMANDS), librarys(words)
    assert isinstance(theirs, Call) == (ours is not None), theirs
    if ours is not None and isinstance(theirs, Call):
        assert effect(ours) == effect(theirs)


def test_no_valid_line_needs_the_library(tmp_path: object) -> None:
    """Each command as a whole program: the library is not even imported."""
    lines = (
        ["check", "arm64", "--format=github"], ["status", "--format", "json"], ["unit", "arm64"],
        ["explain", "/bin/sh", "-v"], ["install", "--check", "--diff", "arm64", "--format=json"],
        ["uninstall", "--check", "--root", str(tmp_path)], ["run", "--map-root", "/bin/true"],
    )  # fmt: skip
    for words in lines:
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "binfmt_setup", *words],
            env=unmeasured(), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert "binfmt_setup.cli.table" in done.stderr, words
        assert "typer" not in done.stderr, words
