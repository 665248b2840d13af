"""Strict readers of what monitoring reads: Prometheus' text format, the journal's entries.

By "Exposition formats" of Prometheus and "Journal Export Formats" of systemd; what these forbid,
and what promtool's lint complains of, is an AssertionError.
"""

from __future__ import annotations

import re

_NAME = r"[a-z_][a-z0-9_]*"
_LABEL = rf'{_NAME}="(?:[^"\\\n]|\\["\\n])*"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
_FIELD = re.compile(r"[A-Z][A-Z0-9_]*")

Labels = tuple[tuple[str, str], ...]


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """Every sample by its name and labels; families have HELP and TYPE and stand together."""
    found: dict[tuple[str, Labels], float] = {}
    family = ""
    seen: set[str] = set()
    lines = iter(text.removesuffix("\n").split("\n"))
    for line in lines:
        if line.startswith("# HELP "):
            family, words = line.removeprefix("# HELP ").split(" ", 1)
            assert words
            assert family not in seen, f"{family} comes twice"
            assert next(lines) == f"# TYPE {family} gauge"
            assert not family.endswith(("_total", "_count", "_sum", "_bucket")), "no gauge's name"
            seen.add(family)
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        assert match[1] == family, line
        labels = tuple(
            (name, value)
            for name, value in re.findall(rf'({_NAME})="((?:[^"\\]|\\.)*)"', match[2] or "")
        )
        assert len(dict(labels)) == len(labels)
        assert (family, labels) not in found, line
        found[family, labels] = float(match[3])
    return found


def journal_entries(text: str) -> list[dict[str, str]]:
    """Every entry with its fields."""
    assert text.endswith("\n\n")
    entries = []
    for entry in text.removesuffix("\n\n").split("\n\n"):
        fields = [line.partition("=") for line in entry.split("\n")]
        assert all(_FIELD.fullmatch(name) and equals for name, equals, _ in fields), entry
        found = {name: value for name, _, value in fields}
        assert len(found) == len(fields)
        assert found["MESSAGE"]
        assert found["PRIORITY"] in "346"
        assert re.fullmatch("[0-9a-f]{32}", found["MESSAGE_ID"])
        entries.append(found)
    return entries
