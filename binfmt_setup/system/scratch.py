"""A directory for the time of one task, on a file system of choice, gone afterwards."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from binfmt_setup.model.mountinfo import parse_mountinfo
from binfmt_setup.system import syscalls
from binfmt_setup.system.locks import taken
from binfmt_setup.system.made_names import TEMPORARY, is_made_up
from binfmt_setup.system.signals import undisturbed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@contextmanager
def workspace(parent: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """A new directory with these executable files, which is gone again afterwards.

    Raises OSError when `parent` is not writable. Mounts that a program left inside are
    taken away first.
    """
    where = Path(tempfile.mkdtemp(prefix="binfmt-setup-", dir=parent))
    try:
        for name, content in files.items():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).write_bytes(content)
            (where / name).chmod(0o755)
        yield where
    finally:
        _remove_tree(where)


@contextmanager
def locked_folder(parent: str) -> Iterator[str]:
    """A new directory that is gone again afterwards, or with the next one if this run is killed.

    Raises OSError when `parent` is not writable. Whoever works in one holds its lock.
    """
    _sweep(parent)
    made: list[tuple[str, int]] = []
    try:
        with undisturbed():  # a signal in the midst would leave it
            made.append(_locked(parent))
        yield made[0][0]
    finally:
        with undisturbed():
            for where, held in made:
                shutil.rmtree(where, ignore_errors=True)
                os.close(held)


def _locked(parent: str) -> tuple[str, int]:
    """A new directory, and its lock: another run may take it for a left one just before that."""
    while True:
        where = tempfile.mkdtemp(prefix=TEMPORARY, dir=parent)
        with suppress(FileNotFoundError):
            held = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(held, fcntl.LOCK_EX)
            if Path(where).exists():
                return where, held
            os.close(held)


def _sweep(parent: str) -> None:
    """Remove what killed runs left there: our own, and locked by nobody."""
    there = list(Path(parent).iterdir()) if os.access(parent, os.R_OK) else []
    for where in (path for path in there if is_made_up(path.name)):
        with suppress(OSError):
            held = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(held).st_uid == os.geteuid() and taken(held):
                    shutil.rmtree(where)
            finally:
                os.close(held)


def _remove_tree(where: Path) -> None:
    """Remove a directory of ours: the mounts in it, directories closed to their owner, all."""
    mounts = parse_mountinfo(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
    inside = [mount.point for mount in mounts if mount.point.startswith(f"{where}/")]
    for point in reversed(inside):
        with suppress(OSError):
            syscalls.unmount(point)
    for directory, _, _ in os.walk(where):
        with suppress(OSError):
            Path(directory).chmod(0o700)
    shutil.rmtree(where, ignore_errors=True)
