"""What is known to fail with a version of QEMU: a table that scripts/qemu-matrix writes.

Read only where a version was seen. It was measured on x86_64, and says nothing of other hosts.
"""

from __future__ import annotations

from functools import cache

from binfmt_setup.system import packaged
from binfmt_setup.workout.exercises import VITAL

HOST = "x86_64"


@cache
def _rows() -> tuple[list[str], ...]:
    """Series, exercise and programs of each line; read once for all platforms."""
    lines = packaged.content("data", "known-faults.txt").decode().splitlines()
    return tuple(line.split() for line in lines if not line.startswith("#"))


def known_faults(version: str, program: str, host: str) -> tuple[str, ...]:
    """The exercises that fail, what ordinary programs need before the rest.

    `version` is QEMU's word for it, `program` the probe's name of the platform.
    """
    series = ".".join(version.partition(" ")[0].split(".")[:2])
    if not series or host != HOST:
        return ()
    names = [name for of, name, *programs in _rows() if of == series and program in programs]
    return tuple(sorted(names, key=lambda name: name not in VITAL))
