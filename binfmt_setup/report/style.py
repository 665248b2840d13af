"""How text may look on a stream."""

from __future__ import annotations

from binfmt_setup.model.records import Record

_COLOURS = {"good": "32", "bad": "31", "warn": "33", "dim": "2"}
_SIGNS = {"good": "✓", "bad": "✗", "warn": "!", "note": "·", "hint": "→"}
_ASCII = {"good": "ok", "bad": "XX", "warn": "!!", "note": "--", "hint": "->"}


class Style(Record):
    """With colours or without, and with signs beyond ASCII or without."""

    colour: bool = False
    unicode: bool = True

    def paint(self, text: str, kind: str) -> str:
        """Text in the colour of a kind, on a stream that shows colours."""
        return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if self.colour else text

    def mark(self, kind: str) -> str:
        """The sign in front of a line."""
        sign = (_SIGNS if self.unicode else _ASCII)[kind]
        return self.paint(sign, kind) if kind in _COLOURS else sign


PLAIN = Style()
