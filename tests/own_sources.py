"""The package's own source files, each parsed once for all tests that look at them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "binfmt_setup"


@cache
def parsed(path: Path) -> ast.Module:
    """A source file as Python reads it; nobody changes the tree."""
    return ast.parse(path.read_text(encoding="utf-8"))
