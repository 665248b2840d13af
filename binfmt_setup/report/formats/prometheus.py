"""Prometheus' text format, for the textfile collector of node_exporter.

Source: "Exposition formats" and "Metric and label naming" in Prometheus' documentation. A label is
never what a value may turn into: series stay the same when a platform breaks.
"""

from __future__ import annotations

from binfmt_setup.model.escaping import visible
from binfmt_setup.report.document import entry_row, pinned_version
from binfmt_setup.report.formats.interface import OutputFormat

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.report.formats.interface import Showing
    from binfmt_setup.report.result import Result

    Sample = tuple[dict[str, str], float]

_HELP = {
    "check_success": "Whether the host could be looked at; 0: nothing else is known.",
    "check_timestamp_seconds": "When the host was looked at.",
    "setup_info": "The version of binfmt-setup that looked.",
    "registry_mounted": "Whether the kernel's registry is mounted.",
    "registry_enabled": "Whether the registry is switched on for all entries.",
    "platform_ok": "Whether a program of the platform ran.",
    "platform_persistent": "Whether the platform's entry survives a reboot.",
    "platform_info": "How the platform runs; the version that the kernel holds open is pinned.",
    "entry_enabled": "Whether an entry is enabled.",
    "entry_info": "An entry of the registry.",
    "findings": "What is wrong, or will be, by code and platform.",
}


class Prometheus(OutputFormat):
    """Gauges by platform, by entry and by finding, and when they were true."""

    name = "prometheus"

    def report(self, result: Result, showing: Showing) -> str:  # noqa: ARG002 - gauges have no style
        """All metrics; of a host that could not be looked at, that alone."""
        families = _of_host(result) if not result.errors else {}
        return _written({**_looked(success=not result.errors), **families})

    def failure(self, command: str, error: BinfmtSetupError) -> str:  # noqa: ARG002 - all alike
        """That nothing is known, and since when."""
        return _written(_looked(success=False))


def _looked(*, success: bool) -> dict[str, list[Sample]]:
    import time

    from binfmt_setup import __version__

    return {
        "check_success": [({}, success)],
        "check_timestamp_seconds": [({}, round(time.time(), 3))],
        "setup_info": [({"version": __version__}, 1)],
    }


def _of_host(result: Result) -> dict[str, list[Sample]]:
    registry, states = result.facts.registry, result.verdict.platforms
    rows = [(e, entry_row(result.facts, e, pinned_version(result, e))) for e in registry.entries]
    return {
        "registry_mounted": [({}, registry.mount.state == "mounted")],
        "registry_enabled": [({}, registry.enabled is True)],
        "platform_ok": [({"platform": s.platform.name}, s.ok) for s in states],
        "platform_persistent": [
            ({"platform": s.platform.name}, s.persistent)
            for s in states
            if s.persistent is not None
        ],
        "platform_info": [
            (
                {"platform": s.platform.name, "target": s.platform.target.name, "how": s.how,
                 "entry": s.handler.name if s.handler else "", "pinned_version": s.pinned_version,
                 "disk_version": s.disk_version},
                1,
            )
            for s in states
        ],
        "entry_enabled": [({"entry": e.name}, e.enabled) for e, _ in rows],
        "entry_info": [
            (
                {"entry": e.name, **{key: str(row[key] or "") for key in _OF_ENTRY}},
                1,
            )
            for e, row in rows
        ],
        "findings": list(_counted(result.verdict.all_findings)),
    }  # fmt: skip


_OF_ENTRY = ("interpreter", "flags", "owner", "origin", "pinned_version", "disk_version")


def _counted(findings: Iterable[Finding]) -> Iterator[Sample]:
    counts: dict[tuple[str, str, str], int] = {}
    for finding in findings:
        key = (finding.code, finding.severity, finding.platform)
        counts[key] = counts.get(key, 0) + 1
    for (code, severity, platform), number in counts.items():
        yield {"code": code, "severity": severity, "platform": platform}, number


def _written(families: dict[str, list[Sample]]) -> str:
    lines = []
    for name, samples in families.items():
        if samples:
            lines += [f"# HELP binfmt_{name} {_HELP[name]}", f"# TYPE binfmt_{name} gauge"]
        lines += [f"binfmt_{name}{_labels(labels)} {_number(value)}" for labels, value in samples]
    return "\n".join([*lines, ""])


def _labels(labels: dict[str, str]) -> str:
    """What others named stays one line and one value."""
    quoted = (f'{key}="{_escaped(visible(value))}"' for key, value in labels.items())
    return f"{{{','.join(quoted)}}}" if labels else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"


FORMAT = Prometheus()
