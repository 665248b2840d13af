"""What `check` prints in each format, on failure and for bad input too."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from binfmt_setup.cli.app import run_command_line
from binfmt_setup.diagnosis.security import may_catch, programs_of_the_host, security_verdict
from binfmt_setup.model.facts import HostFacts, KernelFacts
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter
from binfmt_setup.model.mountinfo import BinfmtMount
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import target_named
from binfmt_setup.report.formats.interface import Showing, format_named
from binfmt_setup.report.result import Result, SecurityResult
from binfmt_setup.report.style import Style
from binfmt_setup.report.text_report import text_report
from binfmt_setup.report.words import hint
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from pathlib import Path

NATIVE = target_named("x86_64")


@pytest.fixture
def tree(tmp_path: Path) -> str:
    """An offline host with the emulator for arm64 and nothing else."""
    place = tmp_path / "usr" / "bin"
    place.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "os-release").write_text("ID=debian\nPRETTY_NAME=Debian\n")
    return str(tmp_path)


@pytest.mark.parametrize("format_", ["json", "github", "junit", "text"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "nonsense"),
        ("check", "--security", "arm64"),
        ("check", "--security", "--root", "/tmp"),
        ("check", "--no-such-option"),
        ("check", "--root", "/does/not/exist"),
        ("check", "linux/arm64", "--root"),
    ],
)
def test_bad_input_is_exit_code_2_with_a_hint_in_every_format(
    arguments: tuple[str, ...], format_: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line([arguments[0], "--format", format_, *arguments[1:]]) == 2
    said = capsys.readouterr()
    assert said.err
    assert "Traceback" not in said.err + said.out
    if format_ == "json":
        data = json.loads(said.out)
        assert_fits(data)
        assert data["exit_code"] == 2
        assert data["errors"][0]["hint"]
    elif format_ == "github":
        # Nothing of the host, which has no part in a mistake, and no verdict on it.
        assert said.out.startswith("::error title=binfmt-setup usage::")
        assert said.out.count("\n") == 1
    elif format_ == "junit":
        suite = ET.fromstring(said.out)  # noqa: S314 - our own output
        assert (suite.attrib["errors"], suite.attrib["tests"]) == ("1", "1")
        assert suite.find("testcase/error") is not None
    else:
        assert said.out == ""


def test_json_of_a_stopped_command_describes_the_host(
    tree: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run_command_line(["install", "--root", tree, "--format=json", "--check"])
    data = json.loads(capsys.readouterr().out)
    assert_fits(data)
    assert status == data["exit_code"] == 5
    assert data["host"]["distribution"] == "Debian"
    assert data["errors"][0]["code"] == "interpreter-missing"
    assert data["changed"] is False
    assert data["check"] is True


def test_quiet_prints_the_verdict_alone(tree: str, capsys: pytest.CaptureFixture[str]) -> None:
    loud = run_command_line(["check", "linux/arm64", "--root", tree])
    verdict = capsys.readouterr().out.splitlines()[-1]
    assert run_command_line(["check", "linux/arm64", "--root", tree, "-q"]) == loud
    assert capsys.readouterr().out == verdict + "\n"


def test_the_step_summary_is_added_to_what_is_there(
    tree: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run_command_line(["check", "linux/arm64", "--root", tree, "--format", "github"])
    text = summary.read_text()
    assert text.startswith("before\n### binfmt-setup: ")
    assert "| linux/arm64 |" in text
    summary.unlink()
    run_command_line(["check", "linux/arm64", "--root", tree, "--format", "json"])
    assert not summary.exists()
    capsys.readouterr()


def test_a_step_summary_that_cannot_be_written_does_not_change_the_answer(
    tree: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["check", "linux/arm64", "--root", tree, "--format", "github"]
    expected = run_command_line(arguments)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "/does/not/exist/summary.md")
    assert run_command_line(arguments) == expected
    assert "no step summary" in capsys.readouterr().err


def hostile(name: str) -> Result:
    entry = Entry(Registration(name, f"/{name}", "C", NATIVE.magic, NATIVE.mask), enabled=True)
    facts = HostFacts(
        "/", KernelFacts("6.1.0", "x86_64", "present"),
        registry=RegistryFacts(
            BinfmtMount("mounted"), enabled=True, entries=(entry,), listing=None
        ),
        emulators=EmulatorFacts(files={entry.interpreter: Interpreter(entry.interpreter)}),
    )  # fmt: skip
    return SecurityResult(facts, security_verdict(facts))


@pytest.mark.parametrize("name", ["a\x1b[31mb", "x|y`<b>[z](u)", "\x00\ufffe", "a\n::error::b"])
def test_the_name_of_an_entry_cannot_break_out_of_a_report(name: str) -> None:
    result = hostile(name)
    suite = ET.fromstring(format_named("junit").report(result, Showing()))  # noqa: S314 - our own output
    assert suite.find("system-out") is not None
    github = format_named("github")
    assert "\x1b" not in github.report(result, Showing()) + github.summary(result)
    for line in github.summary(result).splitlines():
        assert line.startswith("    ") or "<b>" not in line.replace("\\<b\\>", "")
        assert not line.startswith("::")
    text = text_report(result, Style())
    assert "\x1b" not in text
    assert not any(line.startswith("::") for line in text.splitlines())
    command = hint(result.verdict.findings[0]).removeprefix("run: ")
    assert shlex.split(command) == ["echo", "-1", ">", f"/proc/sys/fs/binfmt_misc/{name}"]


CATCH = [
    (NATIVE.magic, NATIVE.mask, 0, True),
    # The first bytes of one program, its entry point included.
    (NATIVE.magic[:16] + b"\x03\0\x3e\0" + b"\1\0\0\0" + bytes(range(40)), b"", 0, True),
    # Bytes behind the header only: any program may have them.
    (b"\x12\x34", b"", 128, True),
    (b"\x7fELF", b"", 0, True),
    (b"MZ", b"", 0, False),
    (b"\xa7\x0d\x0d\x0a", b"", 0, False),
    (b"BC", b"", 0, False),
    # Neither the kernel's loader nor QEMU's looks there: AppImages are programs of the host.
    (b"AI\x02", b"", 8, True),
]
SCRIPTS = [
    (b"#!", 0, True), (b"#", 0, True), (b"!/", 1, True), (b"# FASL", 0, False), (b"PK", 0, False),
    # The name of the interpreter alone, and what no line of text has.
    (b"/bin/sh", 2, True), (b"/usr/bin/env python", 2, True), (b"AI\x02", 8, False),
]  # fmt: skip


@pytest.mark.parametrize(("magic", "mask", "offset", "catches"), CATCH)
def test_what_may_catch_native_programs(
    magic: bytes, mask: bytes, offset: int, *, catches: bool
) -> None:
    registration = Registration("x", "/x", "", magic, mask, offset)
    assert may_catch(registration, NATIVE) is catches


@pytest.mark.parametrize(("magic", "offset", "catches"), SCRIPTS)
def test_what_may_catch_scripts(magic: bytes, offset: int, *, catches: bool) -> None:
    entry = Entry(Registration("x", "/x", "", magic, b"", offset), enabled=True)
    facts = HostFacts("/")
    assert (programs_of_the_host(entry, facts) == "scripts") is catches


def test_no_entry_of_another_target_may_catch_native_programs() -> None:
    for name in ("aarch64", "arm", "i386", "ppc64le", "riscv64", "s390x"):
        target = target_named(name)
        entry = Registration(name, "/x", "", target.magic, target.mask)
        assert not may_catch(entry, NATIVE)
    assert not may_catch(Registration("py", "/x", extension="py"), NATIVE)
