"""What a terminal shows while something takes long: one line that counts seconds."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from binfmt_setup.model.escaping import visible

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO


_CLEAR_LINE = "\r\x1b[K"


class Ticker:
    """Shows on a terminal what is being waited for, and nothing anywhere else."""

    def __init__(self, stream: TextIO, *, terminal: bool) -> None:
        self._stream = stream
        self._terminal = terminal

    @contextmanager
    def __call__(self, text: str) -> Iterator[None]:
        """Show a text and the seconds that pass until the block ends."""
        if not self._terminal:
            yield
            return
        over = threading.Event()
        thread = threading.Thread(target=self._tick, args=(text, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._write(_CLEAR_LINE)

    def _tick(self, text: str, over: threading.Event) -> None:
        start = time.monotonic()
        while True:
            self._write(f"{_CLEAR_LINE}{visible(text)} … {time.monotonic() - start:.0f} s")
            if over.wait(1.0):
                return

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
