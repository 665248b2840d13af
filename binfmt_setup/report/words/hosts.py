"""The words for every finding about a host, by its class."""

from __future__ import annotations

from binfmt_setup.report.words import interpreters, next_boot, probes, registry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.report.words.sentences import Sentences


SENTENCES: Sentences = {
    **registry.SENTENCES, **interpreters.SENTENCES, **probes.SENTENCES, **next_boot.SENTENCES,
}  # fmt: skip
