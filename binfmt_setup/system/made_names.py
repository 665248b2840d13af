"""Names of files and directories that have yet to get their own: a known prefix, and eight letters.

What has such a name when no run is at work was left by one that was killed.
"""

from __future__ import annotations

import os

TEMPORARY = ".binfmt-setup-"
"""How the names of files and directories begin that are being written."""
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")  # as in tempfile, once used for them
_SUFFIX = 8


def made_up(prefix: str = TEMPORARY) -> str:
    """A name that nothing has."""
    return prefix + os.urandom(_SUFFIX // 2).hex()


def is_made_up(name: str, prefix: str = TEMPORARY) -> bool:
    """Whether it is this prefix and eight letters."""
    suffix = name.removeprefix(prefix)
    return suffix != name and len(suffix) == _SUFFIX and _LETTERS.issuperset(suffix)
