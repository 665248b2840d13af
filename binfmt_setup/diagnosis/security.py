"""The security view: whoever can change an interpreter, or slip in an entry, runs as root.

An entry decides which program runs in place of another one, for every user. This looks at
all entries, not only at those of platforms, and at nothing but facts.
"""

from __future__ import annotations

from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.diagnosis.failed_probes import install_with, mending, removal, without_rights
from binfmt_setup.diagnosis.finding import Finding, Remedy, for_user
from binfmt_setup.diagnosis.judge import not_read
from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.diagnosis.verdict import Verdict
from binfmt_setup.model.culprit import Fault
from binfmt_setup.model.interpreter import Interpreter
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Absent, Unreadable
from binfmt_setup.model.records import NOTHING, replace
from binfmt_setup.model.targets import target_named, target_of_entry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from binfmt_setup.diagnosis.catalogue import Caught
    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry, Registration
    from binfmt_setup.model.targets import Platform, Target
    from binfmt_setup.system.probes import ProbeResult


_WSL = ("/init", "/tools/init")
"""What WSL itself puts at the top of the tree, outside of any package."""


def security_verdict(
    facts: HostFacts,
    emulated: Sequence[Platform] = (),
    probes: Mapping[str, ProbeResult] = NOTHING,
) -> Verdict:
    """All that speaks against trusting the entries of a host.

    The probes of what is emulated tell which files the kernel really runs.
    """
    uid = facts.process.effective_uid
    found = (*_findings(facts), *_pinned_findings(facts, emulated, probes))
    return Verdict(findings=tuple(for_user(finding, uid) for finding in found))


def _findings(facts: HostFacts) -> Iterator[Finding]:
    if facts.out_of_reach:
        fact = known.RegistryOutOfReach(
            broken=True, container=facts.process.container, unjudged=True
        )
        on_host = Remedy(("binfmt-setup", "check", "--security"), on_host=True)
        yield Finding(fact, remedy=on_host)
    yield from _unread_findings(facts)
    unread = {file.path for file in facts.unread}
    judged = {path: c for path, c in facts.boot.culprits.items() if path not in unread}
    yield from place_findings_of_files(judged)
    told: set[str] = set()
    for entry in facts.registry.entries:
        yield from _entry_findings(facts, entry)
        if entry.interpreter not in told:
            told.add(entry.interpreter)
            yield from _interpreter_findings(facts, entry)


def _entry_findings(facts: HostFacts, entry: Entry) -> Iterator[Finding]:
    """What an entry takes in, and with whose rights it runs it."""
    credentials = "C" in entry.flags
    caught = programs_of_the_host(entry, facts)
    if caught and entry.enabled:
        extension = entry.registration.extension
        example = facts.registry.taken.get(entry.name, "")
        fact = known.NativeCaught(entry.name, caught, extension, credentials, example)
        yield Finding(fact, remedy=removal(entry), seen=(entry,))
    elif credentials:
        yield _credentials_finding(facts, entry)


def _credentials_finding(facts: HostFacts, entry: Entry) -> Finding:
    """With C every user becomes root who can start a foreign set-user-ID program."""
    target = target_of_entry(entry.name)
    own = facts.boot.own_config(target) if target else None
    owner = owner_of(facts, entry)
    remedy = removal(entry)
    if platform := of_entry(entry):
        option = "--no-credentials" if own else "--take-over"
        remedy = Remedy(install_with(facts, option), platform)
    whose = owner.origin.words if owner.origin else owner.config
    fact = known.CredentialsHeld(owner.by_distribution, entry.name, own is not None, whose)
    return Finding(fact, remedy=remedy, seen=(entry,))


_SCRIPTS = frozenset(
    ("appimage", "awk", "bash", "bin", "cjs", "csh", "dash", "fish", "js", "ksh", "lua", "mjs")
) | {"out", "php", "pl", "py", "rb", "run", "sh", "so", "tcl", "zsh"}
"""How names of programs end that a host runs itself, as scripts or by its own loader."""
_FEWEST_BYTES = 2  # .pyc and LLVM's bitcode are told by two to four
_TEXT = frozenset((*b"\t\n\r", *range(0x20, 0x7F)))


