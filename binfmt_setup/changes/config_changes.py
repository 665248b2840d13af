"""The binfmt.d file that keeps a registration: whether one is needed, and what it says. Pure."""

from __future__ import annotations

from binfmt_setup.boot import units
from binfmt_setup.changes.registrations import is_what_we_write, kept_by_others
from binfmt_setup.changes.steps import ChangeFile
from binfmt_setup.model.binfmt_d import MADE_DIRECTORY, ConfigFile
from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.shell import moving_away

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.changes.steps import ChangeEntry
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.request import Request
    from binfmt_setup.model.targets import Target


def config_changes(
    facts: HostFacts,
    target: Target,
    after: Registration,
    change: ChangeEntry | None,
    request: Request,
) -> tuple[ChangeFile, ...]:
    """The binfmt.d file that keeps a registration; none where one that does is there."""
    if after.name != target.entry_name:
        return ()  # an entry of another name that works is its maker's affair
    volatile = not request.persist
    path = units.config_path(target, volatile=volatile)
    if not facts.process.own_files:
        return _none_of_the_hosts(path, volatile=volatile)
    current = next((c for c in facts.boot.configs if c.path == path), None)
    own = facts.boot.own_config(target)
    if own is None and change is None and (volatile or kept_by_others(facts, target, request)):
        return ()  # nothing is written, so there is nothing to remember
    if own is not None and volatile and after in own.registrations:
        return ()  # a lasting file of ours is not made volatile
    if current is not None and not current.owned:
        raise EnvironmentUnfit(
            f"{path} is there already and was not written by this tool",
            hint=f"look at it and move it away: {moving_away(facts.root, path)}",
            code="config-conflict",
        )
    text = units.config_text(
        after,
        _what_stood_there(facts, target, change, own, request),
        made_directory=made_by_us(facts, path.rpartition("/")[0]),
        sha256=_written_down(facts, after),
        chosen=bool(request.emulator)
        or (own is not None and own.chosen and after in own.registrations),
    )
    if current is not None and current.text == text:
        return ()
    before = current.text if current else None
    other = _other_own_file(facts, target, path) if not volatile else ()
    return (ChangeFile(path, before, text), *other)


def _written_down(facts: HostFacts, registration: Registration) -> str:
    """The SHA-256 that --qemu wrote down about the file; packages replace theirs, as they may."""
    found = facts.emulators.file_at(registration.interpreter)
    return found.sha256 if found else ""


def _none_of_the_hosts(path: str, *, volatile: bool) -> tuple[ChangeFile, ...]:
    """A registry that is gone with its namespace has no file; raises for who asks for one."""
    if volatile:
        return ()
    raise EnvironmentUnfit(
        f"{path} belongs to the host, not to this user namespace",
        hint="use --no-persist: a private registry is gone with its namespace",
        code="private-namespace",
    )


def made_by_us(facts: HostFacts, directory: str) -> bool:
    """Whether a directory was, or will be, made by this tool.

    Every file of ours in it says so, as nobody knows which one is removed last.
    """
    own = (c for c in facts.boot.configs if c.owned and c.path.startswith(f"{directory}/"))
    return directory in facts.boot.missing_directories or any(MADE_DIRECTORY in c.text for c in own)


def _other_own_file(facts: HostFacts, target: Target, path: str) -> tuple[ChangeFile, ...]:
    """A volatile file of ours that a lasting one takes the place of."""
    found = (c for c in facts.boot.configs if c.owned and c.path != path)
    name = f"{target.entry_name}.conf"
    return tuple(ChangeFile(c.path, c.text, None) for c in found if c.file_name == name)


def _what_stood_there(
    facts: HostFacts,
    target: Target,
    change: ChangeEntry | None,
    own: ConfigFile | None,
    request: Request,
) -> Registration | None:
    """What uninstall shall put back: what was in the kernel before the first install."""
    if own is not None:
        return own.replaced
    entry = facts.registry.entry(target.entry_name)
    if change is not None:
        return change.before
    if entry is None or is_what_we_write(facts, target, entry, request):
        return None
    return entry.registration
