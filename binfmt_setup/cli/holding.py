"""What `install --hold` does once it is done: it stays, and what others drop it registers again.

With the process its mounts stay. Nothing tells when an entry goes, so the names are looked at,
which takes some 20 µs; that an entry was disabled is left as it is. What is dropped again and again
stays away: the same limits as in systemd/register, for `install --keep`.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress

from binfmt_setup.cli.signals import Ended, raise_what_came
from binfmt_setup.cli.streams import say
from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.targets import ENTRY_PREFIX
from binfmt_setup.system import packaged
from binfmt_setup.system.signals import undisturbed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable

PAUSE = 2.0  # seconds
MOST, WITHIN = 5, 600  # times, seconds
_RETURNED = "BINFMT_SETUP_RETURNED"


def hold(registry: str, entries: Iterable[str]) -> None:
    """Stay until somebody ends it, which is no failure; does not return when an entry is gone.

    `entries` are the names that were there when all was done: one may be gone by now. Of them
    those count that this tool gives; what others drop of their own is their affair.
    """
    there = frozenset(name for name in entries if name.startswith(ENTRY_PREFIX))
    with suppress(Ended):
        while not (gone := there - _names(registry)):
            time.sleep(PAUSE)
            raise_what_came()
        names = ", ".join(sorted(gone))
        _count(names)
        say(f"gone: {names}; installing again")
        # The same command from its start: it looks at the host anew, and does what is lacking.
        # A signal on the way there waits: one that Python has only noted would be forgotten.
        with undisturbed():
            os.execv(sys.executable, _again(sys.orig_argv))  # noqa: S606 - our own command line


def _again(words: list[str]) -> list[str]:
    """The same command line; but `-m` would look in the current directory first.

    By now somebody may have put a package of this name there.
    """
    given = sys.argv[1:]
    python = words[: len(words) - len(given)]
    if "-m" not in python:
        return words
    above = os.path.dirname(packaged.PACKAGE)
    code = (
        f"import sys; sys.path[:] = [{above!r}, *filter(None, sys.path)]; import binfmt_setup; "
        "del sys.path[0]; import runpy; "
        "runpy.run_module('binfmt_setup', run_name='__main__', alter_sys=True)"
    )
    return [*python[: python.index("-m")], "-c", code, *given]


def _count(names: str) -> None:
    """Write down that they went, for the command that comes; raises EnvironmentUnfit at the end."""
    now = int(time.time())
    before = [int(word) for word in os.environ.get(_RETURNED, "").split() if word.isdecimal()]
    lately = [moment for moment in before if now - moment < WITHIN]
    if len(lately) >= MOST:
        raise EnvironmentUnfit(
            f"{names}: dropped again and again, and not brought back any more",
            hint="find out by what, and start this command again", code="dropped-again",
        )  # fmt: skip
    os.environ[_RETURNED] = " ".join(map(str, (*lately, now)))


def _names(registry: str) -> frozenset[str]:
    with suppress(OSError):
        return frozenset(os.listdir(registry))
    return frozenset()
