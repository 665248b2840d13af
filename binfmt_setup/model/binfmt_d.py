"""The files that register entries at boot, as binfmt.d(5) describes them. Pure."""

from __future__ import annotations

from functools import cache

from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.registration import BadRegistration, Registration, parse_line

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.reading import Unreadable


OWN_DIRECTORY = "/etc/binfmt.d"
VOLATILE_DIRECTORY = "/run/binfmt.d"
BINFMT_D = (OWN_DIRECTORY, VOLATILE_DIRECTORY, "/usr/local/lib/binfmt.d", "/usr/lib/binfmt.d")
"""Where systemd-binfmt and OpenRC look, the strongest first: a file masks those of the same
name further down (binfmt.d(5))."""

FIRST = "zz-first-"
"""How files of ours begin that let entries of others come first (`prefer`): what is read last is
matched first."""
MARKER = "# Written by binfmt-setup, which removes it again: binfmt-setup uninstall"
"""The first line of every binfmt.d file this tool writes; it is how ownership is known."""
BY_UNIT = "# Registered by binfmt-setup.service: "
"""Before a registration that this tool's unit reads and systemd-binfmt does not: with F and an
emulator that is missing, systemd-binfmt ends failed, and then dpkg's trigger leaves it so."""
REPLACED = "# Stood here before: "
WAS_OFF = "# Which was disabled"
DIGEST = "# SHA-256 of the interpreter: "
"""What the script at boot compares; it is written for files that --qemu brought."""
CHOSEN = "# Chosen with --emulator"
MADE_DIRECTORY = "# Made this directory, too"
_UPDATE_BINFMTS = (
    "package", "type", "offset", "magic", "mask", "interpreter", "detector", "credentials",
    "preserve", "fix_binary",
)  # fmt: skip
PROBLEMS_KEPT = 10
"""Of what is wrong with one file so many are told one by one; the rest is counted."""


class ConfigFile(Record):
    """One binfmt.d file.

    `replaced` is the registration that stood in the kernel when this tool wrote the file;
    `chosen` tells that its interpreter was named with --emulator, `by_unit` says that only this
    tool's unit reads them.
    `lines` are the numbers of the lines of `registrations`. `ended` are (line number, name) of
    lines that the kernel refuses: what had that name before is gone when it is asked.
    `problems` are (line number, what is wrong) pairs, of which the first are kept, and
    `more_problems` counts the rest. `unread` tells why nothing of it is known.
    """

    path: str
    owned: bool = False
    registrations: tuple[Registration, ...] = ()
    problems: tuple[tuple[int, str], ...] = ()
    replaced: Registration | None = None
    text: str = ""
    more_problems: int = 0
    unread: Unreadable | None = None
    by_unit: bool = False
    lines: tuple[int, ...] = ()
    chosen: bool = False
    ended: tuple[tuple[int, str], ...] = ()

    @property
    def file_name(self) -> str:
        """The name by which files of the same name in other folders are masked."""
        return self.path.rsplit("/", 1)[-1]


def effective_configs(configs: tuple[ConfigFile, ...]) -> tuple[ConfigFile, ...]:
    """The files that count, in the order in which they are applied (binfmt.d(5))."""
    strongest: dict[str, ConfigFile] = {}
    for directory in reversed(BINFMT_D):
        for config in configs:
            if config.path.startswith(directory + "/"):
                strongest[config.file_name] = config
    return tuple(strongest[name] for name in sorted(strongest))


@cache  # an install reads the files twice, and has changed few of them
def parse_config(path: str, text: str) -> ConfigFile:
    """Read a binfmt.d file; bad lines become problems, as systemd-binfmt reports them."""
    registrations, numbers, ended = [], [], []
    problems: list[tuple[int, str]] = []
    replaced: Registration | None = None
    by_unit = False
    lines = text.split("\n")
    for number, line in systemd_lines(text):
        if line.startswith(REPLACED):
            replaced = _registration_or_none(line.removeprefix(REPLACED))
        if line.startswith(BY_UNIT) and lines[0] == MARKER:
            by_unit, line = True, line.removeprefix(BY_UNIT)  # noqa: PLW2901 - what it stands for
        if not line or line[0] in "#;":
            continue
        try:
            registrations.append(parse_line(line))
            numbers.append(number)
        except BadRegistration as error:
            if not problems or problems[-1][0] != number:
                nul = ", cut by a NUL byte" if "\0" in lines[number - 1] else ""
                problems.append((number, f"{error}{nul}"))
            ended.append((number, line[1:].partition(line[0])[0]))
    if replaced is not None and WAS_OFF in lines:
        replaced = replace(replaced, off=True)
    kept = tuple(problems[:PROBLEMS_KEPT])
    more = len(problems) - len(kept)
    owned = lines[0] == MARKER
    return ConfigFile(
        path, owned, tuple(registrations), kept, replaced, text, more,
        by_unit=by_unit, lines=tuple(numbers), chosen=owned and CHOSEN in lines,
        ended=tuple(ended),
    )  # fmt: skip


def systemd_lines(text: str) -> Iterator[tuple[int, str]]:
    """What systemd takes for lines, with their number; it ends them at CR and NUL as well."""
    for number, line in enumerate(text.split("\n"), 1):
        for part in line.replace("\0", "\r").split("\r"):
            yield number, part.strip(" \t")


def _registration_or_none(line: str) -> Registration | None:
    try:
        return parse_line(line)
    except BadRegistration:
        return None


def parse_update_binfmts(name: str, text: str) -> Registration | None:
    """Read one of update-binfmts' own files; None for what it would not register as it stands.

    One value a line (binfmt-support, src/format.c): package, type, offset, magic, mask,
    interpreter, detector, credentials, preserve, fix_binary. With a detector the kernel gets
    another program, which asks it.
    """
    fields = dict(zip(_UPDATE_BINFMTS, text.split("\n"), strict=False))
    if fields.get("type") not in ("magic", "extension") or fields.get("detector"):
        return None
    kind = "M" if fields["type"] == "magic" else "E"
    switches = {"credentials": "C", "preserve": "P", "fix_binary": "F"}
    flags = "".join(flag for key, flag in switches.items() if fields.get(key) == "yes")
    values = (fields.get(key, "") for key in ("offset", "magic", "mask", "interpreter"))
    return _registration_or_none("\1".join(("", name, kind, *values, flags)))
