"""The one door to a host: its files, its programs, and the probes that run on it.

Reading a captured tree, preparing an image offline and working on the live system differ in the
tree and in the way to run programs alone (`host_access`).
"""

from __future__ import annotations

from binfmt_setup.system.host_access import HostAccess
from binfmt_setup.system.probes import ProbeResult, running_probes, with_pinned_versions

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Protocol

    from binfmt_setup.system.trial import Candidate

    class Prober(Protocol):
        """Runs probes on the host, beside whatever is done until one asks for the results."""

        def __call__(
            self, probes: Sequence[str], /, *, known: Mapping[str, ProbeResult] = ...
        ) -> AbstractContextManager[Callable[[], Mapping[str, ProbeResult]]]:
            """Start these; see `running_probes`."""


class Host(HostAccess):
    """A host on which probes can run."""

    prove: Prober = running_probes
    ask_pinned: Callable[[Mapping[str, ProbeResult], Sequence[str]], Mapping[str, ProbeResult]] = (
        with_pinned_versions
    )

    def try_out(
        self, candidates: Sequence[Candidate], meanwhile: Callable[[], None]
    ) -> Mapping[str, ProbeResult]:
        """What probes say of emulators that nobody else meets yet; see `trial`."""
        from binfmt_setup.system import trial  # most commands try nothing out

        return trial.tried(self, candidates, meanwhile)

    def try_without_entries(self, probes: Sequence[str]) -> Mapping[str, ProbeResult]:
        """What the kernel itself does with probes; nothing where no entry can be kept away."""
        from binfmt_setup.system import trial

        return trial.without_entries(self, probes)
