"""A directory for the time of one build, on a file system of choice, gone afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from binfmt_setup.model.mountinfo import parse_mountinfo
from binfmt_setup.system import syscalls

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
