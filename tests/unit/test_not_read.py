"""What could not be read is told as such: it is never a "no", and never nothing."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.diagnosis.catalogue import EntryMissing
from binfmt_setup.diagnosis.judge import judge
from binfmt_setup.diagnosis.security import security_verdict
from binfmt_setup.model.boot_facts import BootFacts
from binfmt_setup.model.facts import HostFacts, KernelFacts
from binfmt_setup.model.interpreter import EmulatorFacts
from binfmt_setup.model.mountinfo import BINFMT_MISC, BinfmtMount
from binfmt_setup.model.reading import Unreadable, UnreadFile
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts, UnreadEntry
from binfmt_setup.model.targets import parse_platform, target_named
from binfmt_setup.report.result import SecurityResult
from binfmt_setup.report.style import Style
from binfmt_setup.report.text_report import text_report
from binfmt_setup.report.words import message
from binfmt_setup.system.probes import ProbeResult

if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Finding

ARM64 = parse_platform("arm64")
TARGET = target_named("aarch64")
QEMU = "/usr/bin/qemu-aarch64-static"
DENIED = Unreadable(errno.EACCES)
ENTRY = Entry(Registration("qemu-aarch64", QEMU, "OF", TARGET.magic, TARGET.mask), enabled=True)
KNOWN = RegistryFacts(BinfmtMount("mounted"), enabled=True, listing=None)
HOST = HostFacts(
    "/", KernelFacts("6.12.0", "x86_64", "present"), registry=KNOWN, boot=BootFacts("none")
)
FAILED = ProbeResult("aarch64", errno=errno.ENOEXEC)
RAN = ProbeResult("aarch64", exit_status=0, fields={"target": "aarch64", "argc": "2"})


def found(facts: HostFacts, probe: ProbeResult | None) -> tuple[Finding, ...]:
    return judge(facts, [ARM64], {ARM64.probe: probe} if probe else {}).all_findings


@pytest.mark.parametrize(("probe", "severity"), [(FAILED, "error"), (RAN, "info")])
def test_a_registry_that_may_not_be_read_is_no_empty_one(probe: ProbeResult, severity: str) -> None:
    facts = replace(HOST, registry=replace(KNOWN, listing=DENIED))
    findings = found(facts, probe)
    assert [(f.code, f.severity) for f in findings] == [("access-denied", severity)]
    assert BINFMT_MISC in message(findings[0])
    assert not any(isinstance(f.fact, EntryMissing) for f in found(facts, None))


def test_a_switch_that_may_not_be_read_is_not_off() -> None:
    facts = replace(HOST, registry=replace(KNOWN, enabled=DENIED, entries=(ENTRY,)))
    codes = [f.code for f in found(facts, FAILED)]
    assert codes == ["access-denied"]
    assert "globally-disabled" not in codes


def test_an_emulator_that_may_not_be_read_is_not_missing() -> None:
    emulators = EmulatorFacts({TARGET.name: (QEMU,)}, {QEMU: DENIED})
    (finding,) = found(replace(HOST, emulators=emulators), FAILED)
    assert finding.code == "access-denied"
    assert "cannot be read" in message(finding)


UNREAD = {
    "the list of entries": replace(HOST, registry=replace(KNOWN, listing=DENIED)),
    "an entry": replace(HOST, registry=replace(KNOWN, unread=(UnreadEntry("x", DENIED),))),
    "an interpreter": replace(
        HOST, registry=replace(KNOWN, entries=(ENTRY,)), emulators=EmulatorFacts({}, {QEMU: DENIED})
    ),
    "an interpreter that nobody looked at": replace(
        HOST, registry=replace(KNOWN, entries=(ENTRY,))
    ),
    "a file for the boot": replace(
        HOST, boot=BootFacts("systemd", unread=(UnreadFile("/etc/binfmt.d/x.conf", DENIED),))
    ),
}


@pytest.mark.parametrize("facts", UNREAD.values(), ids=list(UNREAD))
def test_the_security_view_trusts_nothing_that_it_did_not_read(facts: HostFacts) -> None:
    result = SecurityResult(facts, security_verdict(facts))
    assert result.exit_code == 1
    assert "no security problems found" not in text_report(result, Style())


def test_the_security_view_of_what_was_read_finds_nothing() -> None:
    assert SecurityResult(HOST, security_verdict(HOST)).exit_code == 0
