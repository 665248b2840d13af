"""Markdown as this project writes it, turned into the macros of man(7).

scripts/manual.py uses it.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKS = re.compile(r"\n{2,}")
_FENCE = re.compile(r"^```.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Code, bold, links; nothing inside code is looked at again.
_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\(([^)]+)\)")
_ESCAPES = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
# Where the locale is C, troff has ASCII alone, and no other form of these.
_ESCAPES |= {"…": "...", "·": "-", "✓": "+", "✗": "x"}


def escaped(text: str) -> str:
    """A text that roff prints as it is."""
    plain = "".join(_ESCAPES.get(letter, letter) for letter in text)
    return "".join(x if x.isascii() else f"\\[u{ord(x):04X}]" for x in plain)


def line(text: str) -> str:
    """One input line: a dot at its begin would be a command."""
    return f"\\&{text}" if text.startswith(".") else text


def filled(text: str) -> str:
    """Words with their emphasis, in input lines that are not too long."""
    rows = textwrap.wrap(inline(" ".join(text.split())), 78, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip
    return "\n".join(map(line, rows))


def inline(text: str) -> str:
    """Words with their emphasis; a link is its text."""
    parts, at = [], 0
    for found in _INLINE.finditer(text):
        parts.append(escaped(text[at : found.start()]))
        code, bold, italic, link, _ = found.groups()
        if code or bold:
            parts.append(f"\\fB{escaped(code or bold)}\\fP")
        else:
            parts.append(f"\\fI{escaped(italic)}\\fP" if italic else inline(link))
        at = found.end()
    return "".join([*parts, escaped(text[at:])])


def blocks(markdown: str) -> Iterator[str]:
    """The macros for a piece of Markdown, a block at a time."""
    at = 0
    for fence in _FENCE.finditer(markdown):
        yield from _text(markdown[at : fence.start()])
        lines = "\n".join(line(escaped(row)) for row in fence[1].splitlines())
        yield f".PP\n.RS 4\n.EX\n{lines}\n.EE\n.RE"
        at = fence.end()
    yield from _text(markdown[at:])


def _text(markdown: str) -> Iterator[str]:
    for block in filter(None, _BLOCKS.split(markdown.strip())):
        if not block.startswith("#"):
            yield _paragraph(block)
            continue
        heading, _, rest = block.partition("\n")
        level, _, title = heading.partition(" ")
        yield f".{'SH' if level == '##' else 'SS'} {inline(title.strip('`'))}"
        if rest:
            yield _paragraph(rest)


def page(*parts: str) -> str:
    """A page of parts; what begins a paragraph right behind a heading is left out."""
    text = "\n".join(parts)
    return re.sub(r"^(\.S[HS] .*\n)\.PP\n", r"\1", text, flags=re.MULTILINE) + "\n"


def _paragraph(block: str) -> str:
    if block.startswith("|"):
        raise ValueError(f"a table cannot be shown in a manual page: {block[:60]}")
    if block.startswith("- "):
        items = re.split(r"^- ", block, flags=re.MULTILINE)[1:]
        return "\n".join(f".IP \\(bu 2\n{filled(item)}" for item in items)
    term, described, text = block.partition("\n: ")
    if described:
        return f".TP\n{line(inline(term))}\n{filled(text)}"
    sentences = re.sub(r"\n(\*\*(?:Detected|Remedy):\*\*)", r"\n.br\n\1", block).split("\n.br\n")
    return ".PP\n" + "\n.br\n".join(map(filled, sentences))
