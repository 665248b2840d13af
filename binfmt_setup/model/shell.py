"""Commands as a user types them into a shell. Pure."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./=:,@%+")
"""What no shell takes for anything else; shlex.quote leaves the same alone.

Not shlex itself: it loads `re`, and commands are told where no file can be opened any more.
"""


def typed(argv: Iterable[str]) -> str:
    """A command line with its words quoted where a shell needs it."""
    return " ".join(word if word and _PLAIN.issuperset(word) else _quoted(word) for word in argv)


def from_outside(root: str, path: str) -> str:
    """A path of a tree, as a shell names it that does not run in there."""
    return root.rstrip("/") + path


def moving_away(root: str, path: str) -> str:
    """The command that keeps a file of a tree under another name."""
    there = from_outside(root, path)
    return typed(("mv", there, f"{there}.old"))


def _quoted(word: str) -> str:
    escaped = word.replace("'", """'"'"'""")
    return f"'{escaped}'"
