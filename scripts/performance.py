"""From samples to docs/performance.md: medians, ratios, bounds, and what they were taken on."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import re
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from peers import Peers

_BEGIN = "<!-- scripts/bench: begin -->"
_END = "<!-- scripts/bench: end -->"
SCRIPT_FACTOR = 1.8
"""tonistiigi/binfmt takes this many times as long as QEMU's script: 50 ms to 28 ms where both
were measured, on 2 cores."""


@dataclass
class Sample:
    """What the rounds of one contender came to: seconds, and peak memory in KiB."""

    seconds: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)


@dataclass
class Measured:
    """Everything measured; `counts` are the entries in the registry after each contender."""

    rounds: int
    samples: dict[str, Sample]
    counts: dict[str, int]

    @classmethod
    def load(cls, file: Path) -> Measured:
        """Read what the process in the namespace left."""
        data = json.loads(file.read_text())
        samples = {name: Sample(**values) for name, values in data["samples"].items()}
        return cls(data["rounds"], samples, data["counts"])


@dataclass(frozen=True)
class Goal:
    """A ratio of two medians that shall stay below a bound.

    `per` divides each side, for figures per entry; `factor` multiplies the lower side.
    """

    what: str
    upper: str
    lower: str
    bound: float
    stretch: float
    per: tuple[int, int] = (1, 1)
    factor: float = 1.0

    def ratio(self, samples: dict[str, Sample]) -> float | None:
        """The ratio; None when a side could not be measured."""
        if self.upper not in samples or self.lower not in samples:
            return None
        upper = samples[self.upper].median / self.per[0]
        return upper / (samples[self.lower].median * self.factor / self.per[1])


FORMATS = ("json", "github", "junit")
"""What programs read; none of them may cost much more than what people read."""
GOALS = (
    Goal("a no-op / `python -c pass`", "no-op (--version)", "python -c pass", 6.5, 4.5),
    Goal("`--help` / `python -c pass`", "--help", "python -c pass", 6.5, 4.5),
    Goal(
        "`check` of 8 platforms / their 8 probes back to back from C",
        "check, 8 platforms", "8 probes from C", 1.9, 1.5,
    ),
    *(
        Goal(
            f"`check` of 8 platforms as {name} / as text",
            f"check, 8 platforms, {name}", "check, 8 platforms", 1.2, 1.1,
        )
        for name in FORMATS
    ),
    Goal(
        "`install` of 8 platforms as json / as text",
        "install, 8 platforms, json", "install, 8 platforms", 1.2, 1.1,
    ),
    Goal(
        "`install` of all entries, read back, not probed / `systemd-binfmt` with the same files",
        "install, not probed", "systemd-binfmt, its files", 12, 9,
    ),
    Goal(
        "`install` of 8 platforms with probes / tonistiigi's `binfmt --install all`",
        "install, 8 platforms", "tonistiigi/binfmt", 1.3, 1.0,
    ),
    Goal(
        "the same as json / tonistiigi's `binfmt --install all`",
        "install, 8 platforms, json", "tonistiigi/binfmt", 1.3, 1.0,
    ),
    Goal(
        f"`install` of 8 platforms with probes / QEMU's qemu-binfmt-conf.sh x {SCRIPT_FACTOR}",
        "install, 8 platforms", "qemu-binfmt-conf.sh", 1.3, 1.0, factor=SCRIPT_FACTOR,
    ),
    Goal(
        f"the same as json / QEMU's qemu-binfmt-conf.sh x {SCRIPT_FACTOR}",
        "install, 8 platforms, json", "qemu-binfmt-conf.sh", 1.3, 1.0, factor=SCRIPT_FACTOR,
    ),
    Goal(
        "`install` when nothing is to do / the no-op",
        "install, nothing to do", "no-op (--version)", 2.0, 1.4,
    ),
    Goal(
        "listing 5,000 entries, per entry / 100 entries, per entry",
        "listing 5000 entries", "listing 100 entries", 1.5, 1.1, per=(5000, 100),
    ),
)  # fmt: skip
STATUS = "status, 5000 entries"
STATUS_BOUND, STATUS_STRETCH = 0.5, 0.3  # seconds, on a quiet machine
MEMORY_OF = "check, 8 platforms"
MEMORY_BOUND, MEMORY_STRETCH = 40, 30  # MiB


def write_document(file: Path, measured: Measured, peers: Peers) -> str:
    """Put the tables between the marks of the document and return them."""
    tables = "\n".join([*_machine(measured, peers), "", *_goals(measured, peers), "",
                        *_times(measured)])  # fmt: skip
    old = file.read_text() if file.exists() else f"# Performance\n\n{_BEGIN}\n{_END}\n"
    marked = re.compile(f"{_BEGIN}.*{_END}", re.DOTALL)
    file.write_text(marked.sub(lambda _: f"{_BEGIN}\n{tables}\n{_END}", old))
    return tables


def _machine(measured: Measured, peers: Peers) -> Iterator[str]:
    """What it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    facts = {
        "Date": dt.datetime.now(dt.timezone.utc).date().isoformat(),
        "Machine": f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB",
        "Kernel": f"{platform.release()} ({platform.machine()})",
        "System": platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        **peers.versions,
        "Rounds": f"{measured.rounds}, interleaved; one before them to warm up",
        "Load": f"{load} when it ended (1, 5 and 15 minutes)",
    }
    return (f"- {name}: {value}" for name, value in facts.items())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware", "cpu model"):
            return value.strip()
    return "unknown processor"


def _goals(measured: Measured, peers: Peers) -> Iterator[str]:
    """The ratios against their bounds."""
    rows = [("what", "ratio", "bound", "stretch", "")]
    for goal in GOALS:
        ratio = goal.ratio(measured.samples)
        if ratio is not None:
            rows.append((goal.what, f"{ratio:.2f}", f"{goal.bound:g}", f"{goal.stretch:g}",
                         _verdict(ratio, goal.bound, goal.stretch)))  # fmt: skip
    took = measured.samples[STATUS].median
    rows.append((
        "`status` with 5,000 entries, on a quiet machine", f"{took:.2f} s", f"{STATUS_BOUND} s",
        f"{STATUS_STRETCH} s", _verdict(took, STATUS_BOUND, STATUS_STRETCH),
    ))  # fmt: skip
    peak = max(measured.samples[MEMORY_OF].memory) / 1024
    rows.append((
        "peak memory of `check`", f"{peak:.1f} MiB", f"{MEMORY_BOUND} MiB",
        f"{MEMORY_STRETCH} MiB", _verdict(peak, MEMORY_BOUND, MEMORY_STRETCH),
    ))  # fmt: skip
    yield from _table(rows)
    for name, why in peers.lacking.items():
        yield f"\nNot measured: {name}, because {why}."


def _verdict(value: float, bound: float, stretch: float) -> str:
    if value <= stretch:
        return "within the stretch"
    return "within the bound" if value <= bound else "**over the bound**"


def _times(measured: Measured) -> Iterator[str]:
    """The times themselves, in milliseconds."""
    rows: list[tuple[str, ...]] = [
        ("milliseconds", "min", "median", "max", "entries then", "peak MiB")
    ]
    for name, sample in measured.samples.items():
        times = (min(sample.seconds), sample.median, max(sample.seconds))
        rows.append((
            name, *(f"{seconds * 1000:.2f}" for seconds in times),
            str(measured.counts[name]), f"{max(sample.memory) / 1024:.1f}",
        ))  # fmt: skip
    return _table(rows)


def _table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    head, *body = rows
    for row in (head, ("---",) * len(head), *body):
        yield f"| {' | '.join(row)} |"
