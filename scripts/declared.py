"""The commands and options as the command line library knows them, for what is written from them.

scripts/completions.py and scripts/manual.py use it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from binfmt_setup.cli import app  # noqa: E402 - found there
from binfmt_setup.cli.table import COMMANDS  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Word:
    """An option with all its names, or an operand, which has none."""

    names: tuple[str, ...]
    stands_for: str
    help: str
    choices: tuple[str, ...]
    many: bool
    default: str

    @property
    def takes_value(self) -> bool:
        """Whether a value follows the option."""
        return bool(self.stands_for)


@dataclass(frozen=True)
class Command:
    """One command: what it is told to be, its options, its operand."""

    name: str
    short: str
    text: str
    options: tuple[Word, ...]
    operand: Word | None
    interspersed: bool


def commands() -> list[Command]:
    """All commands, in the order in which --help shows them."""
    declared = vars(app.PROGRAM)["commands"]
    return [_command(name, declared[name]) for name in COMMANDS]


def program_text() -> tuple[str, str]:
    """What --help says of the whole program: what it is for, and its exit codes."""
    words = vars(app.PROGRAM)
    return str(words["help"]), str(words["epilog"])


def _command(name: str, declared: object) -> Command:
    words = vars(declared)
    found = [(p.param_type_name, _word(p)) for p in words["params"]]
    options = tuple(word for kind, word in found if kind == "option")
    operand = next((word for kind, word in found if kind == "argument"), None)
    return Command(
        name, str(words["short_help"]), str(words["help"]), options, operand,
        COMMANDS[name].interspersed,
    )  # fmt: skip


def _word(parameter: object) -> Word:
    word = vars(parameter)
    operand = word["nargs"] == -1 or "is_flag" not in word
    choices = tuple(map(str, getattr(word["type"], "choices", ()) or ()))
    stands_for = "|".join(choices) or str(word["metavar"] or "")
    default = word["default"] if word.get("show_default") else None
    default = getattr(default, "value", default)
    return Word(
        () if operand else tuple(word["opts"]),
        "" if word.get("is_flag") else stands_for,
        str(word.get("help") or ""),
        choices,
        bool(word.get("multiple")) or word["nargs"] == -1,
        default if isinstance(default, str) else "",
    )


def platforms() -> Iterator[str]:
    """The names of platforms that one is likely to type: containers' first."""
    from binfmt_setup.model.targets import TARGETS, container_platforms

    ours = [platform.name for platform in container_platforms()]
    yield from ours
    all_of_them = (platform.name for target in TARGETS for platform in target.platforms)
    yield from (name for name in all_of_them if name not in ours)
    yield "all"
