"""Removing what --qemu brought: the files by name, and the directories that were made for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.emulators.store import MANIFEST, STORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.system.host import Host


def remove(host: Host, stored: Stored) -> None:
    """Remove exactly what was unpacked: the files by name, and directories left empty.

    Raises OSError. A file that someone else put there stays, and with it the directory.
    """
    for name in (*stored.files, MANIFEST):
        host.remove(f"{stored.directory}/{name}")
    host.remove_empty(stored.directory)
    store = stored.directory.rpartition("/")[0]
    own = (STORE, STORE.rpartition("/")[0]) if store == STORE else ()
    remove_directories(host, tuple({*stored.made, *own}))


def remove_directories(host: Host, made: Iterable[str]) -> None:
    """Remove directories that were made, the deepest first, if nothing is in them."""
    for directory in sorted(made, key=len, reverse=True):
        host.remove_empty(directory)
