"""Files that ship with the package, wherever that is: in a directory, or in a single file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.abc import ResourceLoader

PACKAGE = os.path.dirname(os.path.dirname(__file__))


def content(*names: str) -> bytes:
    """What a file of the package holds; raises OSError where there is none of that name."""
    # Whatever imported this module knows how to read what lies beside it.
    loader = cast("ResourceLoader", __spec__.loader)
    return loader.get_data(os.path.join(PACKAGE, *names))
