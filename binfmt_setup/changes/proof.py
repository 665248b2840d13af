"""What disproves a registration: it breaks what ran, or runs another file than was judged. Pure."""

from __future__ import annotations

from binfmt_setup.model.errors import EnvironmentUnfit

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from binfmt_setup.model.interpreter import EmulatorFacts
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.system.probes import ProbeResult


def why_broken(
    probes: Iterable[str], before: Mapping[str, ProbeResult], now: Mapping[str, ProbeResult]
) -> str:
    """Why a registration must go: it breaks what ran, or nothing runs with it."""
    asked = [probe for probe in probes if probe in now and probe in before]
    broken = [probe for probe in asked if not now[probe].ok]
    if broken and (len(broken) == len(asked) or any(before[probe].ok for probe in broken)):
        return "; ".join(f"{probe}: {now[probe].why()}" for probe in broken)
    return ""


def pinned_another(
    emulators: EmulatorFacts,
    registration: Registration,
    probes: Iterable[str],
    now: Mapping[str, ProbeResult],
) -> bool:
    """Whether the kernel runs another file than the one that was judged and found to be root's."""
    judged = emulators.identity_at(registration.interpreter)
    pinned = {now[probe].pinned for probe in probes if probe in now}
    return judged is not None and bool(pinned - {None, judged})


def require_judged(emulators: EmulatorFacts, path: str, status: os.stat_result | None) -> None:
    """What lies at a path now is the file that was judged; raises EnvironmentUnfit."""
    judged = emulators.identity_at(path)
    if judged and status and judged != (status.st_dev, status.st_ino):
        raise EnvironmentUnfit(
            f"{path} was replaced after it was judged, and was not used",
            hint="run it again once nothing replaces that file",
        )
