"""The compilers of Debian 12 that build what the package ships for other processors.

scripts/build-probes and scripts/build-workout stand on it, and scripts/build-packages on the
kernel's headers. The same compiler gives the same bytes in any folder.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import debian_mirror

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

HEADERS = (
    "pool/main/l/linux/linux-libc-dev_6.12.95-1~bpo12+1_all.deb",
    "92b5dbdfb468b91d129e56cc0f361f3efbf16bf7aabf8db997b69e0d80482280",
)
BUILT_WITH = "BUILT-WITH"
CHECKSUMS = "SHA256SUMS"


class BuildError(Exception):
    """A program could not be built, or is not what it has to be."""


@dataclass(frozen=True)
class Toolchain:
    """A compiler and a linker, and the Debian packages that hold them."""

    compiler: str
    linker: str
    compiler_package: str
    linker_package: str
    untried: bool = False

    def of_this_release(self) -> Toolchain:
        """The same without a version: what a release of Debian takes for its default."""
        named = (self.compiler, self.linker, self.compiler_package, self.linker_package)
        compiler, linker, *packages = (re.sub(r"-(12|19)(?=-|$)", "", name) for name in named)
        return Toolchain(compiler, linker, packages[0], packages[1], untried=True)

    def is_installed(self) -> bool:
        """Tell whether both programs can be run here."""
        return bool(shutil.which(self.compiler) and shutil.which(self.linker))

    def record(self) -> str:
        """Name the packages with their full versions, as BUILT-WITH does."""
        packages = (self.compiler_package, self.linker_package)
        return " ".join(f"{package} {installed_version(package)}" for package in packages)

    def is_the_one(self, recorded: str) -> bool:
        """Tell whether BUILT-WITH means exactly what is installed here."""
        try:
            return self.record() == recorded
        except BuildError:  # Not installed as a Debian package.
            return False


def gcc_of_debian(triplet: str) -> Toolchain:
    """Return Debian's GCC 12 for a Linux target, as host or as cross compiler."""
    dashed = triplet.replace("_", "-")
    native = triplet == "x86_64-linux-gnu"
    package = "gcc-12" if native else f"gcc-12-{dashed}"
    return Toolchain(f"{triplet}-gcc-12", f"{triplet}-ld", package, f"binutils-{dashed}")


def gcc_for_metal(package: str) -> Toolchain:
    """Return Debian's GCC for a target without an operating system."""
    prefix = package if package.endswith("-elf") else f"{package}-elf"
    return Toolchain(f"{prefix}-gcc", f"{prefix}-ld", f"gcc-{package}", f"binutils-{package}")


# Clang where its linker knows the target: one compiler for most of the table. GCC for the
# rest, and for x86, where it is what a machine that builds Debian packages has anyway.
CLANG = Toolchain("clang-19", "ld.lld-19", "clang-19", "lld-19")
ALPHA = gcc_of_debian("alpha-linux-gnu")
HPPA = gcc_of_debian("hppa-linux-gnu")
M68K = gcc_of_debian("m68k-linux-gnu")
OR1K = gcc_for_metal("or1k-elf")
SH4 = gcc_of_debian("sh4-linux-gnu")
SPARC64 = gcc_of_debian("sparc64-linux-gnu")
X86 = gcc_of_debian("x86_64-linux-gnu")
XTENSA = gcc_for_metal("xtensa-lx106")


def run(command: Sequence[str], folder: Path) -> None:
    """Run a compiler or linker in a folder, under the same conditions everywhere."""
    path = os.environ.get("PATH", os.defpath)
    environment = {"PATH": path, "LC_ALL": "C", "TMPDIR": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        detail = (done.stderr or done.stdout).strip() or f"exit status {done.returncode}"
        raise BuildError(f"{shlex.join(command)}\n{detail}")


@functools.cache
def installed_version(package: str) -> str:
    """Ask dpkg for the version of a package."""
    question = ["dpkg-query", "-W", "-f", "${Version}", package]
    try:
        done = subprocess.run(question, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"no version to record: {package} is no Debian package here") from error
    return done.stdout.strip()


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Replace a file in one step, so that no reader ever sees a part of it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_records(folder: Path) -> dict[str, str]:
    """Read BUILT-WITH: which packages made which program."""
    return dict(_rows(folder / BUILT_WITH))


def _rows(path: Path) -> list[tuple[str, str]]:
    """The two parts of each line; none where there is no such file."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [(first, rest.strip()) for first, _, rest in (line.partition(" ") for line in lines)]


def _program(name: str) -> str:
    """What BUILT-WITH calls a file: the one that may lie anywhere is made with the other."""
    return name.removesuffix("-pie")


def add_release_options(parser: argparse.ArgumentParser) -> None:
    """What a distribution's release asks of a build: its own compilers, and how they differ."""
    what = "take the compilers without a version in their name"
    parser.add_argument("--any-compiler", action="store_true", help=what)
    what = "say how what was built differs from what is there"
    parser.add_argument("--against", metavar="DIR", type=Path, help=what)


def compared(options: argparse.Namespace) -> int:
    """The exit status of `--against`, where it was asked for."""
    return compare_folders(options.against, options.out) if options.against else 0


def compare_folders(shipped: Path, fresh: Path) -> int:
    """Say how the programs of a new build differ from those in a folder; the exit status.

    Other bytes are a fault only where the recorded compiler and linker made them.
    """
    old = {name: digest for digest, name in _rows(shipped / CHECKSUMS)}
    new = {name: digest for digest, name in _rows(fresh / CHECKSUMS)}
    before, now = read_records(shipped), read_records(fresh)
    others = sorted(name for name in old.keys() | new if old.get(name) != new.get(name))
    faults = [n for n in others if before.get(_program(n)) == now.get(_program(n))]
    rest = sorted(set(others) - set(faults))
    print(f"{fresh.name}: {len(old) - len(others)} of {len(old)} have the recorded bytes")
    if rest:
        print(f"{fresh.name}: others, by other compilers: {' '.join(rest)}")
    if faults:
        print(f"{fresh.name}: others, by the same compilers: {' '.join(faults)}")
    return int(bool(faults))


def headers_of_debian(folder: Path) -> Path:
    """Download and unpack the kernel's headers, and verify them; where they are."""
    place, digest = HEADERS
    deb = folder / "headers.deb"
    with urllib.request.urlopen(f"{debian_mirror()}/{place}", timeout=300) as answer:  # noqa: S310
        deb.write_bytes(answer.read())
    if hashlib.sha256(deb.read_bytes()).hexdigest() != digest:
        raise BuildError(f"{place} is not the file that is meant")
    subprocess.run(["dpkg-deb", "-x", str(deb), str(folder / "headers")], check=True)
    return folder / "headers" / "usr" / "include"
