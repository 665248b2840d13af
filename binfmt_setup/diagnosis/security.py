"""The security view: whoever can change an interpreter, or slip in an entry, runs as root.

An entry decides which program runs in place of another one, for every user. This looks at
all entries, not only at those of platforms, and at nothing but facts.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.failed_probes import removal_command, shown
from binfmt_setup.diagnosis.verdict import Finding, Verdict
from binfmt_setup.diagnosis.working_entries import from_distribution
from binfmt_setup.model.interpreter import Interpreter
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Absent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry, Registration
    from binfmt_setup.model.targets import Target

_WSL = ("/init", "/tools/init")
"""What WSL itself puts at the top of the tree, outside of any package."""


def security_verdict(facts: HostFacts) -> Verdict:
    """All that speaks against trusting the entries of a host."""
    return Verdict(findings=tuple(_findings(facts)))


def _findings(facts: HostFacts) -> Iterator[Finding]:
    if facts.out_of_reach:
        yield Finding(
            "not-mounted", "error",
            f"binfmt_misc does not show in this {facts.process.container} container: the entries "
            "in force cannot be looked at",
            "run on the host: binfmt-setup check --security",
            evidence=f"/proc/self/mountinfo has nothing at {BINFMT_MISC}",
        )  # fmt: skip
    told: set[str] = set()
    for entry in facts.registry.entries:
        yield from _entry_findings(facts, entry)
        if entry.interpreter not in told:
            told.add(entry.interpreter)
            yield from _interpreter_findings(facts, entry)


def _entry_findings(facts: HostFacts, entry: Entry) -> Iterator[Finding]:
    """What an entry takes in, and with whose rights it runs it."""
    native = facts.kernel.native
    credentials = "C" in entry.flags
    if native is not None and entry.enabled and may_catch(entry.registration, native):
        rights = ", set-user-ID ones with their owner's rights" if credentials else ""
        yield Finding(
            "native-caught", "error",
            f"entry {entry.name} takes programs of the host itself{rights}",
            f"run: {removal_command(entry)}",
            evidence=f"its magic and mask fit {native.name} programs; {shown(entry)}",
        )  # fmt: skip
    elif credentials:
        stock = from_distribution(facts, entry)
        yield Finding(
            "credentials-flag", "info" if stock else "warning",
            f"entry {entry.name} runs set-user-ID programs with their owner's rights "
            f"(flag C{', set by the distribution' if stock else ''})",
            f"run: {removal_command(entry)}", evidence=shown(entry),
        )  # fmt: skip


def may_catch(registration: Registration, native: Target) -> bool:
    """Whether some program of a target could match: no byte that both look at differs.

    Wider than matching the plain header: an entry made from the first bytes of one
    set-user-ID program catches that program alone (the trick known as "shadow SUID"), one
    that looks at bytes behind the header may catch any.
    """
    if registration.extension:
        return False
    mask = registration.mask or b"\xff" * len(registration.magic)
    header = dict(enumerate(zip(native.magic, native.mask, strict=True)))
    for at, (byte, bits) in enumerate(
        zip(registration.magic, mask, strict=True), registration.offset
    ):
        known, looked_at = header.get(at, (0, 0))
        if (byte ^ known) & bits & looked_at:
            return False
    return True


def _interpreter_findings(facts: HostFacts, entry: Entry) -> Iterator[Finding]:
    """Who can change the program that runs, and where it lies."""
    found = facts.emulators.at(entry.interpreter)
    where = f"the interpreter of entry {entry.name}, {entry.interpreter},"
    if isinstance(found, Absent):
        if "F" in entry.flags:
            yield Finding(
                "interpreter-missing", "warning",
                f"{where} does not exist here: what the kernel runs cannot be looked at",
                f"run: {removal_command(entry)}", evidence=shown(entry),
            )  # fmt: skip
        return
    if not isinstance(found, Interpreter):
        return
    if found.culprit:
        yield Finding(
            "interpreter-writable", "error",
            f"{where} is not root's alone: {found.culprit.reason}",
            found.culprit.hint, evidence=f"{found.culprit.reason}; {shown(entry)}",
        )  # fmt: skip
    yield from _place_findings(entry, found, where)


def _place_findings(entry: Entry, found: Interpreter, where: str) -> Iterator[Finding]:
    """The file system and the package that an interpreter comes from."""
    if found.unfit_mount:
        yield Finding(
            "interpreter-mount", "warning", f"{where} lies on {found.unfit_mount}",
            "install QEMU on the host's own file system: binfmt-setup install --install-qemu",
            evidence=f"/proc/self/mountinfo; {shown(entry)}",
        )  # fmt: skip
    if found.package == "" and found.real_path not in _WSL:
        yield Finding(
            "interpreter-unpackaged", "warning", f"{where} belongs to no package",
            f"look where it comes from: ls -l --time-style=full-iso {shlex.quote(found.real_path)}",
            evidence="asked the package manager for the owner of the file",
        )  # fmt: skip
