"""The file at an interpreter's path, as far as it was looked at. Pure."""

from __future__ import annotations

from binfmt_setup.model.reading import NOT_LOOKED_AT, Unread
from binfmt_setup.model.records import NOTHING, Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from binfmt_setup.model.culprit import Culprit
    from binfmt_setup.model.elf import ElfFacts

    OwnRights = Literal["", "set-id", "capabilities"]
    """A set-user-ID or set-group-ID bit, or capabilities of the file (capabilities(7))."""


class NotAFile(Record):
    """Something is there that is no regular file."""


class Interpreter(Record):
    """A readable regular file, followed through links.

    `culprit` is the first on the way to the file that somebody else than root can change: a
    directory, a link, or the file itself. `rights` says what gives it rights of its own, whoever
    starts it. `version` is QEMU's own word, empty when nobody asked it.

    The security view alone asks for the rest: `package` is None when nobody knows and empty
    when there is none,
    `unfit_mount` says in words what is wrong with the file system.

    `source` and `sha256` are what was written down when --qemu brought the file; `digest` is
    what the file has now, empty when nobody asked.
    """

    path: str
    real_path: str = ""
    elf: ElfFacts | None = None
    executable: bool = True
    culprit: Culprit | None = None
    rights: OwnRights = ""
    identity: tuple[int, int] = (0, 0)
    version: str = ""
    package: str | None = None
    unfit_mount: str = ""
    source: str = ""
    sha256: str = ""
    digest: str = ""

    @property
    def needs_binfmt_flags(self) -> bool:
        """Debian's `-binfmt-P` names: QEMU takes P and O for granted and refuses without."""
        return self.path.endswith("-binfmt-P")


InterpreterState = Interpreter | NotAFile | Unread


class EmulatorFacts(Record):
    """The emulators there are to choose from, and what lies at each interpreter's path.

    `candidates` has, by a target's name, the paths where something is, the best first. `makers`
    tells, for paths where nothing is, by what others than root can put a file there; the
    security view alone asks.
    """

    candidates: Mapping[str, tuple[str, ...]] = NOTHING
    files: Mapping[str, InterpreterState] = NOTHING
    makers: Mapping[str, Culprit] = NOTHING

    def at(self, path: str) -> InterpreterState:
        """What is known of the file at a path."""
        return self.files.get(path, NOT_LOOKED_AT)

    def file_at(self, path: str) -> Interpreter | None:
        """The file at a path; None where there is none, or none that could be looked at."""
        found = self.at(path)
        return found if isinstance(found, Interpreter) else None

    def identity_at(self, path: str) -> tuple[int, int] | None:
        """Device and inode of the file at a path; None where none is known."""
        found = self.file_at(path)
        return found.identity if found else None

    def version_at(self, path: str) -> str:
        """QEMU's word for its version; empty where nobody asked, or nothing was there to ask."""
        found = self.file_at(path)
        return found.version if found else ""
