"""The programs of the workout, which lie compressed in the package, and where they can run."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.system import packaged
from binfmt_setup.system.path_trust import PathJudge
from binfmt_setup.system.probes.isolation import NOBODY
from binfmt_setup.system.scratch import locked_folder

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


NEEDED_BYTES = 64 * 1024 * 1024
"""What exercises may write at once; most of the large file is a hole."""
LEAST_BYTES = 8 * 1024 * 1024
"""With less left, what fails may fail for lack of space: exercises took 3 MiB at once."""
ENTRIES = 8
"""Of the folder that is seen through an overlay; the exercise counts them."""
PLACES = ("/var/tmp", "/tmp")  # noqa: S108 - what is made there has a random name, and is one's own


def available(program: str) -> bool:
    """Whether the package has a workout for this probe's target."""
    return bool(_packed(program))


def _packed(part: str) -> bytes:
    """A program as it lies in the package; nothing where there is none."""
    with suppress(OSError):
        return packaged.content("data", "workout", f"{part}.xz")
    return b""


@contextmanager
def laid_out(programs: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """A root directory with these programs and a scratch folder, for the time of the block.

    On a real file system, as that is what builds use. Raises EnvironmentUnfit without space, or
    where programs may not be run.
    """
    place = _place(environment)
    try:
        with locked_folder(place) as root:
            _fill(root, programs)
            yield root
    except OSError as error:
        raise _no_place(place, error.strerror or str(error)) from error


def _place(environment: Mapping[str, str]) -> str:
    """The directory for it, which is big enough, lets programs run, and is nobody else's.

    Who could rename what is made in there could put programs of his own in its place.
    """
    asked = environment.get("TMPDIR", "")
    place = next(
        (p for p in ((asked,) if asked else PLACES) if os.path.isdir(p)), asked or PLACES[0]
    )
    try:
        place = os.path.abspath(place)  # programs are told of it, and run elsewhere
        about = os.statvfs(place)
    except OSError as error:
        raise _no_place(place, error.strerror or str(error)) from error
    if culprit := PathJudge(shared=True).culprit(place):
        raise _no_place(place, culprit.reason)
    if about.f_flag & os.ST_NOEXEC:
        raise _no_place(place, "its file system is mounted noexec")
    if _bytes_free(about) < NEEDED_BYTES:
        raise _no_place(place, f"less than {NEEDED_BYTES >> 20} MiB are free")
    return place


def _bytes_free(about: os.statvfs_result) -> int:
    return about.f_bavail * about.f_frsize


def demand_space(folder: str) -> None:
    """Raise OSError where somebody filled the file system meanwhile."""
    if _bytes_free(os.statvfs(folder)) < LEAST_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _no_place(place: str, why: str) -> EnvironmentUnfit:
    return EnvironmentUnfit(
        f"the workout has no place in {place}: {why}", code="no-scratch",
        hint="name a directory with 64 MiB that may run programs: TMPDIR=DIR binfmt-setup …",
    )  # fmt: skip


def _fill(root: str, programs: Sequence[str]) -> None:
    import lzma

    for name in programs:
        for part in (name, f"{name}-pie"):
            if not (packed := _packed(part)):
                continue
            with open(os.path.join(root, part), "wb") as program:
                program.write(lzma.decompress(packed))
                os.fchmod(program.fileno(), 0o555)
    for name in ("scratch", "proc", "dev", "other", "overlay", "layers", "layers/layer"):
        os.mkdir(os.path.join(root, name), 0o755)
    os.mkdir(os.path.join(root, "tmp"))
    os.chmod(os.path.join(root, "tmp"), 0o1777)  # noqa: S103 - QEMU 5.2 makes files of /proc there
    for number in range(ENTRIES):
        os.mkdir(os.path.join(root, "layers/layer", str(number)))
    os.chmod(os.path.join(root, "scratch"), 0o700)
    if os.geteuid() == 0:
        _give_away(os.path.join(root, "scratch"))
    os.chmod(root, 0o755)  # noqa: S103 - nobody has to find the programs in there


def _give_away(path: str) -> None:
    """Let nobody write there, if there is somebody who is nobody."""
    try:
        os.chown(path, NOBODY, NOBODY)
    except OSError:
        os.chmod(path, 0o700)
