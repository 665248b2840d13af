"""Commands that only look: the entries of a host, whether they can be trusted, and failures."""

from __future__ import annotations

from binfmt_setup.commands.check import check, with_pinned_versions
from binfmt_setup.commands.request import asked_for, probe, requested
from binfmt_setup.diagnosis.judge import judge
from binfmt_setup.inspect.natives import with_natives
from binfmt_setup.inspect.snapshot import snapshot, with_digests, with_versions
from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.report import result
from binfmt_setup.report.result import SecurityResult, StatusResult

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.report.result import Result
    from binfmt_setup.system.host import Host


def check_security(host: Host, *, strict: bool = False) -> SecurityResult:
    """Whether the entries of a host can be trusted; changes nothing.

    It runs the probes of what is emulated, as only that tells which file the kernel holds open.

    Raises UsageProblem for an offline tree, which has none.
    """
    from binfmt_setup.diagnosis.security import security_verdict
    from binfmt_setup.inspect.provenance import with_provenance

    if not host.live:
        raise UsageProblem(
            "--security looks at the kernel's entries, and an offline tree has no kernel",
            hint="run it on the live host",
        )
    facts = with_natives(host, snapshot(host), {})
    facts = with_digests(host, with_provenance(host, facts))
    emulated = _emulated(facts)
    verdict = security_verdict(facts, emulated, probe(host, emulated))
    return SecurityResult(facts, verdict, strict=strict)


def _emulated(facts: HostFacts) -> list[Platform]:
    """The platforms that an entry emulates."""
    return [
        platform
        for platform in asked_for(["all"]).platforms
        if (handler := facts.registry.handler(platform.header)) and handler.registration.magic
    ]


def stopped(host: Host, command: str, error: BinfmtSetupError, *, check: bool) -> Result:
    """The result of a command that an error stopped: the host as it is, and what is wrong."""
    facts = snapshot(host)
    return result.stopped(command, facts, judge(facts, (), {}), error, check=check)


def status(host: Host) -> StatusResult:
    """Every entry of the host."""
    facts = snapshot(host)
    if host.live:
        elf = [e.interpreter for e in facts.registry.entries if e.registration.magic[:1] == b"\x7f"]
        facts = with_versions(host, facts, elf)
        facts = with_digests(host, facts)
    served = _emulated(facts)
    ran = probe(host, served)
    facts = with_natives(host, facts, ran)
    found = with_pinned_versions(host, facts, served, ran)
    return StatusResult(facts, judge(facts, served, found))


def watched(host: Host) -> StatusResult:
    """Every entry, and the platforms that the host shall run: also those that are lost."""
    found = check(host, requested(host, None), versions=True)
    return StatusResult(found.facts, found.verdict, found.errors)
