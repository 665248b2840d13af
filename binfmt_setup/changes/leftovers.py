"""What killed runs left: files that were being written, and links to units that are gone.

They are known by exact patterns, by their owner, and by lying where this tool writes; and they
are looked for only while the lock is held, so that nobody is writing them now.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

from binfmt_setup.emulators import discard
from binfmt_setup.emulators.store import STORE, UNFINISHED
from binfmt_setup.model.binfmt_d import OWN_DIRECTORY, VOLATILE_DIRECTORY
from binfmt_setup.model.boot_facts import (
    DROP_IN_PATH,
    PRESET_PATH,
    SCRIPT_PATH,
    UNIT_DIRECTORY,
    UNIT_STEM,
    VOLATILE_DROP_IN_PATH,
    led_to,
)
from binfmt_setup.system.locks import STORE_LOCK, store_locked
from binfmt_setup.system.made_names import TEMPORARY, is_made_up

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.system.host import Host


def remove_leftovers(host: Host, *stores: str) -> None:
    """Remove what killed runs left, and say so; what cannot be removed stays.

    Half-unpacked emulators are looked for in the usual place and in these stores.
    """
    for path in (*_unfinished(host), *_dangling(host)):
        with suppress(OSError):
            host.remove(path)
            host.say(f"removed what a killed run left: {path}")
            if path.rpartition("/")[0].endswith(".wants"):
                host.remove_empty(path.rpartition("/")[0])
    above = (path.rpartition("/")[0] for path in _directories(host))
    for directory in sorted({UNIT_DIRECTORY, *above}):
        _remove_folders(host, directory, TEMPORARY)
    for store in sorted({STORE, *filter(None, stores)}):
        _remove_from_store(host, store)


def _remove_from_store(host: Host, store: str) -> None:
    """Remove half-unpacked emulators, the lock of a killed run, and what that made for them."""
    _remove_folders(host, store.rpartition("/")[0] or "/", TEMPORARY)
    made: tuple[str, ...] = ()
    names = host.names(store)
    if STORE_LOCK in names or any(is_made_up(name, UNFINISHED) for name in names):
        with suppress(OSError), store_locked(host, store) as made:
            _remove_folders(host, store, UNFINISHED)
    discard.remove_store(host, store, made)


def _remove_folders(host: Host, directory: str, prefix: str) -> None:
    """Remove directories of such a name that were being filled."""
    for name in host.names(directory):
        if is_made_up(name, prefix) and _is_own(host, f"{directory}/{name}", stat.S_ISDIR):
            with suppress(OSError), host.directory(directory) as held:
                discard.remove_unfinished(held, name)
                host.say(f"removed what a killed run left: {directory}/{name}")


def _directories(host: Host) -> tuple[str, ...]:
    """Where files and links are written."""
    wants = (name for name in host.names(UNIT_DIRECTORY) if name.endswith(".wants"))
    files = (SCRIPT_PATH, DROP_IN_PATH, VOLATILE_DROP_IN_PATH, PRESET_PATH)
    beside = (path.rpartition("/")[0] for path in files)
    own = (OWN_DIRECTORY, VOLATILE_DIRECTORY, UNIT_DIRECTORY, *beside)
    return (*own, *(f"{UNIT_DIRECTORY}/{name}" for name in wants))


def _is_unit(name: str) -> bool:
    """Whether it is the name of one of this tool's units."""
    stem, _, kind = name.rpartition(".")
    part = stem.removeprefix(UNIT_STEM)
    return kind in ("service", "path") and stem != part and (not part or part[:1] == "-" < part)


def _is_unfinished(name: str) -> bool:
    """Whether a file waits for its name; or a link, as earlier versions named them.

    These had the unit's name, hidden, and the number of their process.
    """
    link, _, process = name.removeprefix(".").rpartition(".")
    earlier = name.startswith(".") and process.isdecimal() and _is_unit(link)
    return earlier or is_made_up(name)


def _unfinished(host: Host) -> Iterator[str]:
    """Files and links that had not got their names yet."""
    for directory in _directories(host):
        for name in host.names(directory):
            path = f"{directory}/{name}"
            if _is_unfinished(name) and _is_own(host, path, stat.S_ISREG, stat.S_ISLNK):
                yield path


def _dangling(host: Host) -> Iterator[str]:
    """Links that enable units of this tool which are not there any more."""
    for directory in _directories(host):
        names = host.names(directory) if directory.endswith(".wants") else ()
        for name in filter(_is_unit, names):
            unit, path = f"{UNIT_DIRECTORY}/{name}", f"{directory}/{name}"
            if led_to(path, host.link_target(path)) == unit and not host.is_there(unit):
                yield path


def _is_own(host: Host, path: str, *kinds: object) -> bool:
    with suppress(OSError):
        status = host.stat(path, follow=False)
        fits = any(callable(kind) and kind(status.st_mode) for kind in kinds)
        return fits and status.st_uid == os.geteuid()
    return False
