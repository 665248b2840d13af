"""What the stage is to do: which probes, where, how long, and who executes them."""

from __future__ import annotations

from binfmt_setup.model.records import NOTHING, Record
from binfmt_setup.system import packaged

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping


# Already now: what runs probes may be a fork, and what that unpacked nobody would remove.
PROBES = packaged.programs("data", "probes")
TIME_LIMIT = 20.0
"""Seconds for all probes together: an emulated start takes milliseconds, a host under full
load a second or two."""


class Job(Record):
    """Probes to run, all at once, with `root` as their root directory.

    `emulators` are open files that execute some of them in the kernel's place; everything else
    the kernel decides, as it will for everybody's programs. `copies` are open files that are
    executed in the place of probes: what no usual entry takes. `known` are the emulators (device,
    inode) that ran a probe a moment ago, registered in the same way: where the kernel starts that
    very file, the probe need not run once more.
    """

    names: tuple[str, ...]
    root: str = PROBES
    seconds: float = TIME_LIMIT
    environment: Mapping[str, str] = NOTHING
    emulators: Mapping[str, int] = NOTHING
    copies: Mapping[str, int] = NOTHING
    known: Mapping[str, tuple[int, int]] = NOTHING
