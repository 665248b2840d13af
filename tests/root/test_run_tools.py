"""`run` under tools that build foreign systems, for a user with a range of ids.

The machine's root is needed to become such a user, and to grant a range for the time of a
test: /etc/subuid is covered by another file in a mount namespace that only the test sees.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.own_namespace import CLI, as_user, copy_for_everybody, folder_for_everybody, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

UID = 4242
RANGE = 100_000
SOURCE = "deb http://deb.debian.org/debian bookworm main"
# What buildah needs on Debian 12 beyond what every system has.
BUILDAH = ("buildah", "libgpgme11", "libassuan0", "libdevmapper1.02.1",
           "golang-github-containers-common", "golang-github-containers-image")  # fmt: skip
# newuidmap wants to know its user by name.
GRANT = "".join(
    f'mount --bind "$1/{file}" /etc/{file} && ' for file in ("passwd", "subuid", "subgid")
)
DROP = 'shift && exec setpriv "$@"'

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root"),
    pytest.mark.skipif(os.uname().machine == "aarch64", reason="arm64 is native here"),
]


class User:
    """A user with a home of their own, and ids that were granted to them."""

    def __init__(self, where: Path) -> None:
        self.home = where / "home"
        self.home.mkdir()
        os.chown(self.home, UID, UID)
        copy_for_everybody(where / "package")
        users = Path("/etc/passwd").read_text()
        (where / "passwd").write_text(f"{users}granted:x:{UID}:{UID}::{self.home}:/bin/sh\n")
        for file in ("subuid", "subgid"):
            (where / file).write_text(f"granted:{RANGE}:65536\n")
        self._where = where

    def run(
        self,
        *arguments: str | Path,
        before: str = "",
        group: int = UID,
        more: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """`binfmt-setup run` as this user, with Debian's Python, which everybody can reach.

        `before` is what root does in the mount namespace first, `group` one more group.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "PYTHONPATH": str(self._where / "package"),
            **(more or {}),
        }
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", GRANT + before + DROP, "sh", self._where,
             f"--reuid={UID}", f"--regid={UID}", f"--groups={group}", "--inh-caps=-all",
             "/usr/bin/python3", "-m", "binfmt_setup", "run", *arguments],
            env=environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def where() -> Iterator[Path]:
    with folder_for_everybody() as folder:
        yield folder


@pytest.fixture(scope="module")
def user(where: Path) -> User:
    return User(where)


