"""Every host case: what the commands say about it, in every format."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from binfmt_setup.commands import look
from binfmt_setup.commands.check import check
from binfmt_setup.commands.install import install
from binfmt_setup.commands.request import requested
from binfmt_setup.diagnosis.catalogue import NotPersistent
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.facts import HostFacts
from binfmt_setup.model.records import replace
from binfmt_setup.model.request import Request
from binfmt_setup.report import text_report, words
from binfmt_setup.report.formats.interface import Showing, format_named
from binfmt_setup.report.lines import hint
from binfmt_setup.report.result import CheckResult, Result
from binfmt_setup.report.style import Style
from binfmt_setup.report.verdict_words import verdict_words
from tests import judged, recorded
from tests.remedies import LOOKS, NO_COMMAND_CURES
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from collections.abc import Callable

GOLDEN = recorded.CASES / "golden"
WRITE = os.environ.get("BINFMT_SETUP_GOLDEN") == "write"
FILES = recorded.case_files()
STOCK = (
    "debian-12",
    "debian-12-fresh",
    "debian-13",
    "debian-forky",
    "ubuntu-24.04",
    "fedora",
    "arch",
)
SHOWN = ("debian-12", "debian-12-fresh", "flag-f-missing", "interpreter-stale", "wsl2")
"""The hosts that show what reports look like."""
PROSE = ("message", "evidence", "hint", "text", "known_faults")
PLAIN = Style(colour=False, unicode=True)


class Host:
    """A case that has been built, with what the commands say about it."""

    def __init__(self, path: Path, root: Path) -> None:
        self.case = recorded.load(path)
        self.host = recorded.build(self.case, root)
        request = requested(self.host, self.case.ask)
        # With one platform QEMU's version is among the facts.
        versions = len(request.platforms) == 1
        self.check = self.placed(check(self.host, request, versions=versions))
        self.status = self.placed(look.status(self.host))
        # An offline tree has no kernel whose entries could be looked at.
        self.security = (
            look.check_security(self.host) if self.host.live else CheckResult(HostFacts("/"))
        )

    def placed(self, result: Result) -> Result:
        """A result as if an offline tree had lain at /ROOT: where a line ends depends on it."""
        place = "/" if result.facts.live else "/ROOT"
        return replace(result, facts=replace(result.facts, root=place))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Host]:
    """All cases, each built when it is first asked for."""

    class Built(dict[str, Host]):
        def __missing__(self, name: str) -> Host:
            path = next(path for path in FILES if path.stem == name)
            self[name] = Host(path, tmp_path_factory.mktemp("host") / "root")
            return self[name]

    return Built()


@pytest.fixture(params=[path.stem for path in FILES])
def host(request: pytest.FixtureRequest, hosts: dict[str, Host]) -> Host:
    return hosts[request.param]


def test_the_commands_say_what_the_case_expects(host: Host) -> None:
    said = judged.said(host.case, host.host)
    said["security"] = sorted(judged.finding(f) for f in host.security.verdict.findings)
    assert said == host.case.expect


def shown(format_: str, result: Result) -> str:
    """A result in a format."""
    return format_named(format_).report(result, Showing())


FORMATS: dict[str, Callable[[Host], str]] = {
    "text": lambda host: text_report.text_report(host.check, PLAIN),
    "status": lambda host: text_report.text_report(host.status, PLAIN),
    "security": lambda host: text_report.text_report(host.security, PLAIN),
    "github": lambda host: shown("github", host.check),
    "summary": lambda host: format_named("github").summary(host.check),
    "junit": lambda host: shown("junit", host.check),
    "nagios": lambda host: shown("nagios", host.check),
    "journal": lambda host: shown("journal", host.check),
    "json": lambda host: shown("json", host.check),
}
"""What people and programs read; the wording of each lies in one file."""


def facts_of(value: object) -> object:
    """A JSON report without its sentences: what holds whatever the wording is."""
    if isinstance(value, dict):
        return {key: facts_of(item) for key, item in value.items() if key not in PROSE}
    return [facts_of(item) for item in value] if isinstance(value, list) else value


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if WRITE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_the_wording_of_some_hosts_is_as_recorded(hosts: dict[str, Host], name: str) -> None:
    parts = (f"# {case}\n{FORMATS[name](hosts[case])}" for case in SHOWN)
    compare(f"wording/{name}.txt", "\n".join(parts))


def test_facts_are_as_recorded_and_json_fits_its_schema(host: Host) -> None:
    reports = [json.loads(shown("json", result)) for result in results(host)]
    for report in reports:
        assert_fits(report)
    text = json.dumps(facts_of(reports[0]), indent=1) + "\n"
    compare(f"{host.case.name}.json", text.replace(str(host.host.root), "/ROOT"))


def results(host: Host) -> list[Result]:
    return [host.check, host.status, host.security]


def test_text_fits_eighty_columns(host: Host) -> None:
    """A command to paste is never broken: what to do ends its lines behind a comma alone."""
    for result in results(host):
        for style, sign in ((PLAIN, "  → "), (Style(unicode=False), "  -> ")):
            lines = text_report.text_report(result, style).splitlines()
            for line in lines:
                clause = not any(mark in line for mark in (", ", "; "))
                whole = clause and line.startswith((sign, "    "))
                assert len(line) <= 80 or whole or " " not in line.strip(), line


def test_without_unicode_a_report_is_ascii_and_says_the_same(host: Host) -> None:
    for result in results(host):
        text = text_report.text_report(result, Style(unicode=False))
        assert text.isascii()
        assert text.splitlines()[-1] == text_report.text_report(result, PLAIN).splitlines()[-1]


def test_json_of_install_check_is_complete_whether_it_could_be_done_or_not(host: Host) -> None:
    request = requested(host.host, host.case.ask, Request(check=True))
    result: Result
    try:
        result = install(host.host, request)
    except BinfmtSetupError as error:
        result = look.stopped(host.host, "install", error, check=True)
    data = json.loads(shown("json", result))
    assert_fits(data)
    assert data["check"] is True
    assert data["host"] is not None
    assert data["changed"] is bool(data["actions"])
    assert (data["exit_code"] == 0) is (data["errors"] == [])


def test_the_verdict_comes_last_and_the_remedies_right_before_it(host: Host) -> None:
    for result in results(host):
        lines = text_report.text_report(result, PLAIN).splitlines()
        last = max(at for at, line in enumerate(lines) if not line.startswith(" "))
        verdict, good = verdict_words(result)
        assert " ".join(line.strip() for line in lines[last:]) == verdict
        assert good is (result.exit_code == 0)
        remedies = words.remedies(result.verdict.all_findings)
        shown = [line for remedy in remedies for line in hint(PLAIN, remedy)]
        assert lines[last - len(shown) : last] == shown


def test_a_finding_has_evidence_and_a_remedy(host: Host) -> None:
    for result in results(host):
        for finding in result.verdict.all_findings:
            assert words.message(finding)
            if finding.severity != "info":
                assert words.evidence(finding), finding
                lasts = not isinstance(finding.fact, NotPersistent)
                assert words.hint(finding) or not lasts, finding


def test_what_is_said_to_cure_nothing_tells_to_look_at_most(host: Host) -> None:
    for result in results(host):
        for finding in result.verdict.all_findings:
            command = finding.remedy.command if finding.remedy else ()
            looks = not command or any(command[: len(start)] == start for start in LOOKS)
            assert looks or finding.code not in NO_COMMAND_CURES, finding


def test_a_remedy_that_says_install_does_not_run_into_a_wall(host: Host) -> None:
    """What is told to be run is what `install --check` says it can do."""
    hints = [words.hint(finding) for finding in host.check.verdict.all_findings]
    if not any(hint.startswith("run: binfmt-setup install linux/") for hint in hints):
        return
    planned = judged.planned(host.case, host.host)
    assert planned
    assert not [step for step in planned if step.startswith(("stopped:", "not:"))]


def test_a_command_for_an_offline_tree_names_it(host: Host) -> None:
    """Without --root it would change the running host."""
    remedies = [f.remedy for f in host.check.verdict.all_findings if f.remedy]
    installs = [r.argv for r in remedies if r.command[:2] == ("binfmt-setup", "install")]
    assert all("--root" in command for command in installs) or host.host.live


def test_junit_counts_what_it_holds(host: Host) -> None:
    suite = ET.fromstring(shown("junit", host.check))  # noqa: S314 - our own output
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    assert int(suite.attrib["skipped"]) == len(suite.findall("testcase/skipped"))
    names = [case.attrib["name"] for case in suite.findall("testcase")]
    assert names == [*(state.platform.name for state in host.check.verdict.platforms), "host"]


def test_github_lines_are_commands_that_github_reads(host: Host) -> None:
    *lines, verdict = shown("github", host.check).splitlines()
    assert verdict == verdict_words(host.check)[0]
    for line in lines:
        assert re.fullmatch(r"::(error|warning|notice) title=binfmt-setup [a-z0-9-]+::\S.*", line)


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_host_gives_no_security_alarm(hosts: dict[str, Host], name: str) -> None:
    security = hosts[name].security
    assert [f for f in security.verdict.findings if f.severity != "info"] == []
    assert security.exit_code == 0


def test_who_cannot_run_probes_is_asked_to_look_again_as_root(hosts: dict[str, Host]) -> None:
    (finding,) = hosts["not-probed-user"].security.verdict.findings
    assert words.hint(finding) == "look again: sudo binfmt-setup check --security"


def test_a_healthy_host_with_ten_platforms_is_read_at_a_glance(hosts: dict[str, Host]) -> None:
    ten = "amd64,arm64,arm/v5,arm/v6,arm/v7,loong64,mips64le,ppc64le,riscv64,s390x"
    for name in ("debian-13", "ubuntu-24.04"):
        result = check(hosts[name].host, requested(hosts[name].host, [ten]))
        text = text_report.text_report(result, PLAIN)
        assert result.exit_code == 0
        assert len(result.verdict.platforms) == 10
        assert len(text.splitlines()) <= 25


def test_the_table_of_hosts_is_made_from_these_cases() -> None:
    script = Path(__file__).parents[2] / "scripts" / "hosts-table"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert done.returncode == 0, "run scripts/hosts-table"


def test_no_golden_file_is_left_over() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {
        "wording", *(f"{path.stem}.json" for path in FILES)
    }  # fmt: skip
    assert {path.name for path in (GOLDEN / "wording").iterdir()} == {f"{n}.txt" for n in FORMATS}
