"""What killed runs left: files that were being written, and links to units that are gone.

They are known by exact patterns, by their owner, and by lying where this tool writes; and they
are looked for only while the lock is held, so that nobody is writing them now.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from binfmt_setup.emulators.store import STORE, UNFINISHED
from binfmt_setup.model.binfmt_d import OWN_DIRECTORY, VOLATILE_DIRECTORY
from binfmt_setup.model.boot_facts import SCRIPT_PATH, UNIT_DIRECTORY, UNIT_STEM
from binfmt_setup.system.tree import TEMPORARY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.system.host import Host

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")
_SUFFIX = 8  # such letters at the end of a name, as in tempfile


def remove_leftovers(host: Host) -> None:
    """Remove what killed runs left, and say so; what cannot be removed stays."""
    for path in (*_unfinished(host), *_dangling(host)):
        with suppress(OSError):
            host.remove(path)
            host.say(f"removed what a killed run left: {path}")
            if path.rpartition("/")[0].endswith(".wants"):
                host.remove_empty(path.rpartition("/")[0])
    for name in host.names(STORE):
        if _made_up(name, UNFINISHED) and _is_own(host, f"{STORE}/{name}", stat.S_ISDIR):
            _remove_unpacked(host, f"{STORE}/{name}")


def _directories(host: Host) -> tuple[str, ...]:
    wants = (name for name in host.names(UNIT_DIRECTORY) if name.endswith(".wants"))
    own = (OWN_DIRECTORY, VOLATILE_DIRECTORY, SCRIPT_PATH.rpartition("/")[0], UNIT_DIRECTORY)
    return (*own, *(f"{UNIT_DIRECTORY}/{name}" for name in wants))


def _made_up(name: str, prefix: str) -> bool:
    """Whether it is this prefix and eight letters."""
    suffix = name.removeprefix(prefix)
    return suffix != name and len(suffix) == _SUFFIX and _LETTERS.issuperset(suffix)


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
    return earlier or _made_up(name, TEMPORARY)


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
            is_there = host.exists(unit) or host.link_target(unit)
            if host.link_target(path) == unit and not is_there:
                yield path


def _is_own(host: Host, path: str, *kinds: object) -> bool:
    with suppress(OSError):
        status = host.stat(path, follow=False)
        fits = any(callable(kind) and kind(status.st_mode) for kind in kinds)
        return fits and status.st_uid == os.geteuid()
    return False


def _remove_unpacked(host: Host, directory: str) -> None:
    for name in host.names(directory):
        with suppress(OSError):
            host.remove(f"{directory}/{name}")
    host.remove_empty(directory)
    host.say(f"removed what a killed run left: {directory}")
