"""The security view: whoever can change an interpreter, or slip in an entry, runs as root.

An entry decides which program runs in place of another one, for every user. This looks at
all entries, not only at those of platforms, and at nothing but facts.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.failed_probes import removal_command, shown
from binfmt_setup.diagnosis.verdict import Finding, Verdict
from binfmt_setup.diagnosis.working_entries import from_distribution
from binfmt_setup.model.interpreter import Interpreter
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Absent, Unreadable
from binfmt_setup.model.targets import target_of_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry, Registration
    from binfmt_setup.model.targets import Target

_OF_A_PROCESS = ("/proc/self/", "/proc/thread-self/", "/dev/fd/")
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
    yield from _unread_findings(facts)
    yield from place_findings_of_files(facts.boot.culprits)
    told: set[str] = set()
    for entry in facts.registry.entries:
        yield from _entry_findings(facts, entry)
        if entry.interpreter not in told:
            told.add(entry.interpreter)
            yield from _interpreter_findings(facts, entry)


def _entry_findings(facts: HostFacts, entry: Entry) -> Iterator[Finding]:
    """What an entry takes in, and with whose rights it runs it."""
    credentials = "C" in entry.flags
    what = programs_of_the_host(entry.registration, facts.kernel.native) if entry.enabled else ""
    if what:
        rights = ", set-user-ID ones with their owner's rights" if credentials else ""
        yield Finding(
            "native-caught", "error", f"entry {entry.name} takes {what}{rights}",
            f"run: {removal_command(entry)}",
            evidence=f"its pattern fits them; {shown(entry)}",
        )  # fmt: skip
    elif credentials:
        yield _credentials_finding(facts, entry)


def _credentials_finding(facts: HostFacts, entry: Entry) -> Finding:
    """With C every user becomes root who can start a foreign set-user-ID program."""
    target = target_of_entry(entry.name)
    own = facts.boot.own_config(target) if target else None
    config = facts.boot.config_of(entry.name)
    if target and own:
        whose = "as it was asked for with --credentials"
        hint = f"run: binfmt-setup install --no-credentials {target.platforms[0].name}"
    else:
        hint = f"run: {removal_command(entry)}"
        if from_distribution(facts, entry):
            whose = "set by the distribution"
        else:
            whose = f"set by {config.path}" if config else "set by whoever registered it"
        if target and target.platforms:
            hint = f"run: binfmt-setup install --take-over {target.platforms[0].name}"
    return Finding(
        "credentials-flag", "error",
        f"entry {entry.name} runs set-user-ID programs with their owner's rights (flag C, "
        f"{whose}): every user who can start a foreign one becomes root, as QEMU does what "
        "the user's QEMU_LD_PREFIX says",
        hint, evidence=shown(entry),
    )  # fmt: skip


_SCRIPTS = frozenset(
    ("awk", "bash", "bin", "csh", "dash", "fish", "ksh", "lua", "php", "pl", "py", "rb", "run")
) | {"sh", "so", "tcl", "zsh"}
"""How names of programs end that a host runs itself, as scripts or by its own loader."""


def programs_of_the_host(registration: Registration, native: Target | None) -> str:
    """Which programs that the host runs itself an entry may take; empty when it takes none."""
    if registration.extension:
        taken = registration.extension.lower() in _SCRIPTS
        return f"programs of the host whose names end in .{registration.extension}" * taken
    if native is not None and may_catch(registration, native):
        return "programs of the host itself"
    if _may_start_with(registration, b"#!"):
        return "scripts of the host, which start with #!"
    if sum(bool(bits) for bits in _mask(registration)) < _FEWEST_BYTES:
        return "every file that has one certain byte"
    return ""


_FEWEST_BYTES = 2  # .pyc and LLVM's bitcode are told by two to four


def _mask(registration: Registration) -> bytes:
    return registration.mask or b"\xff" * len(registration.magic)


def _may_start_with(registration: Registration, start: bytes) -> bool:
    """Whether a file that starts so could match an entry that looks at the start of files."""
    looked_at = False
    for at, (byte, bits) in enumerate(
        zip(registration.magic, _mask(registration), strict=True), registration.offset
    ):
        if at < len(start) and bits:
            looked_at = True
            if (byte ^ start[at]) & bits:
                return False
    return looked_at


def may_catch(registration: Registration, native: Target) -> bool:
    """Whether some program of a target could match: no byte that both look at differs.

    Wider than matching the plain header: an entry made from the first bytes of one
    set-user-ID program catches that program alone (the trick known as "shadow SUID"), one
    that looks at bytes behind the header may catch any.
    """
    if registration.extension:
        return False
    header = dict(enumerate(zip(native.magic, native.mask, strict=True)))
    for at, (byte, bits) in enumerate(
        zip(registration.magic, _mask(registration), strict=True), registration.offset
    ):
        known, looked_at = header.get(at, (0, 0))
        if (byte ^ known) & bits & looked_at:
            return False
    return True


def _interpreter_findings(facts: HostFacts, entry: Entry) -> Iterator[Finding]:
    """Who can change the program that runs, and where it lies."""
    path = entry.interpreter
    found = facts.emulators.at(path)
    where = f"the interpreter of entry {entry.name}, {path},"
    if not path.startswith("/") or path.startswith(_OF_A_PROCESS):
        yield Finding(
            "interpreter-writable", "error",
            f"{where} is another file for each process that starts a program",
            f"run: {removal_command(entry)}", evidence=shown(entry),
        )  # fmt: skip
    elif isinstance(found, Absent):
        yield from _absent_findings(facts, entry, where)
    elif isinstance(found, Interpreter):
        yield from _file_findings(entry, found, where)
        yield from _place_findings(entry, found, where)
    else:
        why = os.strerror(found.errno) if isinstance(found, Unreadable) else "it is no file"
        yield Finding(
            "access-denied", "warning", f"{where} cannot be looked at: {why}",
            "run it as root: sudo binfmt-setup check --security", evidence=shown(entry),
        )  # fmt: skip


def _absent_findings(facts: HostFacts, entry: Entry, where: str) -> Iterator[Finding]:
    """Nothing is there: what the kernel holds cannot be seen, or somebody can put it there."""
    culprit = facts.emulators.makers.get(entry.interpreter)
    if culprit:
        yield Finding(
            "interpreter-writable", "error",
            f"{where} does not exist, and others than root can put a file there: {culprit.reason}",
            culprit.hint, evidence=f"{culprit.reason}; {shown(entry)}",
        )  # fmt: skip
    elif "F" in entry.flags:
        yield Finding(
            "interpreter-missing", "warning",
            f"{where} does not exist here: what the kernel runs cannot be looked at",
            f"run: {removal_command(entry)}", evidence=shown(entry),
        )  # fmt: skip


def _file_findings(entry: Entry, found: Interpreter, where: str) -> Iterator[Finding]:
    """Who can change the file, whose rights it has, and whether it is the one that was brought."""
    if found.culprit:
        yield Finding(
            "interpreter-writable", "error",
            f"{where} is not root's alone: {found.culprit.reason}",
            found.culprit.hint, evidence=f"{found.culprit.reason}; {shown(entry)}",
        )  # fmt: skip
    if found.set_id:
        yield Finding(
            "interpreter-writable", "error",
            f"{where} is a set-user-ID or set-group-ID program: whoever starts a foreign program "
            "has its rights",
            f"run: chmod ug-s {shlex.quote(found.real_path)}", evidence=shown(entry),
        )  # fmt: skip
    if found.digest and found.sha256 and found.digest != found.sha256:
        yield Finding(
            "interpreter-altered", "error",
            f"{where} is not the file that --qemu {found.source} brought",
            f"run: binfmt-setup install --qemu {shlex.quote(found.source)}",
            evidence=f"its SHA-256 is {found.digest}, written down was {found.sha256}",
        )  # fmt: skip


def place_findings_of_files(culprits: Mapping[str, Culprit]) -> Iterator[Finding]:
    """What is read at boot, and that others than root can change."""
    told: set[str] = set()
    for path, culprit in culprits.items():
        if culprit.path not in told:
            told.add(culprit.path)
            yield Finding(
                "interpreter-writable", "error",
                f"{path}, which decides what is registered at boot, is not root's alone: "
                f"{culprit.reason}",
                culprit.hint, evidence=culprit.reason,
            )  # fmt: skip


def _unread_findings(facts: HostFacts) -> Iterator[Finding]:
    """What could not be looked at may be anything, so nothing can be called good."""
    unread = [(entry.name, f"{BINFMT_MISC}/{entry.name}") for entry in facts.registry.unread]
    unread += [(file.path, file.path) for file in facts.unread]
    if isinstance(facts.registry.listing, Unreadable):
        unread.append((BINFMT_MISC, BINFMT_MISC))
    for name, path in unread:
        yield Finding(
            "entry-unreadable", "warning",
            f"{name} could not be read, so whether it can be trusted is not known",
            f"look at it: ls -l {shlex.quote(path)}", evidence=path,
        )  # fmt: skip


def _place_findings(entry: Entry, found: Interpreter, where: str) -> Iterator[Finding]:
    """The file system and the package that an interpreter comes from."""
    if found.unfit_mount:
        yield Finding(
            "interpreter-mount", "warning", f"{where} lies on {found.unfit_mount}",
            "install QEMU on the host's own file system: binfmt-setup install --install-qemu",
            evidence=f"/proc/self/mountinfo; {shown(entry)}",
        )  # fmt: skip
    # What --qemu brought never has a package; its SHA-256 vouches for it.
    if found.package == "" and found.real_path not in _WSL and not found.sha256:
        yield Finding(
            "interpreter-unpackaged", "warning", f"{where} belongs to no package",
            f"look where it comes from: ls -l --time-style=full-iso {shlex.quote(found.real_path)}",
            evidence="asked the package manager for the owner of the file",
        )  # fmt: skip