def programs_of_the_host(entry: Entry, facts: HostFacts) -> Caught | None:
    """Which programs that the host runs itself an entry may take; None when it takes none."""
    registration = entry.registration
    if registration.extension:
        taken = registration.extension.lower() in _SCRIPTS or entry.name in facts.registry.taken
        return "extension" if taken else None
    if facts.kernel.native is not None and may_catch(registration, facts.kernel.native):
        return "native"
    if any(may_catch(registration, target_named(name)) for name in facts.kernel.relatives):
        return "relatives"
    if _may_catch_scripts(registration):
        return "scripts"
    few = sum(bool(bits) for bits in _mask(registration)) < _FEWEST_BYTES
    return "one-byte" if few else None


def _mask(registration: Registration) -> bytes:
    return registration.mask or b"\xff" * len(registration.magic)


def _looked_at(registration: Registration) -> Iterator[tuple[int, int, int]]:
    """Where an entry looks, what it wants there, and the bits of it that count."""
    pairs = zip(registration.magic, _mask(registration), strict=True)
    for at, (byte, bits) in enumerate(pairs, registration.offset):
        if bits:
            yield at, byte, bits


def _may_catch_scripts(registration: Registration) -> bool:
    """Whether some script could match: it starts with #!, and a line of text follows."""
    for at, byte, bits in _looked_at(registration):
        if at < len(_SCRIPT):
            if (byte ^ _SCRIPT[at]) & bits:
                return False
        elif bits == 0xFF and byte not in _TEXT:
            return False
    return True


_SCRIPT = b"#!"


def may_catch(registration: Registration, native: Target) -> bool:
    """Whether some program of a target could match: no byte that both look at differs.

    Wider than matching the plain header: an entry made from the first bytes of one
    set-user-ID program catches that program alone (the trick known as "shadow SUID"), one
    that looks at bytes behind the header may catch any.
    """
    if registration.extension:
        return False
    header = dict(enumerate(zip(native.magic, native.mask, strict=True)))
    for at, byte, bits in _looked_at(registration):
        known, looked_at = header.get(at, (0, 0))
        if (byte ^ known) & bits & looked_at:
            return False
    return True


def _interpreter_findings(facts: HostFacts, entry: Entry) -> Iterator[Finding]:
    """Who can change the program that runs, and where it lies."""
    path = entry.interpreter
    found = facts.emulators.at(path)
    maker = facts.emulators.makers.get(path)
    culprit = found.culprit if isinstance(found, Interpreter) else maker
    if not path.startswith("/") or (culprit and culprit.fault == Fault.PROCESS):
        moving = known.InterpreterOfEachProcess(entry.name, path)
        yield Finding(moving, remedy=removal(entry), seen=(entry,))
    elif isinstance(found, Absent):
        yield from _absent_findings(facts, entry)
    elif isinstance(found, Interpreter):
        yield from _file_findings(facts, entry, found)
        yield from _place_findings(facts, entry, found)
    else:
        unread = known.InterpreterUnreadable(entry.name, path, found)
        as_root = Remedy(("binfmt-setup", "check", "--security"), sudo=True)
        yield Finding(unread, remedy=as_root, seen=(entry,))


def _absent_findings(facts: HostFacts, entry: Entry) -> Iterator[Finding]:
    """Nothing is there: what the kernel holds cannot be seen, or somebody can put it there."""
    name, path = entry.name, entry.interpreter
    culprit = facts.emulators.makers.get(path)
    if culprit:
        fact = known.InterpreterCanBeMade(name, path, culprit)
        yield Finding(fact, remedy=mending(culprit), seen=(entry,))
    elif "F" in entry.flags:
        gone = known.InterpreterNotHere(name, path)
        yield Finding(gone, remedy=removal(entry), seen=(entry,))


