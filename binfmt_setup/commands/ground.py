"""What a host must offer before `install` can read it."""

from __future__ import annotations

from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable

    from binfmt_setup.changes.steps import Outcome
    from binfmt_setup.model.facts import HostFacts


class Ground(Record):
    """What was done, or under --check is foreseen, before the host can be read.

    `seen` gives the facts as they will be with it.
    """

    outcomes: tuple[Outcome, ...]
    qemu_directory: str
    seen: Callable[[HostFacts], HostFacts]