@pytest.fixture(scope="module")
def tree(user: User) -> Path:
    """A tar file with busybox for arm64, made by mmdebstrap under `run`."""
    done = user.run(
        "--map-root", "--map-users", "auto", "-P", "arm64", "--",
        "mmdebstrap", "--mode=root", "--variant=extract", "--include=busybox-static",
        "--architectures=arm64", '--extract-hook=chroot "$1" /bin/busybox uname -m',
        "bookworm", "tree.tar", SOURCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "\naarch64\n" in done.stdout
    return user.home / "tree.tar"


def test_a_range_for_root_of_the_namespace(user: User) -> None:
    script = "id -u; cat /proc/self/uid_map; touch owned; chown 33:34 owned"
    done = user.run("--map-root", "--map-users=auto", "-P", "arm64", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stdout
    assert done.stdout.split() == ["0", "0", f"{UID}", "1", "1", f"{RANGE}", "65536"]
    owner = (user.home / "owned").stat()
    assert (owner.st_uid, owner.st_gid) == (RANGE + 32, RANGE + 33)


def test_a_range_around_the_own_id(user: User) -> None:
    registry = "/proc/sys/fs/binfmt_misc"
    script = f"id -u; head -n1 {registry}/qemu-aarch64; test -w {registry}/register || echo no"
    done = user.run("--map-users=auto", "-P", "arm64", "--", "sh", "-c", script)
    assert done.stdout == f"{UID}\nenabled\nno\n"


def test_newuidmap_is_not_installed(user: User) -> None:
    hide = "mount --bind /etc/passwd /usr/bin/newuidmap && "
    done = user.run("--map-users=auto", "--", "true", before=hide)
    assert done.returncode == 4
    assert "newuidmap is not installed (package uidmap" in done.stdout


def test_newuidmap_has_lost_its_rights(user: User) -> None:
    # As in a container image whose set-user-ID bits were taken away.
    tool = "/usr/bin/newuidmap"
    strip = f"mount --bind {tool} {tool} && mount -o remount,bind,nosuid {tool} && "
    done = user.run("--map-users=auto", "--", "true", before=strip)
    assert done.returncode == 4
    assert "newuidmap failed with status 1" in done.stdout
    assert "--map-users one" in done.stdout


def test_a_foreign_tree_by_chroot(user: User, tree: Path) -> None:
    script = (
        f"mkdir tree && tar -xf {tree} -C tree --exclude=./dev && "
        "chroot tree /bin/busybox sh -c 'busybox uname -m | busybox cat' && rm -r tree"
    )
    done = user.run("--map-root", "--map-users=auto", "-P", "arm64", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stdout
    assert done.stdout == "aarch64\n"


@pytest.fixture(scope="module")
def buildah(where: Path) -> tuple[str, dict[str, str], Path]:
    """The program, the environment it needs, and its policy; from packages if need be."""
    installed = shutil.which("buildah")
    if installed:
        return installed, {}, Path("/etc/containers/policy.json")
    apt = ["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", *BUILDAH]
    done = subprocess.run(apt, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("buildah is neither installed nor to be had from the package archive")
    for package in where.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, where / "root"], check=True)
    libraries = [str(path) for path in (where / "root").glob("**/lib/*-linux-gnu")]
    root = where / "root"
    return (
        str(root / "usr/bin/buildah"),
        {"LD_LIBRARY_PATH": ":".join(libraries)},
        root / "etc/containers/policy.json",
    )


def test_buildah(user: User, tree: Path, buildah: tuple[str, dict[str, str], Path]) -> None:
    program, environment, policy = buildah
    context = user.home / "context"
    context.mkdir()
    shutil.copy(tree, context / "tree.tar")
    (context / "Containerfile").write_text(
        "FROM scratch\nADD tree.tar /\n"
        'RUN ["/bin/busybox", "sh", "-c", "busybox echo built on $(busybox uname -m)"]\n'
    )
    done = user.run(
        "--map-root", "--map-users=auto", "-P", "arm64", "--", program,
        "--root", user.home / "storage", "--runroot", user.home / "runroot",
        "--storage-driver=vfs", "bud", "--isolation=chroot", "--arch=arm64",
        "--signature-policy", policy, "--pull-never", "context", more=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "\nbuilt on aarch64\n" in done.stdout


def test_other_groups_keep_their_effect(user: User) -> None:
    secret = user.home / "secret"
    secret.write_text("for the group")
    os.chown(secret, 0, 4343)
    secret.chmod(0o640)
    assert user.run("-P", "arm64", "--", "cat", secret).returncode == 1
    done = user.run("-P", "arm64", "--", "cat", secret, group=4343)
    assert done.stdout == "for the group"


AUTOMOUNT = """
import os, subprocess, sys
reader, writer = os.pipe()
os.setpgid(0, 0)  # this process plays systemd, which alone passes without waiting
options = f"fd={writer},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct"
subprocess.run(["mount", "-t", "autofs", "-o", options, "systemd-1",
                "/proc/sys/fs/binfmt_misc"], pass_fds=[writer], check=True)
os.close(writer)
run = subprocess.Popen(sys.argv[1:], start_new_session=True)
try:
    print("status", run.wait(30))
finally:
    run.kill()
os.set_blocking(reader, False)
try:
    print("triggered", os.read(reader, 400))
except BlockingIOError:
    print("untouched")
"""


@pytest.mark.parametrize("user_namespace", [[], as_user([])], ids=["root", "user"])
def test_an_untouched_automount_stays_so(user_namespace: list[str]) -> None:
    # In a mount namespace of the test's own; whoever triggered it would wait for ever.
    done = run(
        ["unshare", "--mount", sys.executable, "-c", AUTOMOUNT, *user_namespace, *CLI,
         "run", "-P", "arm64", "--", "ls", "/proc/sys/fs/binfmt_misc"]
    )  # fmt: skip
    words = set(done.stdout.split())
    assert words == {"qemu-aarch64", "register", "status", "0", "untouched"}, done.stderr
