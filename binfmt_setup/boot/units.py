"""What makes registrations survive a reboot: binfmt.d files, units, and a shell script.

Pure: texts only; `changes/boot_steps.py` turns them into steps, `survival` tells whether they are
enough. systemd/ holds the templates and the script.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from binfmt_setup.model.binfmt_d import (
    BY_UNIT,
    CHOSEN,
    DIGEST,
    FIRST,
    MADE_DIRECTORY,
    MARKER,
    OWN_DIRECTORY,
    REPLACED,
    VOLATILE_DIRECTORY,
    WAS_OFF,
)
from binfmt_setup.model.boot_facts import RETURNED_PATH, SCRIPT_PATH, UNIT_DIRECTORY, UNIT_STEM
from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.mount_order import late_mount, unit_escape
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import Record
from binfmt_setup.model.registration import control_characters
from binfmt_setup.model.targets import target_of_entry
from binfmt_setup.system import packaged

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.request import Request
    from binfmt_setup.model.targets import Target


_DIGEST_LINE = "# Made from: "
_HIDDEN_BY_THE_UNIT = ("/home/", "/root/", "/run/", "/tmp/", "/var/tmp/")  # noqa: S108 - names
_SERVICE, _PATH, _CHANGED = ".service", ".path", "-changed.service"
_KEEP, _LOST, KEEP_PATH = "-keep.service", "-lost.service", "-keep.path"
"""The endings of the names of what brings back entries that were dropped: `install --keep`."""
KEEPERS = (_KEEP, _LOST, KEEP_PATH)
_HELPERS = tuple(kind.rpartition(".")[0] for kind in (_CHANGED, _KEEP, _LOST))


def template(name: str) -> str:
    """A unit template, or the script: in the package, or beside it in a checkout."""
    with suppress(OSError):
        return packaged.content("systemd", name).decode()
    return packaged.content("..", "systemd", name).decode()


def config_path(target: Target, *, volatile: bool = False) -> str:
    """The binfmt.d file for a target; the volatile one is gone after a reboot."""
    directory = VOLATILE_DIRECTORY if volatile else OWN_DIRECTORY
    return f"{directory}/{target.entry_name}.conf"


def first_path(entry_name: str) -> str:
    """The binfmt.d file that lets an entry of somebody else's come first."""
    return f"{OWN_DIRECTORY}/{FIRST}{entry_name}.conf"


def config_text(  # noqa: PLR0913 - each is a comment
    registration: Registration, replaced: Registration | None, *, made_directory: bool = False,
    by_unit: bool = False, sha256: str = "", chosen: bool = False,
) -> str:  # fmt: skip
    """A binfmt.d file that systemd-binfmt and OpenRC read alike (its last line ends).

    With `by_unit` it registers nothing there: it masks a file of the same name, and the unit
    alone reads what it says.

    Comments keep what uninstall needs to know. Raises EnvironmentUnfit, see `one_line`.
    """
    lines = [MARKER]
    if made_directory:
        lines.append(MADE_DIRECTORY)
    if replaced is not None:
        lines += [REPLACED + _line(replaced), *([WAS_OFF] if replaced.off else [])]
    if sha256:
        lines.append(DIGEST + sha256)
    if chosen:
        lines.append(CHOSEN)
    return "\n".join([*lines, (BY_UNIT if by_unit else "") + _line(registration), ""])


def _line(registration: Registration) -> str:
    for field in (registration.name, registration.extension, registration.interpreter):
        one_line(field)
    return registration.line


