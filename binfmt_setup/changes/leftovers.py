"""What killed runs left: files that were being written, and links to units that are gone.

They are known by exact patterns, by their owner, and by lying where this tool writes; and they
are looked for only while the lock is held, so that nobody is writing them now.
"""

from __future__ import annotations

import os
import re
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

_UNIT = rf"{UNIT_STEM}(-[^/]+)?\.(service|path)"
_TEMPORARY = re.compile(
    rf"{re.escape(TEMPORARY)}[a-z0-9_]{{8}}"  # of any file; eight letters, as in tempfile
    rf"|\.{_UNIT}\.\d+"  # of a link, as earlier versions named them, with their process
)
_ENABLED = re.compile(_UNIT)
_UNPACKED = re.compile(rf"{re.escape(UNFINISHED)}[a-z0-9_]{{8}}")


def remove_leftovers(host: Host) -> None:
    """Remove what killed runs left, and say so; what cannot be removed stays."""
    for path in (*_unfinished(host), *_dangling(host)):
        with suppress(OSError):
            host.remove(path)
            host.say(f"removed what a killed run left: {path}")
            if path.rpartition("/")[0].endswith(".wants"):
                host.remove_empty(path.rpartition("/")[0])
    for name in host.names(STORE):
        if _UNPACKED.fullmatch(name) and _is_own(host, f"{STORE}/{name}", stat.S_ISDIR):
            _remove_unpacked(host, f"{STORE}/{name}")


def _directories(host: Host) -> tuple[str, ...]:
    wants = (name for name in host.names(UNIT_DIRECTORY) if name.endswith(".wants"))
    own = (OWN_DIRECTORY, VOLATILE_DIRECTORY, SCRIPT_PATH.rpartition("/")[0], UNIT_DIRECTORY)
    return (*own, *(f"{UNIT_DIRECTORY}/{name}" for name in wants))


def _unfinished(host: Host) -> Iterator[str]:
    """Files and links that had not got their names yet."""
    for directory in _directories(host):
        for name in host.names(directory):
            path = f"{directory}/{name}"
            if _TEMPORARY.fullmatch(name) and _is_own(host, path, stat.S_ISREG, stat.S_ISLNK):
                yield path


def _dangling(host: Host) -> Iterator[str]:
    """Links that enable units of this tool which are not there any more."""
    for directory in _directories(host):
        names = host.names(directory) if directory.endswith(".wants") else ()
        for name in filter(_ENABLED.fullmatch, names):
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
