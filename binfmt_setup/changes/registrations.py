"""What this tool registers, what of others' it lets stand, and which entries it made."""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import init_of
from binfmt_setup.boot.lost import LineNotTaken
from binfmt_setup.boot.survival import nothing_lasts, order_problem, why_lost
from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.emulators import choice
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.registration import Registration, canonical_flags

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.interpreter import Interpreter
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.request import Request
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.probes import ProbeResult


FIRST_QEMU_WITH_AT_FLAGS = (6, 0)
FIRST_KERNEL_WITH_AT_FLAGS = (5, 12)
"""From here on the kernel tells an interpreter through AT_FLAGS that P is set."""

_SIGILL = 4  # the same on every architecture


def wished_registration(
    facts: HostFacts, target: Target, interpreter: Interpreter, request: Request
) -> Registration:
    """The registration that this tool would write for a target.

    F always (chroots and containers); O always (programs one may execute but not read);
    P where kernel and QEMU agree on how argv[0] is passed; C only when asked for.
    """
    flags = (
        "OF"
        + ("C" if wants_credentials(facts, target, request) else "")
        + ("P" if _keeps_argv0(facts, interpreter) else "")
    )
    return Registration(
        target.entry_name, interpreter.path, canonical_flags(flags), target.magic, target.mask
    )


def wants_credentials(facts: HostFacts, target: Target, request: Request) -> bool:
    """Whether C is wanted: now, or before, as our own file has it for no other reason."""
    if request.credentials is not None:
        return request.credentials
    own = facts.boot.own_config(target)
    return own is not None and any("C" in rule.flags for rule in own.registrations)


def _keeps_argv0(facts: HostFacts, interpreter: Interpreter) -> bool:
    if interpreter.needs_binfmt_flags:
        return True
    kernel_tells = facts.kernel.version >= FIRST_KERNEL_WITH_AT_FLAGS
    return kernel_tells and version_pair(interpreter.version) >= FIRST_QEMU_WITH_AT_FLAGS


def acceptable(facts: HostFacts, entry: Registration, target: Target, request: Request) -> bool:
    """Whether a registration, whoever made it, does for a target what ours would do."""
    if "C" in entry.flags:
        rights_fit = request.credentials is not False
    else:
        rights_fit = not wants_credentials(facts, target, request)
    return rights_fit and _does_pinned(facts, entry, target)


def _does_pinned(facts: HostFacts, entry: Registration, target: Target) -> bool:
    """Whether a registration runs a target's programs everywhere, with whatever rights."""
    interpreter = facts.emulators.file_at(entry.interpreter)
    if interpreter is None:
        return False
    flags_fit = "F" in entry.flags
    if interpreter.needs_binfmt_flags:
        flags_fit = flags_fit and {"P", "O"} <= set(entry.flags)
    fits = entry.matches(target.header) and not _catches_native(facts, entry)
    return fits and flags_fit and choice.may_register(facts, entry.interpreter, interpreter)


def _catches_native(facts: HostFacts, entry: Registration) -> bool:
    return facts.kernel.native is not None and entry.takes_any(facts.kernel.native.headers)


def kept_by_others(facts: HostFacts, target: Target, request: Request) -> bool:
    """Whether somebody else registers the target well at the next boot."""
    if request.take_over or request.keep:
        return False
    config = facts.boot.config_of(target.entry_name)
    if config is None:
        # Debian's binfmt-support has its own files; what it registers is what is there now.
        entry = facts.registry.entry(target.entry_name)
        kept = entry is not None and facts.boot.update_binfmts_keeps(entry.registration)
        # Where nothing registers at boot, a file of ours would bring nothing back either.
        lasts = facts.boot.update_binfmts_runs or nothing_lasts(facts)
        return bool(kept and lasts) and _does(facts, entry, target, request)
    if not config.owned:
        units_help = init_of(facts.boot).writes == "units"
        lost, late = why_lost(facts, target.entry_name), order_problem(facts, target.entry_name)
        helps = units_help or isinstance(lost, LineNotTaken)
        if (lost and helps) or (late and late.lost):
            return False  # its file does not bring it back, or too early; one of ours does
    rules = (r for r in config.registrations if r.name == target.entry_name)
    return any(acceptable(facts, rule, target, request) for rule in rules)


