"""The binfmt_misc registry as it was seen. Pure."""

from __future__ import annotations

from functools import cached_property

from binfmt_setup.model.mountinfo import ABSENT, BinfmtMount
from binfmt_setup.model.reading import NOT_LOOKED_AT, NotLookedAt, Unreadable
from binfmt_setup.model.records import NOTHING, Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Target


SWAP_PREFIX = "binfmt-setup-swap-"
"""Names the entries that cover a replacement; one left over belongs to a killed run."""


class UnreadEntry(Record):
    """An entry whose text could not be read, or makes no sense (`problem` says why)."""

    name: str
    problem: str | Unreadable


class RegistryFacts(Record):
    """Where the registry is, and its entries.

    Entries come in match order: the kernel picks the first that fits. `enabled` is the switch
    for all entries. `listing` tells why the list of entries is not known; None: it is complete
    but for what `unread` names. `own` says whether the registry belongs to this user
    namespace: a container's does, the one that a bare `unshare` sees is the host's. `marked`
    names the entries that this tool has made where it could write no file about them. `taken`
    has, by entry, a command of the host whose name ends as it wants; the security view alone asks.
    """

    mount: BinfmtMount = ABSENT
    enabled: bool | NotLookedAt | Unreadable = NOT_LOOKED_AT
    own: bool = False
    entries: tuple[Entry, ...] = ()
    listing: NotLookedAt | Unreadable | None = NOT_LOOKED_AT
    unread: tuple[UnreadEntry, ...] = ()
    marked: frozenset[str] = frozenset()
    taken: Mapping[str, str] = NOTHING

    @property
    def complete(self) -> bool:
        """Whether every entry was read: only then it can be said that there is none."""
        return self.listing is None and not self.unread

    def entry(self, name: str) -> Entry | None:
        """The entry of this name."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> Mapping[str, Entry]:
        return {entry.registration.name: entry for entry in self.entries}

    def taker(self, target: Target) -> Entry | None:
        """The entry that would get a target's usual program, or else one of its others."""
        able = [entry for entry in self.entries if entry.registration.takes_any(target.headers)]
        found = (_picked(able, header) for header in target.headers)
        return next((entry for entry in found if entry is not None), None)

    def handler(self, header: bytes) -> Entry | None:
        """The entry the kernel picks for a program that starts so."""
        return _picked(self.entries, header)


def _picked(entries: Iterable[Entry], header: bytes) -> Entry | None:
    """The newest enabled match; entries stand in the kernel's order."""
    for entry in entries:
        if entry.enabled and entry.registration.matches(header):
            return entry
    return None
