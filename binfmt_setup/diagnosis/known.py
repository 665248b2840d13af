"""The catalogue, loaded when the first finding is made: a host in order needs none of it."""

from __future__ import annotations

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.diagnosis.catalogue import *  # noqa: F403 - all of it, for type checkers
else:

    def __getattr__(name: str) -> object:
        from binfmt_setup.diagnosis import catalogue

        return getattr(catalogue, name)
