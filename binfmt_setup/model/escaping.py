"""What makes any text safe to print: the one way out for what files and other users say. Pure.

Names of entries, paths, command lines of other users' processes and output of programs may hold
terminal control characters, C1, marks that turn the direction of text round, bytes that are no
UTF-8, and commands to a CI runner. All of it is shown, and none of it works.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from re import Match


_COLOURS = tuple(f"\x1b[{number}m" for number in (0, 2, 31, 32, 33))
_OWN = r"\r?\x1b\[K|\x1b\[(?:0|2|31|32|33)m"
"""What this tool itself sends to a terminal: a line to be written anew, and colours."""
_UNSAFE = rf"({_OWN})|[^ -~\n]"
_COMMAND = r"(?m)^([ \t]*):(?=:)|##(?=\[)"
"""GitHub's runner takes a line for a command that starts with "::", behind blanks too, or that
has "##[" anywhere."""


def visible(text: str) -> str:
    """Text in one line: what cannot be printed is shown by its number."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _numbered(c) for c in text)


def _numbered(character: str) -> str:
    """A byte that is no UTF-8 is shown as that byte, and not as what Python keeps it in."""
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def safe(text: str, *, commands: bool = False) -> str:
    """Text as it may leave: lines stay lines, and the colours of this tool stay colours.

    With `commands` the lines are meant for a CI runner, which obeys them.
    """
    if not _plain(text):
        text = _replaced(_UNSAFE, lambda found: found[1] or visible(found[0]), text)
    if commands or ("::" not in text and "##[" not in text):
        return text
    return _replaced(
        _COMMAND, lambda found: f"{found[1]}\\:" if found[1] is not None else "#\\#", text
    )


def _plain(text: str) -> bool:
    """Whether nothing but lines, and colours of this tool, is in a text."""
    for own in _COLOURS if "\x1b" in text else ():
        text = text.replace(own, " ")  # by a blank: what is left may not become another one
    return text.replace("\n", "").isprintable()


def _replaced(pattern: str, by: Callable[[Match[str]], str], text: str) -> str:
    import re  # most of what is printed needs no replacement

    return re.sub(pattern, by, text)
