"""docs/qemu-quality.md and the table of known faults: what each QEMU cannot do, by exercises.

scripts/qemu-matrix --quality calls it. Nothing is registered on the host.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypedDict

    Words = Callable[[str], str]

    class Exercise(TypedDict):
        """One exercise, as `check --deep --format json` tells of it."""

        name: str
        outcome: str

    class Workout(TypedDict):
        """One emulator for one platform."""

        platform: str
        version: str
        not_run: str
        exercises: list[Exercise]


TOP = Path(__file__).resolve().parent.parent
DOCUMENT = TOP / "docs" / "qemu-quality.md"
FAULTS = TOP / "binfmt_setup" / "data" / "known-faults.txt"
_NAMED = 4
HOST = "linux/amd64"
_HEAD = """\
# Exercises that fail with a QEMU of this series on x86_64, though the host itself can do them, with
# the probes' names of the platforms. scripts/qemu-matrix --quality writes it.
"""
Outcomes = dict[tuple[str, str], str]
"""What became of an exercise, by platform and exercise: ok, fail, unsupported, host, varies."""


@dataclass
class Emulators:
    """One version of QEMU: what each of its emulators could do."""

    title: str
    version: str = ""
    outcomes: Outcomes = field(default_factory=dict)
    unusable: dict[str, str] = field(default_factory=dict)
    rounds: Counter[str] = field(default_factory=Counter)
    """By platform."""

    @property
    def series(self) -> str:
        """The version that changes decide: 7.2 of 7.2.22."""
        return ".".join(self.version.split(".")[:2])

    @property
    def platforms(self) -> list[str]:
        """Those that did their exercises."""
        return list(dict.fromkeys(platform for platform, _ in self.outcomes))

    def add(self, rows: Sequence[Workout]) -> None:
        """Take the answer of one round; where it differs from an earlier one, that is noted."""
        for row in rows:
            self.rounds[row["platform"]] += bool(row["exercises"])
            if row["not_run"]:
                self.unusable[row["platform"]] = row["not_run"]
            self.version = self.version or row["version"].split(" ")[0]
            for one in row["exercises"]:
                key = row["platform"], one["name"]
                before = self.outcomes.setdefault(key, one["outcome"])
                if before != one["outcome"]:
                    self.outcomes[key] = "varies"


def exercised(folder: Path, kept: Path, *, only_kept: bool = False) -> list[Workout]:
    """One round with the emulators of a folder; each platform's answer is kept in a file."""
    from binfmt_setup.model.targets import TARGETS
    from binfmt_setup.workout.programs import available

    platforms = [p for t in TARGETS for p in t.platforms if p.name != HOST and available(p.probe)]
    kept.mkdir(parents=True, exist_ok=True)
    files = {p: kept / f"{p.name.replace('/', '-')}.json" for p in platforms}
    missing = [platform for platform, file in files.items() if not file.exists()]
    if missing and not only_kept:
        from binfmt_setup.commands import deep
        from binfmt_setup.report.workout_json import workout_row
        from binfmt_setup.system.host import Host

        host = Host()
        control = deep.native_control(host, measure=False)
        for platform in missing:
            found = deep.emulators_of(host, [platform], str(folder))
            (report,) = deep.of_source(host, found, str(folder), control, measure=False)
            files[platform].write_text(json.dumps(workout_row(report)), encoding="utf-8")
            print(f"    {platform.name}", flush=True)
    return [json.loads(f.read_text(encoding="utf-8")) for f in files.values() if f.exists()]


# --- the document ------------------------------------------------------------------------------


def document(found: Sequence[Emulators], machine: str, silent: Sequence[str] = ()) -> str:
    """The whole page; at the `silent` platforms no exercise worked with any version."""
    from binfmt_setup.report.words.exercises import meaning, reported

    names = list(dict.fromkeys(name for one in found for _, name in one.outcomes))
    common = set.intersection(*(set(one.platforms) for one in found))
    apart = [name for name in names if len({_summary(one, name, common) for one in found}) > 1]
    failing = [name for name in apart if len({_failing(one, name, common) for one in found}) > 1]
    lines = [
        "# What each QEMU cannot do", "",
        "Written by `scripts/qemu-matrix --quality`, which runs [the workout](workout.md) with",
        f"every emulator of each version on {machine}: static programs, ext4, {len(names)}",
        f"exercises, {len({p for one in found for p in one.platforms})} platforms. An exercise",
        "fails when its answer is wrong, it dies or hangs; it is refused when QEMU says so in a",
        "way that programs know (ENOSYS, EINVAL). What the host cannot do counts for nobody.",
        "",
        *([f"No exercise worked on {', '.join(silent)}, with any version: left out, as the",
           "exercises themselves may be wrong there.", ""] if silent else []),
        f"{len(apart)} exercises tell two of these versions apart on the same platform,",
        f"{len(failing)} of them by a failure.",
        "", *_versions(found), "", "## By platform", "",
        "Exercises that fail, and that are refused.", "", *_by_platform(found), "",
        "## What fails", "",
        "What fails with all versions, on a few platforms alone, may be the fault of the exercise.",
        "", *_rows(found, names, "fail", meaning, reported), "",
        "## What is refused", "",
        "By all emulators of at least one version. Programs take another way, or say what is",
        "not there.",
        "", *_rows(found, names, "unsupported", meaning, reported), "",
    ]  # fmt: skip
    return "\n".join(lines)


def _versions(found: Sequence[Emulators]) -> Iterator[str]:
    yield "| QEMU | from | rounds, on how many platforms | answers that differed between rounds |"
    yield "| --- | --- | --- | --- |"
    for one in found:
        varied = sorted({name for (_, name), what in one.outcomes.items() if what == "varies"})
        rounds = Counter(count for count in one.rounds.values() if count)
        told = ", ".join(f"{count} ({many} of them)" for count, many in sorted(rounds.items()))
        yield f"| {one.version} | {one.title} | {told} | {', '.join(varied) or 'none'} |"


