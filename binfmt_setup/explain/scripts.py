"""What a script's first line asks for: as the kernel reads it, and as env(1) does."""

from __future__ import annotations

import re
import shlex

from binfmt_setup.model.records import Record

WINDOW = 256
"""Bytes of a program that decide what runs it: BINPRM_BUF_SIZE in the kernel."""
_BLANK = b" \t"
_SPLIT = ("-S", "-iS", "-vS", "--split-string=")
_LONG = {
    "ignore-environment": "i", "debug": "v", "unset": "u", "chdir": "C", "split-string": "S",
    "null": "0", "help": "help", "version": "version", "argv0": "a",
} | dict.fromkeys(
    ("default-signal", "ignore-signal", "block-signal", "list-signal-handling"), "v"
)  # fmt: skip
"""Long options of env by the letter of one that has the same effect here."""
_SIGNS = ("${", *(f"\\{letter}" for letter in "_cfnrtv#$\"'\\"))
"""What env -S takes after $ and \\ (coreutils' src/env.c)."""
_ENDS_IT, _NOT_ALL = ("help", "version"), ("a", "f", "P")
"""Those that print something; those of newer, or of other, envs."""
_WITHOUT_PATH = "/bin:/usr/bin"
"""Where glibc looks for a program that is started without PATH."""
_TAKE_A_CR = frozenset(
    ("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "awk", "gawk", "mawk", "busybox", "make")
) | {"node", "python", "sed"}
"""Interpreters that take a CR for a part of their argument; others, like perl, drop it."""


class Script(Record):
    """What `#!` asks for: an interpreter and at most one argument."""

    interpreter: str
    argument: str = ""

    @property
    def is_env(self) -> bool:
        """Whether its interpreter looks for another program: env(1)."""
        return self.interpreter.rpartition("/")[2] == "env"

    @property
    def stumbles(self) -> bool:
        """Whether a CR at the end of its line is taken for a part of the argument."""
        name = self.interpreter.rpartition("/")[2].rstrip("0123456789.")
        named = self.is_env and not self.argument.startswith(_SPLIT)  # that drops a CR
        return self.argument.endswith("\r") and (named or name in _TAKE_A_CR)


def script_of(head: bytes) -> Script | None:
    """Read a `#!` line as load_script() does (fs/binfmt_script.c, Linux 5.1 and newer).

    A line longer than the window counts only when the interpreter's path ends within it.
    """
    if head[:2] != b"#!":
        return None
    window = head[:WINDOW].ljust(WINDOW, b"\0")
    last = WINDOW - 1
    end = window.partition(b"\0")[0].find(b"\n")  # the search ends at the first NUL
    if end < 0:
        name = _skipped(window, 2, last)
        if name > last or _terminator(window, name, last) > last:
            return None
        end = last
    while window[end - 1 : end] in (b" ", b"\t"):
        end -= 1
    name = _skipped(window, 2, end)
    if name >= end:
        return None
    line = window[:end] + b"\0"
    stop = _terminator(line, name, end)
    argument = b""
    if stop < end and line[stop]:
        argument = line[_skipped(line, stop, end) :].partition(b"\0")[0]
    parts = (line[name:stop], argument)
    return Script(*(part.decode("utf-8", "surrogateescape") for part in parts))


def _skipped(data: bytes, at: int, last: int) -> int:
    """The first place that is no blank; beyond `last` when there is none."""
    while at <= last and data[at] in _BLANK:
        at += 1
    return at


def _terminator(data: bytes, at: int, last: int) -> int:
    """The first blank or NUL; beyond `last` when there is none."""
    while at <= last and data[at] not in _BLANK + b"\0":
        at += 1
    return at


class EnvCall(Record):
    """What env(1) of coreutils starts: a program, or where none is named `""`, the script again.

    `path` is where it looks a name up when that is not the caller's PATH, `directory` where it
    goes first. Without a program it prints something and ends; `refused` says why it fails.
    """

    program: str | None = None
    path: str | None = None
    directory: str | None = None
    refused: str = ""


def call_of_env(argument: str) -> EnvCall | None:
    """What env makes of the one argument that the kernel hands over; None when it is not known.

    It is one word unless env splits it (-S), and the script's own path follows.
    """
    words = [argument, ""] if argument else [""]
    path = directory = None
    while words and words[0].startswith("-") and words[0] != "--":
        letter, value = _option(words)
        if letter in _ENDS_IT:
            return EnvCall()
        if letter not in "ivuCS" or value is None:
            return _refusal(letter, value)
        if letter == "S":
            split = _split(value)
            if split is None or isinstance(split, EnvCall):
                return split
            words = split + words
        if letter == "i" or (letter == "u" and value == "PATH"):
            path = _WITHOUT_PATH
        directory = value if letter == "C" else directory
    words = words[1:] if words[:1] == ["--"] else words
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        path = value if name == "PATH" else path
    if not words and directory is not None:
        return EnvCall(refused="is to go somewhere, and to start nothing there")
    return EnvCall(words[0] if words else None, path, directory)


def _refusal(letter: str, value: str | None) -> EnvCall | None:
    """Why an option makes env fail; None for one that not every env knows."""
    if letter in _NOT_ALL:
        return None
    if letter == "0":
        return EnvCall(refused="has the option -0, with which it starts nothing")
    option = letter if letter.startswith("--") else f"-{letter}"
    what = "is given nothing for" if value is None else "knows no option"
    return EnvCall(refused=f"{what} {option}")


def _split(text: str) -> list[str] | EnvCall | None:
    """What env -S makes of a text; None for what is not read here: escapes and variables."""
    if not text:  # the script's own path
        return [""]
    if "'" not in text and any(sign not in _SIGNS for sign in re.findall(r"\\.?|\$\{?", text)):
        return EnvCall(refused="cannot read what it is to split: $ without {, or an unknown escape")
    if set("\\$") & set(text) or ("#" in text and set("\"'") & set(text)):
        return None
    try:
        words = shlex.split(text)
    except ValueError:
        return EnvCall(refused="finds a quotation mark without its second")
    comment = (at for at, word in enumerate(words) if word.startswith("#"))
    return words[: next(comment, None)]


def _option(words: list[str]) -> tuple[str, str | None]:
    """Take one option and its value off, which is None where it is missing.

    A long one may be cut short where it stays the only one.
    """
    word = words.pop(0)
    name, equals, value = word.removeprefix("--").partition("=")
    if word.startswith("--"):
        found = {_LONG[long] for long in _LONG if long == name} or {
            _LONG[long] for long in _LONG if long.startswith(name)
        }
        letter, rest = (found.pop() if len(found) == 1 else word), value if equals else ""
    else:
        letter, rest = word[1:2] or "i", word[2:]
        if letter in "iv0" and rest:
            words.insert(0, f"-{rest}")
            rest = ""
    if letter in "uCS" and not rest and not equals:
        return letter, words.pop(0) if words else None
    return letter, rest
