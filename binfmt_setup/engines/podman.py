"""podman: its version, its store, and whether it is a client of another machine."""

from __future__ import annotations

from binfmt_setup.engines.store_engine import StoreEngine, StoreFacts, parse_info

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.engines.call import Caller


__all__ = ["ENGINE", "Podman", "parse_info"]


class Podman(StoreEngine):
    """podman, which has all it says of itself in one answer."""

    name = "podman"
    # The first with several --platform in one build and --manifest (its release notes).
    oldest = (3, 0)
    no_pull = "--pull=never"

    def facts(self, caller: Caller) -> StoreFacts:
        """Read `podman info`."""
        return parse_info("", caller.ask_for_json(("podman", "info", "--format", "json")))


ENGINE = Podman()
