"""What is known to fail with a version of QEMU: a table that scripts/qemu-matrix writes.

Read only where a version was seen. It was measured on x86_64, and says nothing of other hosts.
"""

from __future__ import annotations

from binfmt_setup.system import packaged
from binfmt_setup.workout.exercises import VITAL

HOST = "x86_64"


def known_faults(version: str, program: str, host: str) -> tuple[str, ...]:
    """The exercises that fail, what ordinary programs need before the rest.

    `version` is QEMU's word for it, `program` the probe's name of the platform.
    """
    series = ".".join(version.partition(" ")[0].split(".")[:2])
    if not series or host != HOST:
        return ()
    rows = packaged.content("data", "known-faults.txt").decode().splitlines()
    words = [row.split() for row in rows if row.startswith(f"{series} ")]
    names = [name for _, name, *programs in words if program in programs]
    return tuple(sorted(names, key=lambda name: name not in VITAL))
