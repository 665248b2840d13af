#!/usr/bin/env python3
"""Write what bash, zsh and fish complete binfmt-setup with: binfmt_setup/data/completion/.

Out of the declared commands and options and of scripts/completions/, so that a key press starts
no Python. To be run after every change of an option; a test compares the two.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from binfmt_setup.commands.completion import SHELLS
from binfmt_setup.engines.interface import ENGINES
from binfmt_setup.model.targets import ENTRY_PREFIX, platforms_by_alias
from declared import TOP, Command, Word, commands, platforms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TEMPLATES = TOP / "scripts" / "completions"
FOLDER = TOP / "binfmt_setup" / "data" / "completion"
# What a value is, by the word that stands for it in --help. A new word has to be added here.
KINDS = {
    "DIR": "directory", "FILE": "file", "SOURCE": "file", "HEX": "text", "NAME,…": "engines",
    "PLATFORM": "platform", "[PLATFORM]...": "platform", "COMMAND...": "program", "SHELL": "shell",
}  # fmt: skip
ENGINE_NAMES = (*ENGINES, "auto")
BASH = {
    "directory": "__binfmt_setup_files -d", "file": "__binfmt_setup_files -f", "text": ":",
    "platform": "__binfmt_setup_platforms", "shell": f"__binfmt_setup_words '{' '.join(SHELLS)}'",
    "entry": '__binfmt_setup_platforms\n            [[ -n $cur && $cur != q* ]] || '
    '__binfmt_setup_words "${COMPREPLY[*]} $(__binfmt_setup_entries)"',
}  # fmt: skip
ZSH = {
    "directory": "_directories", "file": "_files", "text": " ",
    "platform": "_binfmt_setup_platforms",
    "engines": f"_sequence compadd - {' '.join(ENGINE_NAMES)}", "program": "_normal",
    "shell": f"({' '.join(SHELLS)})",
    "entry": "_alternative 'platforms\\:platform\\:_binfmt_setup_platforms' "
    "'entries\\:entry\\:_binfmt_setup_entries'",
}  # fmt: skip
FISH = {
    "directory": "__fish_complete_directories (__binfmt_setup_value)",
    "platform": "__binfmt_setup_platforms",
    "entry": "__binfmt_setup_platforms; __binfmt_setup_entries",
    "engines": f"__binfmt_setup_list {' '.join(ENGINE_NAMES)}",
    "shell": f"printf '%s\\\\n' {' '.join(SHELLS)}",
}  # fmt: skip


def kind_of(word: Word, command: Command) -> str:
    """What a value is; raises KeyError for a word that nobody has thought of."""
    kind = "choice" if word.choices else KINDS[word.stands_for]
    return "entry" if kind == "platform" and command.name == "uninstall" else kind


def text_for(shell: str) -> str:
    """The whole completion for a shell."""
    text = (TEMPLATES / shell).read_text(encoding="utf-8")
    spelled = sorted({*platforms_by_alias(), "all"} - set(platforms()))
    words = {
        "PLATFORMS": " ".join(platforms()),
        # Names of entries come from the host that completes.
        "SPELLINGS": " ".join(n for n in spelled if not n.startswith(("linux/", ENTRY_PREFIX))),
    }
    words |= {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands())
    for name, value in words.items():
        text = text.replace(f"@{name}@", value)
    return text


# --- bash ----------------------------------------------------------------------------------


def _bash(found: list[Command]) -> dict[str, str]:
    run = next(command for command in found if not command.interspersed)
    taking = (name for word in run.options if word.takes_value for name in word.names)
    return {
        "RUN_VALUES": " | ".join(taking),
        "COMMANDS": " ".join(command.name for command in found),
        "VALUES": "\n".join(_bash_values(found)),
        "OPTIONS": "\n".join(map(_bash_options, found)),
        "OPERANDS": "\n".join(
            f"        {command.name}:*)\n            {BASH[kind_of(command.operand, command)]}\n"
            "            ;;"
            for command in found
            if command.operand and command.interspersed
        ),
    }


def _bash_values(found: list[Command]) -> Iterator[str]:
    for what, names in _same(found).items():
        pattern = " | ".join(names)
        yield f"        {pattern})\n            {what}\n            return\n            ;;"


def _same(found: list[Command]) -> dict[str, list[str]]:
    """The patterns of all options by what completes their values."""
    patterns: dict[str, list[str]] = {}
    for command in found:
        for word in command.options:
            if word.takes_value:
                names = [f"{command.name}\\ {name}" for name in word.names]
                patterns.setdefault(_bash_value(word, command), []).extend(names)
    return patterns


def _bash_value(word: Word, command: Command) -> str:
    if word.choices:
        return f"__binfmt_setup_words '{' '.join(word.choices)}'"
    if kind_of(word, command) == "engines":
        names = " ".join(ENGINE_NAMES)
        return (
            "[[ $cur != *,* ]] || before+=${cur%,*}, cur=${cur##*,}\n"
            f"            compopt -o nospace\n            __binfmt_setup_words '{names}'"
        )
    return BASH[kind_of(word, command)]


def _bash_options(command: Command) -> str:
    names = " ".join([*(n for w in command.options for n in w.names), "-h", "--help"])
    return f"        {command.name}::-*) __binfmt_setup_words '{names}' ;;"


# --- zsh -----------------------------------------------------------------------------------


def _zsh(found: list[Command]) -> dict[str, str]:
    described = (f"{command.name}:{_plain(command.short)}" for command in found)
    return {
        "COMMANDS": "\n".join(f"                {shlex.quote(words)}" for words in described),
        "WORDS": "\n".join(map(_zsh_command, found)),
    }


def _zsh_command(command: Command) -> str:
    specs = [_zsh_option(word, command) for word in command.options]
    specs.append("'(- *)'{-h,--help}'[Show this help]'")
    if command.operand and not command.interspersed:
        specs += ["'(-)1:command: _command_names -e'", "'*::words: _normal'"]
    elif command.operand:
        many = "*" if command.operand.many else "1"
        action = ZSH[kind_of(command.operand, command)]
        specs.append(f'"{many}:{_named(command.operand)}:{action}"')
    inside = " \\\n                        ".join(specs)
    return (
        f"                {command.name})\n                    _arguments -S -s \\\n"
        f"                        {inside}\n                    ;;"
    )


def _zsh_option(word: Word, command: Command) -> str:
    long = [name for name in word.names if name.startswith("--")]
    names = [*(n for n in word.names if n not in long), *long]
    apart = "" if word.many or len(names) == 1 else f"({' '.join(names)})"
    value = ""
    if word.takes_value:
        names = [name + ("=" if name.startswith("--") else "+") for name in names]
        action = f"({' '.join(word.choices)})" if word.choices else ZSH[kind_of(word, command)]
        value = f":{_named(word)}:{action}"
    spec = f"[{_plain(word.help)}]{value}"
    front = shlex.quote(f"{'*' if word.many else ''}{apart}") if word.many or apart else ""
    if len(names) == 1:
        return shlex.quote(f"{'*' if word.many else ''}{names[0]}{spec}")
    return f"{front}{{{','.join(names)}}}{shlex.quote(spec)}"


def _named(word: Word) -> str:
    return word.stands_for.strip("[].,…").lower() if not word.choices else "value"


def _plain(text: str) -> str:
    """A help text as one short line that no shell takes for more; brackets would end it."""
    short = text.partition("  [default")[0].partition(". ")[0].rstrip(".")
    return short.translate(str.maketrans("[]'", "()\u2019")).replace(":", "\\:")


# --- fish ----------------------------------------------------------------------------------


def _fish(found: list[Command]) -> dict[str, str]:
    return {"LINES": "\n".join(line for command in found for line in _fish_lines(command))}


def _fish_lines(command: Command) -> Iterable[str]:
    yield f"""complete -c binfmt-setup -n '__binfmt_setup_using ""' -a {command.name} \
