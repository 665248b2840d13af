"""What a judgement consists of: the state of each platform, and the verdict on all."""

from __future__ import annotations

from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import Literal

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Platform

    How = Literal["native", "emulated", "none"]


class PlatformState(Record):
    """The verdict on one platform.

    `ran` says whether its probe ran on this host, `built` whether every engine that was asked
    could build for it; None where none was. `prepared` tells of an offline tree whether its
    first boot will have what it needs.
    """

    platform: Platform
    ran: bool
    how: How
    handler: Entry | None = None
    pinned_version: str = ""
    disk_version: str = ""
    persistent: bool | None = None
    findings: tuple[Finding, ...] = ()
    built: bool | None = None
    prepared: bool | None = None

    @property
    def ok(self) -> bool:
        """Whether it works: about builds the word of the engines is the last one."""
        return self.ran if self.built is None else self.built

    @property
    def unproven(self) -> bool:
        """Whether nothing speaks against it, but no probe could show that it works."""
        return not self.ok and {finding.code for finding in self.findings} == {"not-probed"}


class Verdict(Record):
    """What a check found: platforms in the order asked for, and findings on the host.

    `isolation` says in a few words what the probes that ran were kept from.
    """

    platforms: tuple[PlatformState, ...] = ()
    findings: tuple[Finding, ...] = ()
    isolation: tuple[str, ...] = ()

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Those of the host first, then platform by platform."""
        return self.findings + tuple(f for state in self.platforms for f in state.findings)

    def clean(self, *, strict: bool = False) -> bool:
        """Whether there is no error; with `strict` no warning either."""
        bad = ("error", "warning") if strict else ("error",)
        return all(finding.severity not in bad for finding in self.all_findings)

    def good(self, *, strict: bool = False) -> bool:
        """Whether every platform that can be proven works, and one at least is.

        With `strict` no warning is tolerated either.
        """
        states = self.platforms
        works = any(s.ok or s.prepared for s in states) and all(s.ok or s.unproven for s in states)
        return works and self.clean(strict=strict)
