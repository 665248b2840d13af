"""Commands as a user types them into a shell. Pure."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable


def typed(argv: Iterable[str]) -> str:
    """A command line with its words quoted where a shell needs it."""
    import shlex  # it brings `re`, which a host that is well needs for nothing

    return shlex.join(argv)
