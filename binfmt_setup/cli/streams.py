"""Standard input, output and error: opened, guarded and written here.

Any of them may have been closed, may lead to a full disk, or to a reader that went away. None
of that changes what a command does, or its exit status. Standard output gets the answer,
whole, once, at the end; standard error takes what it can.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress

from binfmt_setup.model.escaping import safe

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import TextIO

_broken: list[TextIO] = []


class _Patient(io.FileIO):
    """A descriptor that may be one of those that want to be asked again when they are full."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # what a buffer hands over
        while (written := super().write(data)) is None:
            poll = select.poll()
            poll.register(self.fileno(), select.POLLOUT)
            poll.poll()
        return written


class _Forgiving(_Patient):
    """One whose writer does not care whether it can be written to: the conversation."""

    def write(self, data: bytes, /) -> int:  # type: ignore[override]  # as above
        try:
            return super().write(data)
        except OSError:
            return len(data)


def guard() -> None:
    """Make the three streams safe to use, whatever they are.

    A descriptor that is closed would be given to the next file that is opened, and what is
    said would end up in there. It is taken by /dev/null instead, but not for programs that
    are started: they find it closed, as the caller wished.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    sys.stdout = _stream(1, _Patient, sys.stdout, "backslashreplace")
    sys.stderr = _stream(2, _Forgiving, sys.stderr, "backslashreplace")


def _stream(descriptor: int, kind: type[io.FileIO], was: object, errors: str) -> io.TextIOWrapper:
    """A text stream, encoded as Python has decided; it gave none for a closed descriptor.

    What the encoding lacks is shown in another form, unless the caller has chosen one: "strict" and
    "surrogateescape", which C locales have, would end in an error.
    """
    encoding = getattr(was, "encoding", None) or "utf-8"
    kept = getattr(was, "errors", None)
    return io.TextIOWrapper(
        io.BufferedWriter(kind(descriptor, "w", closefd=False)),
        encoding=encoding,
        errors=errors if kept in (None, "strict", "surrogateescape") else kept,
        line_buffering=descriptor == 2,
    )


def say(text: str) -> None:
    """Tell the user something beside the answer."""
    print(safe(text), file=sys.stderr)


def write_answer(text: str, *, commands: bool = False) -> None:
    """Write the answer. Where that fails, what was done stays, and the exit status with it.

    With `commands` it is made of commands to a CI runner.
    """
    try:
        sys.stdout.write(safe(text, commands=commands))
        sys.stdout.flush()
    except OSError as error:
        # Whoever closed a pipe has read enough; a full disk is worth a word.
        if error.errno != errno.EPIPE:
            say(f"the answer could not be written: {error.strerror}")
        # Kept: from Python 3.13 on, one that goes with text unwritten prints a traceback.
        _broken.append(sys.stdout)
        with suppress(OSError):
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the end
