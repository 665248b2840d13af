"""buildah: its version and its store."""

from __future__ import annotations

from binfmt_setup.engines.build_log import as_text
from binfmt_setup.engines.store_engine import StoreEngine, StoreFacts, parse_info

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.engines.call import Caller


class Buildah(StoreEngine):
    """buildah, whose `info` does not have its version."""

    name = "buildah"
    # The first with several --platform in one build and --manifest (its release notes).
    oldest = (1, 19)
    no_pull = "--pull-never"

    def facts(self, caller: Caller) -> StoreFacts:
        """Read `buildah version` and `buildah info`."""
        version = as_text(caller.ask_for_json(("buildah", "version", "--json")).get("version"))
        return parse_info(version, caller.ask_for_json(("buildah", "info")))


ENGINE = Buildah()
