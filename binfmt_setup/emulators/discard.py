"""Removing what --qemu brought: the files by name, and the directories that were made for them."""

from __future__ import annotations

import os

from binfmt_setup.emulators.store import MANIFEST, STORE

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable

    from binfmt_setup.emulators.store import Stored
    from binfmt_setup.system.host import Host


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(host: Host, stored: Stored) -> None:
    """Remove exactly what was unpacked: the files by name, and directories left empty.

    Raises OSError. A file that someone else put there stays, and with it the directory.
    """
    for name in (*stored.files, MANIFEST):
        host.remove(f"{stored.directory}/{name}")
    host.remove_empty(stored.directory)
    remove_store(host, stored.directory.rpartition("/")[0], stored.made)


def remove_store(host: Host, store: str, made: Iterable[str] = ()) -> None:
    """Remove directories that were made for a store, if nothing is in them: the usual one was."""
    own = (STORE, STORE.rpartition("/")[0]) if store == STORE else ()
    remove_directories(host, {*made, *own})


def remove_directories(host: Host, made: Iterable[str]) -> None:
    """Remove directories that were made, the deepest first, if nothing is in them."""
    for directory in sorted(made, key=len, reverse=True):
        host.remove_empty(directory)


def remove_unfinished(store: int, name: str) -> None:
    """Remove a directory that was to be filled: the files in it, and then itself.

    A link of that name is none of ours, and nothing behind it is touched. Raises OSError.
    """
    try:
        folder = os.open(name, _DIRECTORY, dir_fd=store)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        if os.stat(folder).st_uid != os.geteuid():
            return
        for file in os.listdir(folder):
            os.unlink(file, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=store)
