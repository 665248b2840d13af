"""Waiting for other processes, for a limited time: for what they write, and for their end."""

from __future__ import annotations

import os
import select
import time

from binfmt_setup.system.limits import EXHAUSTED

_CHUNK = 65536  # bytes
LENGTH_BYTES = 8  # in front of each answer, little-endian


def say(writer: int, answer: bytes) -> None:
    """Write an answer, its length in front."""
    left = memoryview(len(answer).to_bytes(LENGTH_BYTES, "little") + answer)
    while left:
        left = left[os.write(writer, left) :]


def readable(descriptor: int, seconds: float) -> bool:
    """Wait until something can be read, the end included; False when the time is over."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def read_to_end(descriptor: int, seconds: float) -> bytes:
    """Everything up to the end; raises TimeoutError when that does not come in time."""
    said, end = b"", time.monotonic() + seconds
    while readable(descriptor, end - time.monotonic()):
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            return said
        said += chunk
    raise TimeoutError(f"no end within {seconds:g} s")


def end_of(process: int) -> int:
    """A descriptor that becomes readable when a child has ended; -1 where there is none.

    That is before Linux 5.3, or with a Python that was built for one. Raises OSError when there
    may be no more descriptors.
    """
    if not hasattr(os, "pidfd_open"):
        return -1
    try:
        return os.pidfd_open(process)
    except OSError as error:
        if error.errno in EXHAUSTED:
            raise
        return -1
