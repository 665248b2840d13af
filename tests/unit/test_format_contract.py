"""All output formats keep to the contract, and one that is half-done is found out.

Each renders every kind of result that a command gives, tells the same verdict as the exit code,
and lets nothing out that works on a terminal or on a CI runner.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from binfmt_setup.changes.steps import ChangeEntry, ChangeFile, Outcome
from binfmt_setup.cli.choices import CheckFormat, Format, StatusFormat
from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.diagnosis.finding import Finding
from binfmt_setup.diagnosis.judge import judge
from binfmt_setup.diagnosis.security import security_verdict
from binfmt_setup.diagnosis.verdict import PlatformState, Verdict
from binfmt_setup.engines.answers import EngineReport
from binfmt_setup.explain.explanation import Explanation, Failure, Step
from binfmt_setup.explain.specimen import Specimen
from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit
from binfmt_setup.model.escaping import safe
from binfmt_setup.model.facts import HostFacts, KernelFacts
from binfmt_setup.model.mountinfo import BinfmtMount
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import parse_platform, target_named
from binfmt_setup.report.formats import interface
from binfmt_setup.report.formats.interface import FORMATS, OutputFormat, Showing, format_named
from binfmt_setup.report.formats.json import JsonFormat
from binfmt_setup.report.result import (
    CheckResult,
    DeepResult,
    ExplainResult,
    InstallResult,
    Result,
    RunResult,
    SecurityResult,
    StatusResult,
    UninstallResult,
    UnitResult,
    stopped,
)
from binfmt_setup.report.style import Style
from binfmt_setup.workout.results import Judged, WorkoutReport
from tests.exposition import journal_entries, samples
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.diagnosis.finding import Fact

README = Path(__file__).resolve().parents[2] / "README.md"
EVIL = "\n::error::a\x1b]0;b\x07\u202e##[error]\x9b" + os.fsdecode(b"\xff")
ARM64 = parse_platform("arm64")
TARGET = target_named("aarch64")
ERROR = EnvironmentUnfit(f"it {EVIL} failed", hint=f"mend {EVIL}", code="environment-unfit")
ENTRY = Entry(Registration(f"x{EVIL}", f"/{EVIL}", "OF", TARGET.magic, TARGET.mask), enabled=True)
KERNEL = KernelFacts("6.12.0", "x86_64", "present")
REGISTRY = RegistryFacts(BinfmtMount("mounted"), enabled=True, entries=(ENTRY,), listing=None)
HOST = HostFacts("/", KERNEL, registry=REGISTRY)
CLEAN = replace(HOST, registry=replace(REGISTRY, entries=()))


def finding(fact: Fact, platform: str = "") -> Finding:
    return Finding(fact, platform, seen=(ENTRY,))


GONE = finding(known.EntryMissing(), ARM64.name)
DISABLED = finding(known.EntryDisabled(f"x{EVIL}"), ARM64.name)
RISK = finding(known.ConfigInvalid(f"/{EVIL}", 1, EVIL, EVIL))
OFF = finding(known.GloballyDisabled(broken=True))
WORKS = PlatformState(ARM64, ran=True, how="emulated", handler=ENTRY)
FAILS = replace(WORKS, ran=False, how="none", findings=(GONE, DISABLED))
UNPROVEN = PlatformState(
    ARM64, ran=False, how="none", findings=(finding(known.NotProbed(live=True), ARM64.name),)
)
STEPS = (
    ChangeEntry(ENTRY.name, None, ENTRY.registration),
    ChangeFile(f"/etc/{EVIL}", f"old {EVIL}", f"new {EVIL}"),
)
DONE = tuple(Outcome(step, "done") for step in STEPS)
PLANNED = tuple(Outcome(step, "planned") for step in STEPS)
FILE = Specimen(f"/{EVIL}", "file", head=b"x", size=1)
ENGINES = (
    EngineReport("docker", version=EVIL, output=EVIL, built=frozenset({ARM64.name})),
    EngineReport("podman", error=ERROR),
)
FINE = WorkoutReport(
    ARM64.name, "aarch64", f"/{EVIL}", EVIL, EVIL, judged=(Judged("heap", "ok"),),
    speed={"integers": 1.0, "starts": 40.25}, best=True,
)  # fmt: skip
POOR = replace(
    FINE, best=False,
    judged=(
        Judged("heap", "fail", EVIL, "ok"), Judged("rseq", "unsupported", EVIL),
        Judged("terminal", "host", EVIL),
    ),
)  # fmt: skip
NOTHING_RAN = WorkoutReport(ARM64.name, "aarch64", not_run=EVIL)
ANY: dict[str, Result] = {
    "check: works": CheckResult(HOST, Verdict((WORKS,))),
    "check: fails": CheckResult(HOST, Verdict((FAILS,))),
    "check: the host is wrong": CheckResult(HOST, Verdict((WORKS,), (OFF,))),
    "check: a warning": CheckResult(HOST, Verdict((WORKS,), (RISK,))),
    "check: a warning, strictly": CheckResult(HOST, Verdict((WORKS,), (RISK,)), strict=True),
    "check: a warning of a platform, strictly": CheckResult(
        HOST, Verdict((replace(WORKS, findings=(RISK,)),)), strict=True
    ),
    "check: nothing proven": CheckResult(HOST, Verdict((UNPROVEN,))),
    "check: nothing at all": CheckResult(HOST, Verdict()),
    "check: engines": CheckResult(HOST, Verdict((WORKS,)), (ERROR,), engines=ENGINES),
    "check: stopped": stopped("check", HOST, judge(HOST, (), {}), ERROR, check=False),
    "deep: fine": DeepResult(HOST, Verdict((WORKS,)), workouts=(FINE,)),
    "deep: fails": DeepResult(HOST, Verdict((WORKS,)), workouts=(POOR,)),
    "deep: does not run": DeepResult(HOST, Verdict((FAILS,))),
    "deep: compared": DeepResult(HOST, workouts=(POOR, FINE, NOTHING_RAN), compared=True),
    "deep: compared, all fail": DeepResult(HOST, workouts=(POOR, POOR), compared=True),
    "deep: nothing ran": DeepResult(HOST, errors=(ERROR,), workouts=(NOTHING_RAN,), compared=True),
    "security: fine": SecurityResult(CLEAN, security_verdict(CLEAN)),
    "security: not fine": SecurityResult(HOST, security_verdict(HOST)),
}
"""What every format renders."""
TEXT_AND_JSON: dict[str, Result] = {
    "status": StatusResult(HOST, Verdict((WORKS,), (RISK,))),
    "install": InstallResult(HOST, Verdict((WORKS,)), outcomes=DONE),
    "install: planned": InstallResult(HOST, Verdict((WORKS,)), outcomes=PLANNED, check=True),
    "install: fails": InstallResult(HOST, Verdict((FAILS,)), (ERROR,), DONE),
    "uninstall": UninstallResult(HOST, outcomes=DONE),
    "uninstall: nothing": UninstallResult(HOST),
    "unit": UnitResult(HOST, text="[Unit]\n", files={"/etc/x": "y\n"}),
    "explain": ExplainResult(HOST, seen=Explanation(FILE.path, "/", (Step(FILE, "nothing"),))),
    "explain: fails": ExplainResult(
        HOST,
        seen=Explanation(
            FILE.path, "/", (Step(FILE, "nothing"),), Failure("no-program", EVIL), hints=(EVIL,)
        ),
    ),
    "explain: stopped": stopped("explain", HOST, Verdict(), ERROR, check=False),
    "run: stopped": stopped("run", HOST, Verdict(), ERROR, check=False),
}
"""What those formats render that every command offers."""
STATUS: dict[str, Result] = {
    "status": TEXT_AND_JSON["status"],
    "status: nothing": StatusResult(CLEAN),
    "status: a platform fails": StatusResult(HOST, Verdict((FAILS,), (OFF,))),
    "status: stopped": stopped("status", HOST, judge(HOST, (), {}), ERROR, check=False),
}
"""What the format of `status` alone renders."""
SHOWINGS = (Showing(), Showing(Style(colour=True), diff=True), Showing(quiet=True))


def asked_for(name: str) -> dict[str, Result]:
    """The results that a command can be asked to give in a format."""
    if name in {f.value for f in Format}:
        return {**ANY, **TEXT_AND_JSON}
    return ANY if name in {f.value for f in CheckFormat} else STATUS


def complaints(shown: OutputFormat) -> list[str]:
    """What is wrong with a format; empty when it keeps to the contract."""
    named = shown.name in README.read_text()
    found = [] if named else ["README.md does not name it"]
    for what, result in asked_for(shown.name).items():
        for showing in SHOWINGS:
            try:
                found += _report(shown, what, result, showing)
            except Exception as error:
                found.append(f"{what}: {type(error).__name__}: {error}")
    try:
        text = shown.failure("check", ERROR)
        found += [f"a failure: {problem}" for problem in _escapes(shown, text)]
        if shown.name != "text" and _verdict(shown, text) is not False:
            found.append("a failure: it is told as a success")
    except Exception as error:
        found.append(f"a failure: {type(error).__name__}: {error}")
    return list(dict.fromkeys(found))


def _report(shown: OutputFormat, what: str, result: Result, showing: Showing) -> Iterator[str]:
    text = shown.report(result, showing)
    yield from (f"{what}: {problem}" for problem in _escapes(shown, text))
    said = _verdict(shown, text)
    if said is not None and said is not (result.exit_code == 0):
        yield f"{what}: exit code {int(result.exit_code)}, and it says {said}"
    yield from (f"{what}: summary: {p}" for p in _escapes(shown, shown.summary(result), md=True))


def _escapes(shown: OutputFormat, text: str, *, md: bool = False) -> Iterator[str]:
    """What gets out at the edge of the program, where everything passes `safe`."""
    out = safe(text, commands=shown.commands and not md)
    if text and not text.endswith("\n"):
        yield "no newline at the end"
    plain = out.replace("\x1b[", "") if shown.name == "text" else out
    if not all(line.isprintable() for line in plain.split("\n")):
        yield "something that is not printable"
    for line in out.split("\n"):
        command = line.strip()
        if command.startswith("::") and " title=binfmt-setup " not in command:
            yield f"a command that is not its own: {line[:40]}"
    out.encode("utf-8")


def _verdict(  # noqa: PLR0911 - one format after the other
    shown: OutputFormat, text: str
) -> bool | None:
    """The verdict that a program reads in it; None for people."""
    if shown.name == "json":
        data = json.loads(text)
        assert_fits(data)
        return bool(data["exit_code"] == 0) and bool(data["ok"])
    if shown.name == "github":
        return not any(line.startswith("::error ") for line in text.split("\n"))
    if shown.name == "prometheus":
        return bool(samples(text)["binfmt_check_success", ()])
    if shown.name == "nagios":
        assert text.count("\n") == 1
        assert text.count("|") <= 1
        return text.startswith(("BINFMT OK - ", "BINFMT WARNING - "))
    if shown.name == "journal":
        last = journal_entries(text)[-1]
        return last["BINFMT_EXIT_CODE"] == "0"
    if shown.name == "junit":
        suite = ET.fromstring(text)  # noqa: S314 - made by the format
        counted = [int(suite.attrib[name]) for name in ("failures", "errors")]
        held = [len(suite.findall(f"testcase/{tag}")) for tag in ("failure", "error")]
        assert counted == held
        assert int(suite.attrib["tests"]) == len(suite.findall("testcase")) > 0
        return not any(held)
    return None


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_keeps_to_the_contract(name: str) -> None:
    shown = format_named(name)
    assert shown.name == name
    assert complaints(shown) == []


def test_each_format_can_be_asked_for() -> None:
    choices = {choice.value for kind in (CheckFormat, StatusFormat) for choice in kind}
    assert choices == set(FORMATS)
    folder = Path(interface.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "interface"}
    assert modules == set(FORMATS)
    with pytest.raises(LookupError):
        format_named("xml")


class Optimist(JsonFormat):
    """One that tells no failure."""

    def report(self, result: Result, showing: Showing) -> str:
        return super().report(replace(result, errors=(), verdict=Verdict((WORKS,))), showing)


class Forgetful(JsonFormat):
    """One that knows only the check."""

    def report(self, result: Result, showing: Showing) -> str:
        assert isinstance(result, CheckResult)
        return super().report(result, showing)


class Obedient(JsonFormat):
    """One that passes on what others say."""

    name = "github"
    commands = True

    def report(self, result: Result, showing: Showing) -> str:  # noqa: ARG002 - says it plainly
        return "\n".join(error.message for error in result.errors) + "\n"

    def failure(self, command: str, error: BinfmtSetupError) -> str:  # noqa: ARG002 - as above
        return f"{error.message}\n"


@pytest.mark.parametrize(
    ("half_done", "complaint"),
    [(Optimist, "exit code 1, and it says True"), (Forgetful, "AssertionError"),
     (Obedient, "a command that is not its own")],
)  # fmt: skip
def test_a_half_done_format_is_found_out(half_done: type[OutputFormat], complaint: str) -> None:
    assert any(complaint in said for said in complaints(half_done()))


def test_every_kind_of_result_is_rendered() -> None:
    kinds = {type(result) for result in (*ANY.values(), *TEXT_AND_JSON.values())}
    assert kinds == {
        CheckResult, SecurityResult, StatusResult, InstallResult, UninstallResult, UnitResult,
        ExplainResult, RunResult, DeepResult,
    }  # fmt: skip


def test_a_job_is_told_which_exercises_fail_and_who_meets_it() -> None:
    shown = format_named("github")
    annotations = shown.report(ANY["deep: fails"], Showing()).splitlines()
    (told,) = [line for line in annotations if line.startswith("::warning ")]
    assert told.startswith("::warning title=binfmt-setup workout::linux/arm64 with QEMU ")
    assert told.endswith(" fails at 1 exercises%0Aheap: every program")
    assert "\n- heap: every program\n" in shown.summary(ANY["deep: fails"])
