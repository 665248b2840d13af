"""Signals that end a command: each unwinds it once, so that what is half done is taken back.

Imported before anything else, and so imports next to nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing typing would take longer than all of this
if TYPE_CHECKING:
    import signal
    from types import FrameType
else:
    import _signal as signal  # the part of it that is built in

WORDS: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "hung up",
}
_AGAIN_SECONDS = 0.001
_came: list[Ended] = []


class Ended(BaseException):
    """One of these signals came. No KeyboardInterrupt: the library would make an exit of that."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status, as a shell gives it."""
        return 128 + self.number

    @property
    def word(self) -> str:
        """What happened, in a word."""
        return WORDS[self.number]


def listen() -> None:
    """Let these signals raise `Ended` from now on; those that the caller ignores stay ignored.

    But for SIGCHLD: who ignores it lets the kernel forget how children ended. What the caller made
    wait comes now: it would wait for ever.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number in WORDS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    sys.unraisablehook = _lost
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WORDS)


def _end(number: int, _: FrameType | None) -> None:
    for other in WORDS:  # a second one would break off what takes back
        signal.signal(other, _unheard)
    _came.append(Ended(number))
    raise_what_came()


def raise_what_came() -> None:
    """Raise what came before and got lost, or became another error; both may happen in C code.

    Up to Python 3.11 what a descriptor raises while its class is made becomes a RuntimeError.
    """
    for ended in _came:
        raise ended


def _unheard(_: int, __: FrameType | None) -> None:
    """Do nothing. Unlike an ignored signal, that is not inherited by programs."""


def _lost(lost: sys.UnraisableHookArgs) -> None:
    """Python drops what is raised in some callbacks: raise it again a moment later."""
    ended = lost.exc_value
    if not isinstance(ended, Ended):
        sys.__unraisablehook__(lost)
        return

    def again(_: int, __: FrameType | None) -> None:
        raise ended

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
