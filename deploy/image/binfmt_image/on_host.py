"""--persist-to: do the work with the host's root as the root, so that it survives a reboot.

The host needs no Python: what the image has of it is copied below the host's /run (or where
programs may be executed), runs there after a chroot(2), and is removed again. It then is an
ordinary `install` on that host: its files, its registry, its init. QEMU is handed over as an
archive, and so lands where `--qemu ARCHIVE` puts it. It takes CAP_SYS_CHROOT and the host's
process numbers (--pid=host): the host's /proc is the only one that there is then.
"""

from __future__ import annotations

import os
import shutil
import signal
import tarfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.cli.signals import Ended
from binfmt_setup.emulators.choice import IN_OUR_IMAGE
from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing
from binfmt_setup.system.programs import SAFE_PATH
from binfmt_setup.system.registry import explained
from binfmt_setup.system.scratch import locked_folder
from binfmt_setup.system.signals import ENDING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_image.surroundings import Place

PLACES = ("run", "var/tmp", "tmp", "dev/shm")
NEEDED = 64 << 20
"""Bytes that the runtime takes, and some more; the archive of emulators takes as much as they."""
_TAKEN = ("bin", "lib", "lib64")
_ENVIRONMENT = {"PATH": SAFE_PATH, "LC_ALL": "C.UTF-8"}


def run_there(place: Place, words: Sequence[str]) -> int:
    """Run the rest of the line on the host; its exit status."""
    top = Path(place.persist_to)
    _refuse_unfit(top)
    try:
        with _runtime(_roomy(top)) as where:
            return _waited_for(_started(top, f"/{where.relative_to(top)}", place, words))
    except OSError as error:  # of many files that were not copied, there is no one errno
        raise explained(error, f"--persist-to {top}: cannot work there") from error


@contextmanager
def _runtime(place: Path) -> Iterator[Path]:
    """A folder with the image's Python and its emulators, for as long as the block lasts."""
    with locked_folder(str(place)) as name:
        where = Path(name)
        where.chmod(0o755)
        for part in _TAKEN:
            shutil.copytree(f"/usr/{part}", where / "usr" / part, symlinks=True)
        _archive(where / "qemu.tar")
        yield where


def _refuse_unfit(top: Path) -> None:
    """Raises EnvironmentUnfit where the host's root cannot be worked in from here."""
    if not (top / "etc").is_dir() or not (top / "usr").is_dir():
        raise EnvironmentUnfit(
            f"--persist-to {top}: no root of a host", hint=f"give the container one: -v /:{top}"
        )
    with suppress(OSError):
        if (top / "proc/self").readlink() == Path(str(os.getpid())):
            return
    raise EnvironmentUnfit(
        f"--persist-to {top}: its /proc does not know this process by its number",
        hint="start the container with the host's process numbers: --pid=host (Kubernetes: "
        "hostPID: true)",
    )


def _roomy(top: Path) -> Path:
    """A folder of the host where programs may be executed and all of it has its place."""
    size = NEEDED + sum(file.stat().st_size for file in Path(IN_OUR_IMAGE).iterdir())
    for name in PLACES:
        with suppress(OSError):
            there = os.statvfs(top / name)
            fit = not there.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
            if fit and there.f_bavail * there.f_frsize > size:
                return top / name
    raise EnvironmentUnfit(
        f"--persist-to {top}: no folder there with {size >> 20} MiB free where programs may run",
        hint=f"looked at: {', '.join('/' + name for name in PLACES)}",
        code="no-space",
    )


def _archive(out: Path) -> None:
    """QEMU as an archive, the same for the same files: by its digest it is known again."""
    with tarfile.open(out, "w") as archive:
        for file in sorted(Path(IN_OUR_IMAGE).iterdir()):
            member = archive.gettarinfo(file, f"usr/bin/{file.name}")
            member.mtime, member.mode, member.uid, member.gid = 0, 0o755, 0, 0
            member.uname = member.gname = ""
            with file.open("rb") as content:
                archive.addfile(member, content)


def _started(top: Path, where: str, place: Place, words: Sequence[str]) -> int:
    """A child that is on the host and has become the image's Python there."""
    loader = _loader(top / where.lstrip("/"), where)
    library = next(Path("/usr/lib").glob("*-linux-*/libc.so.6"), None)
    if library is None:
        raise EnvironmentUnfit("this image has no C library", hint="use the image as it was built")
    python = [f"{where}/usr/bin/python3", "-IS", f"{where}/usr/bin/binfmt"]
    more = ["--private"] if place.private else []
    argv = [loader, "--library-path", f"{where}{library.parent}", *python,
            *more, "--on-host", f"{where}/qemu.tar", *words]  # fmt: skip
    child = os.fork()
    if child:
        return child
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        os.chroot(top)
        os.chdir("/")
        os.execve(loader, argv, _ENVIRONMENT)
    except OSError as error:
        os.write(2, f"error: cannot work in {top}: {error.strerror}\n".encode())
    finally:
        os._exit(PrivilegesMissing.exit_code)


def _loader(copy: Path, where: str) -> str:
    """The copied program that loads Python with the libraries beside it."""
    found = next((p for p in copy.glob("usr/lib*/ld-linux*")), None)
    if found is None:
        raise EnvironmentUnfit("this image has no loader", hint="use the image as it was built")
    return f"{where}/{found.relative_to(copy)}"


def _waited_for(child: int) -> int:
    """The exit status of the child, which hears of the signals that this process gets."""
    while True:
        try:
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        except Ended as ended:
            with suppress(ProcessLookupError):
                os.kill(child, ended.number)