class UnitGroup(Record):
    """What is registered together at boot: all that the boot waits for, or one late mount.

    `mount` is the mount point that the boot does not wait for, else empty. With `keep` what another
    program drops comes back.
    """

    files: tuple[str, ...]
    interpreters: tuple[str, ...]
    mount: str = ""
    automatic: bool = True
    keep: bool = False

    @property
    def name(self) -> str:
        """The stem of the units' names."""
        if not self.mount:
            return UNIT_STEM
        # Of a mount /keep, the units would have the names of helpers of ours; no mount ends with
        # a dash.
        stem = f"{UNIT_STEM}-{unit_escape(self.mount)}"
        return f"{stem}-" if stem.endswith(_HELPERS) else stem

    @property
    def places(self) -> tuple[str, ...]:
        """The directories that must be there."""
        return tuple(sorted({path.rpartition("/")[0] or "/" for path in self.interpreters}))

    @property
    def wanted_by(self) -> tuple[str, ...]:
        """What starts the service, as its [Install] section says.

        A late one is started by its mount. systemd-binfmt does it, too, but not where that
        would mount what nobody asked to be mounted.
        """
        if not self.mount:
            return ("multi-user.target", "systemd-binfmt.service")
        again = ("systemd-binfmt.service",) if self.automatic else ()
        return (f"{unit_escape(self.mount)}.mount", *again)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The endings of its units' names."""
        return (_SERVICE, _PATH, _CHANGED, *(KEEPERS if self.keep else ()))

    @property
    def unit_paths(self) -> tuple[str, ...]:
        """Where its units lie."""
        return tuple(f"{UNIT_DIRECTORY}/{self.name}{kind}" for kind in self.kinds)

    @property
    def watches(self) -> tuple[str, ...]:
        """The names of its path units, which its service starts."""
        return tuple(f"{self.name}{kind}" for kind in self.kinds if kind.endswith(_PATH))

    @property
    def links(self) -> dict[str, str]:
        """The links, each with what it points to, that `systemctl enable` would make."""
        service = self.name + _SERVICE
        wants = {f"{UNIT_DIRECTORY}/{unit}.wants/{service}": service for unit in self.wanted_by}
        wants |= {f"{UNIT_DIRECTORY}/{service}.wants/{path}": path for path in self.watches}
        return {link: f"{UNIT_DIRECTORY}/{unit}" for link, unit in wants.items()}

    @property
    def digest(self) -> str:
        """Tells whether an installed unit is up to date without rendering it anew."""
        import hashlib  # loads OpenSSL, which no command needs but those that write units

        return hashlib.sha256(_templates() + repr(self).encode("utf-8", "replace")).hexdigest()


@cache
def _templates() -> bytes:
    kinds = (_CHANGED, _PATH, _SERVICE, _KEEP, _LOST, KEEP_PATH)
    names = (*(f"{UNIT_STEM}{kind}.j2" for kind in kinds), "hardening.j2")
    return "".join(map(template, names)).encode()


def is_kept(facts: HostFacts, request: Request) -> bool:
    """Whether entries that are dropped shall come back: as it is wished, or as it was before.

    What `systemctl disable` has taken the link of stays off.
    """
    if request.keep is not None:
        return request.keep
    return any(link.endswith(KEEP_PATH) for link in facts.boot.unit_links)


def unit_groups(
    facts: HostFacts, registrations: Sequence[Registration], *, keep: bool = False
) -> tuple[UnitGroup, ...]:
    """The units that register these at boot, those that the boot waits for first."""
    by_mount: dict[str, list[Registration]] = {}
    for registration in registrations:
        by_mount.setdefault(waits_for(facts, registration.interpreter), []).append(registration)
    return tuple(_group(facts, mount, by_mount[mount], keep=keep) for mount in sorted(by_mount))


def groups_wished(
    facts: HostFacts, registrations: Sequence[Registration], request: Request
) -> tuple[UnitGroup, ...]:
    """The same, and entries that are dropped come back where that is wished."""
    return unit_groups(facts, registrations, keep=is_kept(facts, request))


def waits_for(facts: HostFacts, interpreter: str) -> str:
    """The late mount that an interpreter, or the file it leads to, lies on; else empty."""
    found = facts.emulators.file_at(interpreter)
    real = found.real_path if found else interpreter
    fstab, mounted = facts.boot.fstab, facts.boot.mounted
    return late_mount(interpreter, fstab, mounted) or late_mount(real, fstab, mounted)


