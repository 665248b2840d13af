"""Which of several entries for the same programs comes first: `prefer` in the wish list. Pure.

The newest entry is matched first, and a boot registers the files in the order of their names. So
what shall come first is registered anew, and has a file whose name is the last one.
"""

from __future__ import annotations

from binfmt_setup.boot import units
from binfmt_setup.changes.config_changes import made_by_us
from binfmt_setup.changes.steps import ChangeEntry, ChangeFile, TargetChange
from binfmt_setup.model.binfmt_d import OWN_DIRECTORY
from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.registration import Registration

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Request
    from binfmt_setup.model.targets import Platform, Target


def preferred(facts: HostFacts, target: Target, request: Request) -> Registration | None:
    """The entry that shall take a target's programs; None where nobody wishes for one.

    For our own name it is one without an interpreter: which one, the rest of the plan decides.
    """
    names = request.prefer
    if names is None:
        names = tuple(rule.name for config in facts.boot.preferred for rule in config.registrations)
    for name in names:
        if name == target.entry_name:
            return Registration(name, "", "")
        found = _registered(facts, name)
        # What was removed no boot registers any more, though a file of ours may still name it.
        if found is None or facts.emulators.file_at(found.interpreter) is None:
            continue
        if found.magic and found.matches(target.header):
            return found
    return None


def _registered(facts: HostFacts, name: str) -> Registration | None:
    """What an entry is: now, or at the next boot."""
    entry = facts.registry.entry(name)
    if entry is not None:
        return entry.registration
    config = facts.boot.config_of(name)
    rules = [rule for rule in config.registrations if rule.name == name] if config else []
    return rules[-1] if rules else None


def theirs_first(
    facts: HostFacts, target: Target, platforms: tuple[Platform, ...], wish: Registration
) -> TargetChange:
    """Let somebody else's entry come first, now and after each boot; it is proven as every other.

    Raises EnvironmentUnfit where it is switched off, which was meant.
    """
    entry, handler = facts.registry.entry(wish.name), facts.registry.handler(target.header)
    if entry is not None and not entry.enabled:
        raise EnvironmentUnfit(
            f"entry {wish.name} shall come first (prefer), and is disabled",
            hint=f"enable it, or take {wish.name} out of the wish list", code="entry-disabled",
        )  # fmt: skip
    change = None
    if facts.live and not (handler is not None and handler.name == wish.name):
        change = ChangeEntry(wish.name, entry.registration if entry else None, wish)
    return TargetChange(target, platforms, change, _files(facts, target, wish))


def _files(facts: HostFacts, target: Target, wish: Registration) -> tuple[ChangeFile, ...]:
    """Its file, and none for another one."""
    if not facts.process.own_files:
        return ()
    path, made = units.first_path(wish.name), made_by_us(facts, OWN_DIRECTORY)
    text = units.config_text(wish, None, made_directory=made)
    current = next((c.text for c in facts.boot.preferred if c.path == path), None)
    coming = (ChangeFile(path, current, text),) if current != text else ()
    return (*coming, *no_longer_first(facts, target, but=path))


def no_longer_first(facts: HostFacts, target: Target, *, but: str = "") -> tuple[ChangeFile, ...]:
    """The files of ours that let other entries of a target come first."""
    return tuple(
        ChangeFile(config.path, config.text, None)
        for config in (facts.boot.preferred if facts.process.own_files else ())
        if config.path != but and any(r.matches(target.header) for r in config.registrations)
    )
