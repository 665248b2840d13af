"""What a script's first line asks for: as the kernel reads it, and as env(1) does."""

from __future__ import annotations

from binfmt_setup.model.records import Record

WINDOW = 256
"""Bytes of a program that decide what runs it: BINPRM_BUF_SIZE in the kernel."""
_BLANK = b" \t"
_SPLIT = ("-S", "-iS", "-vS", "--split-string=")
_LONG = {"ignore-environment": "i", "debug": "v", "unset": "u", "chdir": "C"} | dict.fromkeys(
    ("default-signal", "ignore-signal", "block-signal", "list-signal-handling"), "v"
)
"""Long options of env by the letter of one that has the same effect here."""
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
    goes first.
    """

    program: str
    path: str | None = None
    directory: str = ""


def call_of_env(argument: str) -> EnvCall | None:
    """What env makes of the one argument that the kernel hands over; None when it is not known.

    It is one word unless env splits it (-S), and the script's own path follows.
    """
    words = [argument] if argument else []
    if argument.startswith(_SPLIT):
        words = argument.partition("S" if argument[1] != "-" else "=")[2].split()
        if set("\\\"'$") & set("".join(words)):
            return None
        comment = (at for at, word in enumerate(words) if word.startswith("#"))
        words = words[: next(comment, None)]
        if argument.startswith("-i"):
            words.insert(0, "-i")
    return _call([*words, ""])


def _call(words: list[str]) -> EnvCall | None:
    """The same of words: options, then variables, then the program."""
    path, directory = None, ""
    while words[0].startswith("-") and words[0] != "--":
        option, value = _option(words)
        if option is None:
            return None
        if option == "i" or (option == "u" and value == "PATH"):
            path = _WITHOUT_PATH
        directory = value if option == "C" else directory
    words = words[1:] if words[0] == "--" else words
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        path = value if name == "PATH" else path
    return EnvCall(words[0], path, directory) if words else None


def _option(words: list[str]) -> tuple[str | None, str]:
    """Take one option and its value off; a letter, or None for what not every env knows."""
    word = words[0]
    name, equals, value = word.removeprefix("--").partition("=")
    if word.startswith("--"):
        letter, rest = _LONG.get(name), value if equals else ""
    else:
        letter, rest = word[1:2] or "i", word[2:]
    if letter is None or letter not in "ivuC":
        return None, ""
    if letter in "iv" and rest and not equals:
        words[0] = f"-{rest}"
        return letter, ""
    del words[0]
    if letter in "uC" and not rest and not equals:
        if len(words) < 2:
            return None, ""  # it takes the script's own path
        rest = words.pop(0)
    return letter, rest