def _group(
    facts: HostFacts, mount: str, registrations: Sequence[Registration], *, keep: bool
) -> UnitGroup:
    named = {r.interpreter for r in registrations}
    found = (facts.emulators.file_at(path) for path in named)
    real = {file.real_path for file in found if file}
    automatic = any(line.point == mount and line.automatic for line in facts.boot.fstab)
    return UnitGroup(
        files=tuple(sorted(_file_of(r.name) for r in registrations)),
        interpreters=tuple(sorted(path for path in named | real if path.startswith("/"))),
        mount=mount,
        automatic=automatic,
        keep=keep,
    )


def _file_of(entry_name: str) -> str:
    ours = target_of_entry(entry_name) is not None
    return f"{OWN_DIRECTORY}/{entry_name}.conf" if ours else first_path(entry_name)


def is_current(text: str | None, group: UnitGroup) -> bool:
    """Whether an installed unit was made from the same inputs and templates."""
    return text is not None and f"{_DIGEST_LINE}{group.digest}\n" in text


def script_text() -> str:
    """The script that the units run."""
    return template("register")


def drop_in_text() -> str:
    """What is added to systemd-binfmt.service."""
    return template("systemd-binfmt.conf")


def preset_text(groups: Sequence[UnitGroup], *, made_directory: bool) -> str:
    """What `systemctl preset-all` is told, which may disable what no preset names."""
    made = [MADE_DIRECTORY] if made_directory else []
    names = (name for g in groups for name in (g.name + _SERVICE, *g.watches))
    return "\n".join([MARKER, *made, *(f"enable {name}" for name in names), ""])


def render_units(group: UnitGroup) -> dict[str, str]:
    """The units' texts by their paths."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(template),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701 - a unit file is not HTML; unit_word quotes for systemd
    )
    environment.filters["unit_word"] = unit_word
    environment.filters["bound_path"] = bound_path
    environment.filters["unit_text"] = unit_text
    hidden = (p for p in group.places if f"{p}/".startswith(_HIDDEN_BY_THE_UNIT))
    words = {
        "marker": MARKER, "digest": group.digest, "name": unit_text(group.name),
        "files": group.files, "places": group.places, "watched": group.interpreters,
        "mount": group.mount, "wanted_by": [unit_text(unit) for unit in group.wanted_by],
        "service": group.name + _SERVICE, "late": bool(group.mount), "script": SCRIPT_PATH,
        "registry": BINFMT_MISC, "hidden": list(hidden),
        "returned": RETURNED_PATH.rpartition("/")[0],
    }  # fmt: skip
    templates = (f"{UNIT_STEM}{kind}.j2" for kind in group.kinds)
    texts = (environment.get_template(name).render(words) for name in templates)
    return dict(zip(group.unit_paths, texts, strict=True))


def unit_word(text: str) -> str:
    """One word of a unit file, quoted and escaped where systemd.syntax(7) asks for it."""
    escaped = (
        one_line(text)
        .replace("\\", "\\\\")
        .replace('"', '\\"')
        .replace("%", "%%")
        .replace("$", "$$")
    )
    return f'"{escaped}"' if set(text) & set(" \t;'\"\\") else escaped


def bound_path(text: str) -> str:
    """A path that is bound to where it is: behind a colon stood another place (systemd.exec(5))."""
    return unit_word(text).replace(":", "\\:")


def unit_text(text: str) -> str:
    """The whole value of a setting that is not split into words; `%` starts a specifier."""
    return one_line(text).replace("%", "%%")


def one_line(text: str) -> str:
    """A text that is written into a file made of lines, as it is.

    Raises EnvironmentUnfit for control characters: the rest would be a line of its own, and no
    such file has a way to write them that all its readers understand.
    """
    if broken := control_characters(text):
        raise EnvironmentUnfit(
            f"{text!r} cannot be named in a file for the boot: it holds {broken!r}",
            hint="give that file, directory or mount another name",
        )
    return text