def _does(facts: HostFacts, entry: Entry | None, target: Target, request: Request) -> bool:
    return entry is not None and acceptable(facts, entry.registration, target, request)


def registration_to_write(facts: HostFacts, target: Target, request: Request) -> Registration:
    """What shall be registered for a target; raises NoEmulator."""
    interpreter = choice.choose(facts, target)
    if interpreter is not None:
        return wished_registration(facts, target, interpreter, request)
    standing = _of_the_entry_that_stands(facts, target, request)
    if standing is None:
        raise choice.missing(facts, [target], request.source, request.emulator)
    return standing


def _of_the_entry_that_stands(
    facts: HostFacts, target: Target, request: Request
) -> Registration | None:
    """The same emulator with our flags: of an entry that points to where nobody looks for one.

    P stays as it is: whether it fits this emulator was settled by whoever registered it, and
    the probes ran with it. C does not, unless it is wished for.
    """
    entry = facts.registry.entry(target.entry_name)
    if entry is None or request.qemu or request.emulator or request.take_over:
        return None
    if not _does_pinned(facts, entry.registration, target):
        return None
    rights = "C" if wants_credentials(facts, target, request) else ""
    flags = f"OF{rights}" + ("P" if "P" in entry.flags else "")
    return Registration(
        target.entry_name, entry.interpreter, canonical_flags(flags), target.magic, target.mask
    )


def is_what_we_write(facts: HostFacts, target: Target, entry: Entry, request: Request) -> bool:
    """Whether an entry without a file is ours: an install ended before it wrote the file."""
    try:
        return entry.registration == registration_to_write(facts, target, request)
    except NoEmulator:
        return False


def good_handler(
    facts: HostFacts,
    handler: Entry,
    target: Target,
    results: Sequence[ProbeResult],
    request: Request,
) -> bool:
    """Whether the entry that the kernel picks may stay as it is."""
    if not acceptable(facts, handler.registration, target, request):
        return False
    if _refuted(results):
        return False
    disk = facts.emulators.identity_at(handler.interpreter)
    if any(result.pinned not in (None, disk) for result in results):
        return False
    return _stays(facts, handler, target, request)


def _refuted(results: Sequence[ProbeResult]) -> bool:
    """Whether another registration is needed: what fails is more than a level.

    Where one level of a target runs and a higher one dies of SIGILL, the emulated processor is the
    cause, and registering the emulator again mends nothing.
    """
    failed = [result for result in results if not result.ok]
    levels = len(failed) < len(results) and all(result.signal == _SIGILL for result in failed)
    return bool(failed) and not levels


def _stays(facts: HostFacts, handler: Entry, target: Target, request: Request) -> bool:
    """Whether an entry that works stays as it is, or what this tool would write takes its place.

    The answer is the same in the next run: what stays is not adopted, what is ours is as wished.
    """
    owned = owner_of(facts, handler).ours
    if not owned and _left_to_others(facts, handler, target, request):
        return True
    try:
        return handler.registration == registration_to_write(facts, target, request)
    except NoEmulator:
        # There is nothing to put in its place. So it stays, unless it was asked for to go, or
        # another emulator was asked for: by the platform's name, or one that must not be used.
        asked = request.qemu is not None or bool(request.emulator)
        refused = request.named or choice.is_refused(facts, target)
        if (asked and refused) or (request.take_over and not owned):
            raise
        return True


def _left_to_others(facts: HostFacts, handler: Entry, target: Target, request: Request) -> bool:
    """Whether somebody else's entry that works is their affair: now, and at the next boot."""
    if request.qemu or request.emulator or request.take_over:
        return False
    if handler.name != target.entry_name:
        return True  # Rosetta, say: it was put in front of QEMU on purpose
    if not facts.process.own_files:
        return True  # a registry that no file describes: it does not outlive its namespace
    # Where a file of ours says something else, they replaced our entry: binfmt-support does.
    if facts.boot.own_config(target) is not None:
        return False
    return not request.persist or kept_by_others(facts, target, request)
