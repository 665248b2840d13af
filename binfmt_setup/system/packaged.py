"""Files that ship with the package, wherever that is: in a directory, or in a single file.

The single file (scripts/single_file.py) brings a loader of its own, which is asked here for what
others find in the file system.
"""

from __future__ import annotations

import os

from binfmt_setup.model.errors import EnvironmentUnfit

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from importlib.abc import ResourceLoader
    from typing import Protocol

    class SingleFile(Protocol):
        """What the loader of the single file can, besides loading."""

        def unpacked(self, folder: str, names: list[str]) -> str:
            """A directory that has these files of a folder."""

        def remove_unpacked(self) -> None:
            """Remove that directory."""


PACKAGE = os.path.dirname(os.path.dirname(__file__))


def _single_file() -> SingleFile | None:
    loader: SingleFile = __spec__.loader  # type: ignore[assignment] # if it can, it is
    return loader if hasattr(loader, "remove_unpacked") else None


def content(*names: str) -> bytes:
    """What a file of the package holds; raises OSError where there is none of that name."""
    # Whatever imported this module knows how to read what lies beside it.
    loader: ResourceLoader = __spec__.loader  # type: ignore[assignment] # all of them can
    return loader.get_data(os.path.join(PACKAGE, *names))


def programs(*names: str) -> str:
    """A directory of the package whose programs the kernel can execute.

    Out of a single file they are unpacked, until `leave`. Raises EnvironmentUnfit.
    """
    folder = os.path.join(PACKAGE, *names)
    single = _single_file()
    if single is None:
        return folder
    sums = content(*names, "SHA256SUMS").decode("ascii").splitlines()
    try:
        return single.unpacked(folder, [line.split()[1] for line in sums])
    except OSError as error:
        raise EnvironmentUnfit(
            f"the probes cannot be unpacked: {error.strerror or error}",
            hint="one of /run, /tmp, /var/tmp must be writable, and not be mounted noexec",
        ) from error


def leave() -> None:
    """Remove what was unpacked: this process is about to end, or to become another program."""
    if single := _single_file():
        single.remove_unpacked()