def _file_findings(facts: HostFacts, entry: Entry, found: Interpreter) -> Iterator[Finding]:
    """Who can change the file, whose rights it has, and whether it is the one that was brought."""
    name, path = entry.name, entry.interpreter
    if found.culprit:
        others = known.InterpreterOfOthers(name, path, found.culprit)
        yield Finding(others, remedy=mending(found.culprit), seen=(entry,))
    if found.rights:
        fact = known.InterpreterWithRights(name, path, found.rights)
        yield Finding(fact, remedy=Remedy(without_rights(found)), seen=(entry,))
    if found.digest and found.sha256 and found.digest != found.sha256:
        again = Remedy(install_with(facts, "--qemu", found.source), of_entry(entry))
        altered = known.EntryInterpreterAltered(
            path, found.source, found.digest, found.sha256, name
        )
        yield Finding(altered, remedy=again)


def _pinned_findings(
    facts: HostFacts, emulated: Sequence[Platform], probes: Mapping[str, ProbeResult]
) -> Iterator[Finding]:
    """What the kernel holds open, where it is not the file that was judged."""
    told: set[str] = set()
    for platform in emulated:
        entry, probe = facts.registry.handler(platform.header), probes.get(platform.probe)
        if entry is None or probe is None or "F" not in entry.flags or probe.native:
            continue
        path = entry.interpreter
        disk = facts.emulators.at(path)
        if not isinstance(disk, Interpreter) or entry.name in told:
            continue
        told.add(entry.name)
        if not probe.pinned:
            unseen = known.PinnedUnseen(path, "", entry.name, probe.why())
            look = Remedy(("binfmt-setup", "check"), platform.name)
            if probe.not_run and facts.process.effective_uid:
                look = Remedy(("binfmt-setup", "check", "--security"), sudo=True)
            yield Finding(unseen, remedy=look, seen=(entry,))
        elif probe.pinned != disk.identity:
            stale = known.EntryInterpreterStale(path, disk.real_path, entry.name)
            yield Finding(stale, remedy=removal(entry), seen=(entry, probe))


def place_findings_of_files(culprits: Mapping[str, Culprit]) -> Iterator[Finding]:
    """What is read at boot, and that others than root can change."""
    told: set[Culprit] = set()
    for path, culprit in culprits.items():
        alone = (replace(one, others=()) for one in culprit.all)
        if new := [one for one in alone if one not in told]:
            told.update(new)
            untold = replace(new[0], others=tuple(new[1:]))
            yield Finding(known.BootFileOfOthers(path, untold), remedy=mending(untold))


def _unread_findings(facts: HostFacts) -> Iterator[Finding]:
    """What could not be looked at may be anything, so nothing can be called good."""
    unread = [(entry.name, f"{BINFMT_MISC}/{entry.name}") for entry in facts.registry.unread]
    if isinstance(facts.registry.listing, Unreadable):
        unread.append((BINFMT_MISC, BINFMT_MISC))
    for name, path in unread:
        yield Finding(known.Unjudged(name, path), remedy=Remedy(("ls", "-l", path)))
    yield from not_read(facts)


def of_entry(entry: Entry) -> str:
    """A platform that an entry is for, as an install names it; empty where it has none."""
    target = target_of_entry(entry.name)
    return target.platforms[0].name if target and target.platforms else ""


def _place_findings(facts: HostFacts, entry: Entry, found: Interpreter) -> Iterator[Finding]:
    """The file system and the package that an interpreter comes from."""
    name, path = entry.name, entry.interpreter
    if found.unfit_mount:
        elsewhere = Remedy(install_with(facts, "--install-qemu"), of_entry(entry))
        fact = known.InterpreterMount(name, path, found.unfit_mount)
        yield Finding(fact, remedy=elsewhere, seen=(entry,))
    # What --qemu brought never has a package; its SHA-256 vouches for it.
    if found.package == "" and found.real_path not in _WSL and not found.sha256:
        look = Remedy(("ls", "-l", "--time-style=full-iso", found.real_path))
        yield Finding(known.InterpreterUnpackaged(name, path), remedy=look)
