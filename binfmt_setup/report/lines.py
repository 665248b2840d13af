"""Lines of 80 columns: wrapped words, words behind a sign, and tables."""

from __future__ import annotations

from binfmt_setup.model.escaping import visible
from binfmt_setup.report.style import Style

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


_COLUMNS = 80


def wrapped(text: str, first: str, rest: str) -> Iterator[str]:
    """Words in lines of 80 columns, the first line begun with `first`, others with `rest`.

    Paths are never broken, so that they can be copied.
    """
    return _filled(visible(text).split(" "), first, rest)


def hint(style: Style, text: str) -> Iterator[str]:
    """What to do, behind its sign. A command in it stays on one line, so that it can be copied.

    So a line ends behind a comma or a semicolon, and nowhere else: commands have none of them
    before a blank.
    """
    clauses: list[list[str]] = [[]]
    for word in visible(text).split(" "):
        clauses[-1].append(word)
        if word.endswith((",", ";")):
            clauses.append([])
    joined = [" ".join(words) for words in clauses if words]
    return _filled(joined, f"  {style.mark('hint')} ", "    ")


def _filled(words: Sequence[str], first: str, rest: str) -> Iterator[str]:
    line, gap, empty = first, "", True
    # Not textwrap: it loads `re`, for a tenth of a short command's time.
    for number, word in enumerate(words):
        gap += " " if number else ""
        if not word:
            continue  # several blanks in a row stay, but for those at the end of a line
        if not empty and len(line) + len(gap) + len(word) > _COLUMNS:
            yield line
            line, gap = rest, ""
        line, gap, empty = line + gap + word, "", False
    if not empty:
        yield line


def marked(style: Style, kind: str, text: str, indent: int = 2) -> Iterator[str]:
    """A wrapped line behind its sign, which is put in last: colours have no width."""
    sign = style.mark(kind)
    width = len(Style(unicode=style.unicode).mark(kind)) + 1
    for number, line in enumerate(wrapped(text, " " * width, " " * max(width, indent))):
        yield sign + line[width - 1 :] if number == 0 else line


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns aligned to their widest cell, the last one left as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield "  ".join([*cells, row[-1]]).rstrip()