-d {_fish_word(command.short)}"""
    front = f"complete -c binfmt-setup -n '__binfmt_setup_using {command.name}'"
    for word in command.options:
        names = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in word.names)
        text = _fish_word(_plain(word.help).replace("\\:", ":"))
        yield f"{front} {names}{_fish_value(word, command)} -d {text}"
    yield f"{front} -s h -l help -d 'Show this help'"
    if command.operand and not command.interspersed:
        taking = [name for word in command.options if word.takes_value for name in word.names]
        # A short one first: the function takes long ones in front for its own options, and a "--"
        # for one that has a value.
        taking.sort(key=len)
        skipping = f"__fish_complete_subcommand --fcs-skip=2 {' '.join(taking)}"
        yield f"{front} -a '({skipping})'"
    elif command.operand:
        kind = kind_of(command.operand, command)
        yield f"{front} -F" if kind == "file" else f'{front} -a "({FISH[kind]})"'


def _fish_value(word: Word, command: Command) -> str:
    if not word.takes_value:
        return ""
    if word.choices:
        return f" -x -a '{' '.join(word.choices)}'"
    kind = kind_of(word, command)
    if kind in {"file", "text"}:
        return " -r -F" if kind == "file" else " -x"
    return f" -x -a '({FISH[kind]})'"


def _fish_word(text: str) -> str:
    return "'" + text.rstrip(".").replace("\\", "\\\\").replace("'", "\\'") + "'"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in SHELLS:
        (FOLDER / each).write_text(text_for(each), encoding="utf-8")
