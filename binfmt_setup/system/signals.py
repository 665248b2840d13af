"""Signals that wait: what must not be interrupted halfway; and their numbers, at little cost."""

from __future__ import annotations

from contextlib import contextmanager

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator
else:
    # What is built in. The rest makes an enum of each answer, and enums take 2 ms to load.
    import _signal as signal

__all__ = ["ENDING", "signal", "undisturbed"]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let signals wait for as long as the block lasts: then they come."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # raises what came just before
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
