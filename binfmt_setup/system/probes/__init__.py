"""Running probes: the only proof that a platform works.

A probe is executed directly, in a root directory that holds probes and nothing else, so
that an interpreter which is not pinned (flag F) or not static cannot be found. All run at
once from one forked `stage` process, which is nobody and has no way out of that directory
(`isolation`); the errno of each execve and the line each probe prints come back through a pipe.
"""

from binfmt_setup.system.probes.job import PROBES, TIME_LIMIT
from binfmt_setup.system.probes.result import ARGV0, ProbeResult, parse_output, version_of
from binfmt_setup.system.probes.running import (
    available,
    prove_candidates,
    prove_past_entries,
    run_probes,
    running_probes,
    with_pinned_versions,
)

__all__ = [
    "ARGV0", "PROBES", "TIME_LIMIT", "ProbeResult", "available", "parse_output",
    "prove_candidates", "prove_past_entries", "run_probes", "running_probes",
    "version_of", "with_pinned_versions",
]  # fmt: skip
