#!/usr/bin/env python3
"""Write binfmt_setup/cli/table.py, out of the command line library's declarations.

To be run after every change of an option; a test compares the two.
"""

from __future__ import annotations

import inspect
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, get_args

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from binfmt_setup.cli import app  # noqa: E402 - found there
from binfmt_setup.cli.reader import Command, Option  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TABLE = TOP / "binfmt_setup" / "cli" / "table.py"
_HEAD = '''"""All commands and their options, generated: see scripts/command_table.py."""

from __future__ import annotations

from binfmt_setup.cli.reader import Command, Option

# fmt: off
# ruff: noqa: E501
COMMANDS = {
'''


def commands() -> dict[str, Command]:
    """Every command as the reader needs to know it; raises ValueError for what it cannot read."""
    found = {}
    for info in app.app.registered_commands:
        if info.callback is None:
            raise ValueError("a command without a function")
        name = info.callback.__name__
        found[name] = _command(getattr(app.PROGRAM, "commands")[name], info.callback)  # noqa: B009
    return found


def _command(declared: object, called: Callable[[], object]) -> Command:
    context = getattr(declared, "context_settings", {})
    types = {p.name: p.annotation for p in inspect.signature(called).parameters.values()}
    options: dict[str, Option] = {}
    operands: dict[str, object] = {}
    for parameter in getattr(declared, "params", ()):
        if parameter.param_type_name == "argument":
            if operands or parameter.nargs not in (1, -1):
                raise ValueError(f"{parameter.name}: more operands than the reader can tell apart")
            operands = {"operands": parameter.name, "many": parameter.nargs == -1,
                        "required": parameter.required}  # fmt: skip
            continue
        options |= dict.fromkeys(parameter.opts, _option(parameter, types[parameter.name]))
    interspersed = context.get("allow_interspersed_args", True)
    return Command(options, **operands, interspersed=interspersed)  # type: ignore[arg-type]


def _option(parameter: object, annotation: object) -> Option:
    """One option; the reader knows switches, and values of one word."""
    word = vars(parameter)
    more = word["secondary_opts"] or word["nargs"] != 1 or word.get("count")
    if more or word["callback"] or word["is_eager"] or word["envvar"] or word["required"]:
        raise ValueError(f"{word['name']}: of a kind that the reader does not know")
    return Option(word["name"], not word["is_flag"], bool(word["multiple"]), _choice(annotation))


def _choice(annotation: object) -> str:
    """The class of an option's values, where these are fixed; it is imported when needed."""
    inner = [annotation, *get_args(annotation)]
    inner += [each for one in inner for each in get_args(one)]
    for each in inner:
        if inspect.isclass(each) and issubclass(each, Enum):
            return f"{each.__module__}:{each.__name__}"
    return ""


def table_text(found: Mapping[str, Command]) -> str:
    """The module's text."""
    lines = []
    for name, command in found.items():
        lines.append(f"    {_quoted(name)}: Command(\n        {{\n")
        for word, option in command.options.items():
            lines.append(f"            {_quoted(word)}: {_row('Option', option)},\n")
        lines.append("        },\n")
        lines.extend(
            f"        {field}={_quoted(value)},\n"
            for field, value in vars(command).items()
            if field != "options" and value != _default(Command, field)
        )
        lines.append("    ),\n")
    return _HEAD + "".join(lines) + "}\n"


def _row(kind: str, option: Option) -> str:
    given = [_quoted(option.parameter)]
    given += [
        f"{field}={_quoted(value)}"
        for field, value in vars(option).items()
        if field != "parameter" and value != _default(Option, field)
    ]
    return f"{kind}({', '.join(given)})"


def _default(kind: type[Command | Option], field: str) -> object:
    return getattr(kind, field, None)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


if __name__ == "__main__":
    TABLE.write_text(table_text(commands()))
