"""One writer at a time: the locks that runs of this tool and the boot script hold."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import Busy, EnvironmentUnfit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.system.host import Host

LOCK_FILE = "/run/binfmt-setup.lock"
PRIVATE_LOCK = "/proc/self/ns/user"
"""The namespace itself: whoever shares the registry shares this file, and nobody else."""
LOCK_SECONDS = 60.0
"""How long a run waits for another one: longer than any but a package installation takes."""
_LOCK_POLL = 0.1


@contextmanager
def locked(host: Host, *, private: bool) -> Iterator[None]:
    """One writer at a time.

    Raises Busy when another run does not end in time, EnvironmentUnfit when there is no
    place for a lock. An offline tree is locked by its root directory.
    """
    where = LOCK_FILE if host.live else "/"
    if private:
        where = PRIVATE_LOCK
    with _held(host, _wait_for_lock(host, where)):
        yield


@contextmanager
def store_locked(host: Host, directory: str) -> Iterator[None]:
    """One run at a time unpacks there; raises Busy as `locked` does.

    `run` has no other lock, and runs in two namespaces share none. Some network file systems
    cannot lock a directory: there it goes without.
    """
    held = None
    with suppress(EnvironmentUnfit):
        held = _wait_for_lock(host, directory)
    with _held(host, held):
        yield


@contextmanager
def _held(host: Host, lock: int | None) -> Iterator[None]:
    """Keep a lock, where there is one, for as long as the block lasts."""
    try:
        yield
    finally:
        if lock is not None:
            host.unlock(lock)


def _wait_for_lock(host: Host, where: str) -> int:
    deadline = time.monotonic() + LOCK_SECONDS
    told = False
    while True:
        try:
            held = host.try_lock(where)
        except OSError as error:
            raise EnvironmentUnfit(
                f"cannot lock {where}: {error.strerror}", hint="is /run there, and writable?"
            ) from error
        if held is not None:
            return held
        if not told:
            host.say("waiting for another binfmt-setup to finish …")
            told = True
        if time.monotonic() > deadline:
            raise Busy(
                f"another binfmt-setup has been at work for {LOCK_SECONDS:g} s",
                hint=f"see who holds it: fuser -v {where}",
            )
        time.sleep(_LOCK_POLL)
