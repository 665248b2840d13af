"""The engines under test: Debian packages, unpacked into folders and never installed.

`old` has what Debian 12 ships (Docker 20.10, podman 4.3, buildah 1.28), `new` what Debian
unstable does (Docker 28 or later with buildx and compose). Nothing is changed on the
machine, no package starts a daemon, and root is not needed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import debian_mirror

if TYPE_CHECKING:
    from collections.abc import Mapping

TOP = Path(__file__).resolve().parents[2]
STORE = TOP / ".engines"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SECONDS = 300

OLD_TOOLS = (
    *("docker.io", "containerd", "runc", "docker-registry"),
    *("podman", "buildah", "conmon", "golang-github-containers-common"),
    "golang-github-containers-image",
)
# Placed below the machine's own libraries, which have precedence.
OLD_LIBRARIES = ("libgpgme11", "libassuan0", "libgpg-error0", "libdevmapper1.02.1", "libsubid4")
NEW_TOOLS = ("docker.io", "docker-cli", "docker-buildx", "docker-compose", "containerd")
# What Docker of an ordinary user needs: namespaces, and a network in them.
ROOTLESS_TOOLS = ("rootlesskit", "slirp4netns", "libslirp0")
NEW_WITH_OLD_LIBC = ("runc", "docker-registry")  # unstable's want a newer C library
Contents = tuple[tuple[str, tuple[str, ...]], ...]
"""Suites, and which of their packages."""
BOXES: Mapping[str, Contents] = {
    "old": (("bookworm", OLD_TOOLS),),
    "old-libs": (("bookworm", OLD_LIBRARIES),),
    "new": (("sid", NEW_TOOLS), ("bookworm", NEW_WITH_OLD_LIBC)),
    "new-libs": (("bookworm", ROOTLESS_TOOLS),),
}


class NotToBeHad(Exception):
    """The packages cannot be had on this machine; the words say why."""


def run(*argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv, cwd=cwd, capture_output=True, text=True, check=True, timeout=SECONDS
        )
    except FileNotFoundError as error:
        raise NotToBeHad(f"{argv[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise NotToBeHad(f"{argv[0]} failed: {' '.join(last)}") from error
    return done.stdout


def mirror() -> str:
    """The archive that this machine takes Debian's packages from."""
    if not debian_mirror() and os.geteuid() == 0:
        run("apt-get", "-q", "update")
    if found := debian_mirror():
        return found
    raise NotToBeHad("apt knows no archive of Debian's (run apt-get update)")


def apt(suite: str, folder: Path) -> list[str]:
    """An apt-get that sees one suite and keeps all its state in a folder."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n")
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": folder / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
    }
    return ["apt-get", "-q", *(f"-o{key}={value}" for key, value in options.items())]


def unpack(package: Path, box: Path) -> None:
    """Unpack one package as if /lib were merged into /usr, as it is everywhere today."""
    with subprocess.Popen(
        ["dpkg", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
    ) as reader:
        tar = ["tar", "--extract", "--keep-directory-symlink", "--no-same-owner"]
        subprocess.run([*tar, "--directory", str(box)], stdin=reader.stdout, check=True)


def fill(box: Path, contents: Contents) -> None:
    for name in ("etc", "usr/lib", "usr/bin", "usr/sbin"):
        (box / name).mkdir(parents=True)
    for name in ("lib", "bin", "sbin"):
        (box / name).symlink_to(f"usr/{name}")
    for suite, packages in contents:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            command = apt(suite, folder)
            run(*command, "update")
            run(*command, "download", *packages, cwd=folder)
            for package in sorted(folder.glob("*.deb")):
                unpack(package, box)


def fetch(boxes: Mapping[str, Contents] = BOXES) -> Path:
    """Make what is missing of these boxes; returns the folder they are in."""
    if os.uname().machine != "x86_64":
        raise NotToBeHad("the packages taken are those of amd64")
    STORE.mkdir(exist_ok=True)
    with (STORE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name, contents in boxes.items():
            if (STORE / name).is_dir():
                continue
            half = STORE / f"{name}.half"
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            fill(half, contents)
            half.rename(STORE / name)
    return STORE


def base_image() -> Path:
    """The root file system of a Debian for arm64 with dpkg in it, nothing of it run yet."""
    image = fetch() / "debian-arm64.tar"
    if not image.is_file():
        half = STORE / "debian-arm64.half.tar"
        run(
            "mmdebstrap", "--variant=extract", "--include=dpkg,busybox-static",
            "--architectures=arm64", "bookworm", str(half),
            f"deb [signed-by={KEYRING}] {mirror()} bookworm main",
        )  # fmt: skip
        half.rename(image)
    return image
