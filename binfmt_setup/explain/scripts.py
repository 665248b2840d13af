"""What a script's first line asks for: as the kernel reads it, and as env(1) does."""

from __future__ import annotations

from binfmt_setup.model.records import Record

WINDOW = 256
"""Bytes of a program that decide what runs it: BINPRM_BUF_SIZE in the kernel."""
_BLANK = b" \t"
_SPLIT = ("-S", "-iS", "-vS", "--split-string")
_SHELLS = ("sh", "ash", "bash", "dash", "ksh", "mksh", "zsh")


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
        shell = self.interpreter.rpartition("/")[2] in _SHELLS
        named = self.is_env and not self.argument.startswith(_SPLIT)  # that drops a CR
        return self.argument.endswith("\r") and (named or shell)


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


def program_of_env(argument: str) -> str | None:
    """The program that env(1) of coreutils starts for a script; None when that cannot be told.

    The kernel hands over one argument: it is the program's name, unless env splits it (-S).
    """
    words = [argument]
    if argument.startswith(_SPLIT):
        rest = argument.partition("S" if argument[1] != "-" else "string")[2]
        words = rest.lstrip("= ").split()
    elif argument.startswith("-") or not argument:
        return None
    found = next((word for word in words if "=" not in word and not word.startswith("-")), None)
    return None if found is None or set(found) & set("\\\"'$#") else found