def _by_platform(found: Sequence[Emulators]) -> Iterator[str]:
    yield "| platform | " + " | ".join(one.version for one in found) + " |"
    yield "| --- |" + " --- |" * len(found)
    for platform in sorted({p for one in found for p in one.platforms}):
        cells = []
        for one in found:
            counts = Counter(what for (name, _), what in one.outcomes.items() if name == platform)
            some = f"{counts['fail'] + counts['varies']} fail, {counts['unsupported']} refused"
            cells.append(some if counts else "no emulator")
        yield f"| {platform} | " + " | ".join(cells) + " |"


def _rows(
    found: Sequence[Emulators], names: Iterable[str], kind: str, meaning: Words, reported: Words
) -> Iterator[str]:
    yield (
        "| exercise | " + " | ".join(one.version for one in found) + " | who meets it | traced to |"
    )
    yield "| --- |" + " --- |" * len(found) + " --- | --- |"
    for name in names:
        cells = [_cell(one, name, kind) for one in found]
        if kind == "unsupported" and not any(cell == "all" for cell in cells):
            continue
        if any(cell != "ok" for cell in cells):
            traced = reported(name)
            yield f"| {name} | " + " | ".join(cells) + f" | {meaning(name)} | {traced} |"


def _cell(one: Emulators, name: str, kind: str) -> str:
    """For which platforms it is so, as short as it can be told."""
    tried = {p: what for (p, n), what in one.outcomes.items() if n == name and what != "host"}
    hit = [p for p, what in tried.items() if what == kind or (kind == "fail" and what == "varies")]
    if not tried:
        return "not tried"
    if not hit:
        return "ok"
    short = [p.removeprefix("linux/") for p in hit]
    if len(hit) == len(tried):
        return "all"
    if len(hit) <= _NAMED:
        return ", ".join(short)
    others = [p.removeprefix("linux/") for p in tried if p not in hit]
    return (
        f"all but {', '.join(others)}" if len(others) <= _NAMED else f"{len(hit)} of {len(tried)}"
    )


def _summary(one: Emulators, name: str, among: set[str]) -> frozenset[tuple[str, str]]:
    sure = {"ok", "fail", "unsupported"}  # what wavers, or fails on the host, tells nothing apart
    rows = ((p, what) for (p, n), what in one.outcomes.items() if n == name and what in sure)
    return frozenset(row for row in rows if row[0] in among)


def _failing(one: Emulators, name: str, among: set[str]) -> frozenset[str]:
    return frozenset(p for p, what in _summary(one, name, among) if what == "fail")


# --- the table of known faults -------------------------------------------------------------------


def faults(found: Sequence[Emulators]) -> str:
    """The table: a line for each series and exercise, with the programs that fail at it.

    What fails with one version of a series and not with another is left out, and what no version
    can do on a platform, as there the exercise itself may be wrong.
    """
    able = {key for one in found for key, what in one.outcomes.items() if what == "ok"}
    from binfmt_setup.model.targets import parse_platform

    hits: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
    by_series: dict[str, list[Emulators]] = defaultdict(list)
    for one in found:
        by_series[one.series].append(one)
    for series, versions in by_series.items():
        for one in versions:
            # What wavers on one platform may have been lucky, or unlucky, on another.
            wavering = {name for (_, name), what in one.outcomes.items() if what == "varies"}
            for name in {name for _, name in one.outcomes} - wavering:
                failing = _failing(one, name, set(one.platforms))
                failed = {parse_platform(p).probe for p in failing if (p, name) in able}
                hits[series, name].append(failed)
    lines = []
    for (series, name), each in sorted(hits.items()):
        programs = set.intersection(*each) if len(each) == len(by_series[series]) else set()
        if programs:
            lines.append(f"{series} {name} {' '.join(sorted(programs))}")
    return _HEAD + "".join(f"{line}\n" for line in lines)


def without_silent(found: Sequence[Emulators]) -> list[str]:
    """Leave out platforms at which nothing at all works, and name them.

    There the program, and not the emulator, may be the cause.
    """
    silent = {
        platform
        for one in found
        for platform in one.platforms
        if not any(p == platform and what == "ok" for (p, _), what in one.outcomes.items())
    }
    for one in found:
        one.outcomes = {key: what for key, what in one.outcomes.items() if key[0] not in silent}
    return sorted(silent)


def _programs() -> str:
    """What tells these programs of the workout from others: answers of others do not count."""
    return sha256((FAULTS.parent / "workout" / "SHA256SUMS").read_bytes()).hexdigest()[:8]


def write(
    folders: Sequence[tuple[str, Path]], kept: Path, rounds: int, part: str = "",
    *, only_kept: bool = False,
) -> None:  # fmt: skip
    """Exercise each version as often as it is wanted, and write both files.

    Or only a `part`, the version of that title; then nothing is written. Or only what is kept.
    """
    found = []
    for title, folder in folders:
        if part not in ("", title):
            continue
        one = Emulators(title)
        for number in range(1, rounds + 1):
            answers = kept / _programs() / f"{title.replace(' ', '-')}.{number}"
            one.add(exercised(folder, answers, only_kept=only_kept))
            print(
                f"{one.version} ({title}), round {number}: {len(one.platforms)} platforms",
                flush=True,
            )
        found.append(one)
    if part:
        return
    silent = without_silent(found)
    DOCUMENT.write_text(document(found, HOST, silent), encoding="utf-8")
    FAULTS.write_text(faults(found), encoding="utf-8")
