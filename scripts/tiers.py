"""The tiers of tests: what runs where, running one, and counting what came of it.

scripts/test uses it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, cast

from testbed import TOP, Interpreter, Result, run, say

if TYPE_CHECKING:
    from pathlib import Path

# On every Python: what the tool says of each recorded host.
EVERYWHERE = ("cases",)
# On the oldest and the newest Python: what one between them breaks, one of these breaks too.
AT_BOTH_ENDS = ("sandbox", "unit")
# On the oldest Python, one after the other: they mount, boot and start daemons.
LONE_TIERS = ("root", "boot", "engines")
TIERS = ("unit", "cases", "sandbox", *LONE_TIERS)
# What pytest leaves with then.
NO_TESTS_COLLECTED = 5
# Of those that did not run, so many are told by name.
NAMED = 5
Job = Callable[[], None]


@dataclass(frozen=True)
class Wish:
    """What of the tests is to be run, and how."""

    tiers: tuple[str, ...]
    expression: str | None
    first_failure: bool
    coverage: bool
    long: bool


@dataclass
class Outcomes:
    """What a file of results tells: each test that was found, and what it came to."""

    found: list[str] = field(default_factory=list)
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    running: str = ""

    @property
    def broken(self) -> list[str]:
        """The tests that failed, and the one that did not end."""
        failed = [name for name, (outcome, _) in self.ended.items() if outcome == "failed"]
        names = [f"failed: {name}" for name in failed]
        return [*names, f"was running: {self.running}"] if self.running else names

    @property
    def not_run(self) -> list[str]:
        """The tests that it did not come to."""
        return [name for name in self.found if name not in self.ended and name != self.running]


def has_tests(tier: str) -> bool:
    """Tell whether a tier has any test yet."""
    return any((TOP / "tests" / tier).rglob("test_*.py"))


def run_tiers(
    pythons: list[Interpreter], wish: Wish, folder: Path, others: Sequence[Job] = ()
) -> dict[str, list[Result]]:
    """Run other jobs and the wished tiers that exist, one more at once than there are processors.

    Tests wait at times, for a boot or for a limit to pass: another tier goes on meanwhile.
    """
    results: dict[str, list[Result]] = {tier: [] for tier in wish.tiers if has_tests(tier)}

    def job(tier: str, python: Interpreter) -> None:
        if wish.first_failure and any(r.failed for done in results.values() for r in done):
            return
        tested = Run(tier, python, folder, cover=wish.coverage and python is pythons[0],
                     again=python is not pythons[0],
                     planted=python is pythons[-1] and len(pythons) > 1)  # fmt: skip
        results[tier].append(tested.result(wish))

    def lone() -> None:
        for tier in results:
            if tier in LONE_TIERS:
                job(tier, pythons[0])

    # What takes longest starts first.
    jobs: list[Job] = [lone, *others]
    jobs += [partial(job, tier, python) for tier, python in _open(pythons, results)]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) + 1) as pool:
        for done in [pool.submit(one) for one in jobs]:
            done.result()
    return results


def _open(
    pythons: list[Interpreter], tiers: dict[str, list[Result]]
) -> Iterator[tuple[str, Interpreter]]:
    """Which of the other tiers run on which Python."""
    for names, where in ((AT_BOTH_ENDS, (pythons[0], pythons[-1])), (EVERYWHERE, pythons)):
        for tier in names:
            yield from ((tier, python) for python in dict.fromkeys(where) if tier in tiers)


@dataclass(frozen=True)
class Run:
    """One tier on one Python."""

    tier: str
    python: Interpreter
    folder: Path
    cover: bool
    again: bool
    planted: bool

    @property
    def log(self) -> Path:
        """Where the outcomes are written."""
        return self.folder / f"{self.tier}-{self.python.name}.json"

    def command(self, wish: Wish) -> list[str]:
        """What is started."""
        coverage = ["-m", "coverage", "run"] if self.cover else []
        command = [self.python.python, *coverage, "-m", "pytest", "-q", f"tests/{self.tier}"]
        command += [f"--results={self.log}"]
        command += ["-k", wish.expression] if wish.expression else []
        command += ["-m", "not one_python"] if self.again else []
        command += ["--long"] if wish.long else []
        command += ["-x"] if wish.first_failure else []
        if self.planted and os.geteuid() == 0 and self.tier not in LONE_TIERS:
            command = [self.python.python, "-m", "tests.host_in_use", *command]
        return command

    def result(self, wish: Wish) -> Result:
        """Run it, count, and show."""
        data = {"COVERAGE_FILE": str(self.folder / "coverage")}
        name = f"{self.tier:<8} py{self.python.name}"
        code, result = run(name, self.command(wish), data, log=self.log)
        outcomes = read(self.log)
        count(outcomes, result)
        result.broken = outcomes.broken
        if code not in {0, NO_TESTS_COLLECTED} and not (result.failed and not outcomes.running):
            # It broke before, or after, the tests, or was ended in the midst of them.
            result.failed += 1
            result.output += unfinished(outcomes)
        show(result)
        return result


def read(log: Path) -> Outcomes:
    """Read a file of results as far as it was written (tests/results.py)."""
    outcomes = Outcomes()
    for text in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        line = cast("dict[str, str]", json.loads(text))
        if "found" in line:
            outcomes.found += line["found"]
        elif "begun" in line:
            outcomes.running = line["begun"]
        elif outcomes.ended.get(line["test"], ("", ""))[0] != "failed":
            outcomes.ended[line["test"]] = line["outcome"], line["reason"]
    if outcomes.running in outcomes.ended:
        outcomes.running = ""
    return outcomes


def count(outcomes: Outcomes, result: Result) -> None:
    """Count passed, failed and skipped tests, with reasons."""
    numbers = Counter(outcome for outcome, _ in outcomes.ended.values())
    result.passed, result.failed = numbers["passed"], numbers["failed"]
    result.skips = Counter(
        reason or "no reason given"
        for outcome, reason in outcomes.ended.values()
        if outcome == "skipped"
    )


def unfinished(outcomes: Outcomes) -> str:
    """What did not run when a tier was ended, and what ran or had failed: that stands last."""
    text = f"\n{len(outcomes.ended)} of {len(outcomes.found)} tests had ended\n"
    not_run = outcomes.not_run
    text += "".join(f"did not run: {name}\n" for name in not_run[:NAMED])
    text += f"did not run: {len(not_run) - NAMED} more\n" * (len(not_run) > NAMED)
    return text + "".join(f"{name}\n" for name in outcomes.broken)


def show(result: Result) -> None:
    """Print one line for a result, and all of its output if it failed."""
    numbers = f"{result.passed} passed, {result.failed} failed, {result.skipped} skipped"
    say(f"{result.name:<15}  {numbers:<38} {result.seconds:6.1f} s")
    if result.failed:
        say("\n" + result.output.rstrip() + "\n")
