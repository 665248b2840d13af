"""`--install-qemu` with the real dnf, zypper and pacman, as Debian packages them.

Each runs in a namespace where its databases are empty and lie in memory, /etc/os-release says
that this is its distribution, and a repository of one package is all that it knows. The package
brings an emulator to /usr/local/bin, which lies in memory as well.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.packing import Item, tar

if TYPE_CHECKING:
    from pathlib import Path

_FRESH = r"""
set -e
for place in /var/lib /var/cache /var/log /run /usr/local/bin /etc/dnf /etc/zypp; do
    mount -t tmpfs -o mode=755 none "$place"
done
for place in /usr/bin/qemu-*; do mount --bind /dev/null "$place"; done
test ! -d /usr/libexec/qemu-binfmt || mount -t tmpfs -o mode=755 none /usr/libexec/qemu-binfmt
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
# Debian's rpm keeps its database in root's home directory.
sed 's|^%_dbpath.*|%_dbpath /var/lib/rpm|' /usr/lib/rpm/macros > /run/macros
mount --bind /run/macros /usr/lib/rpm/macros
mkdir -p /var/lib/rpm /var/lib/pacman/sync /var/cache/pacman/pkg
mkdir -p /etc/zypp/repos.d /etc/zypp/services.d
"""
_SPEC = """\
Name: {name}
Version: 99
Release: 1
Summary: t
License: t
AutoReqProv: no
%description
t
%install
install -D -m 755 {qemu} %{{buildroot}}/usr/local/bin/qemu-aarch64-static
%files
/usr/local/bin/qemu-aarch64-static
"""
_BUILD = {
    "_binary_payload": "w0.gzdio",
    "__os_install_post": "%{nil}",
    "_build_id_links": "none",
    "debug_package": "%{nil}",
}


@dataclass(frozen=True)
class Manager:
    """A package manager: its distribution, its package, and how it hears of a repository."""

    program: str
    os_release: str
    package: str
    configure: str


MANAGERS = (
    Manager(
        "dnf", "ID=fedora\\nVERSION_ID=43\\n", "qemu-user-static-aarch64",
        "printf '[main]\\nreposdir=/run/repos\\n' > /etc/dnf/dnf.conf; mkdir /run/repos; "
        "printf '[t]\\nname=t\\nbaseurl=file://%s\\ngpgcheck=0\\n' \"$1\" > /run/repos/t.repo",
    ),
    Manager(
        "zypper", 'ID=opensuse-tumbleweed\\nID_LIKE="opensuse suse"\\n', "qemu-linux-user",
        "printf '[t]\\nname=t\\nbaseurl=file://%s\\ngpgcheck=0\\ntype=rpm-md\\nenabled=1\\n' "
        '"$1" > /etc/zypp/repos.d/t.repo',
    ),
    Manager(
        "pacman", "ID=arch\\n", "qemu-user-static",
        "printf '[options]\\nArchitecture = auto\\nSigLevel = Never\\n[t]\\nServer = file://%s\\n' "
        '"$1" > /run/conf; mount --bind /run/conf /etc/pacman.conf; '
        'cp "$1/t.db" /var/lib/pacman/sync/',
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def qemu() -> str:
    if os.geteuid() != 0:
        pytest.skip("package managers want root")
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    assert found, "no QEMU on this machine"
    return found


def repository(manager: Manager, qemu: str, folder: Path) -> Path:
    """A repository of the manager's own kind with its package."""
    place = folder / "repository"
    place.mkdir()
    if manager.program == "pacman":
        return _pacman_repository(manager.package, qemu, place)
    (folder / "spec").write_text(_SPEC.format(name=manager.package, qemu=qemu))
    defines = {**_BUILD, "_topdir": str(folder / "build"), "_rpmdir": str(place)}
    defines["_dbpath"] = str(folder / "database")
    options = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
    command = ["rpmbuild", "-bb", *options, str(folder / "spec")]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["createrepo_c", "--quiet", str(place)], check=True, capture_output=True)
    return place


def _pacman_repository(name: str, qemu: str, place: Path) -> Path:
    arch = os.uname().machine
    info = f"pkgname = {name}\npkgver = 99-1\npkgdesc = t\narch = {arch}\nsize = 1\n"
    with open(qemu, "rb") as file:  # noqa: PTH123 - a name from which()
        program = file.read()
    package = tar(
        Item(".PKGINFO", info.encode()),
        *(Item(part, kind=tarfile.DIRTYPE) for part in ("usr/", "usr/local/", "usr/local/bin/")),
        Item("usr/local/bin/qemu-aarch64-static", program),
    )
    file_name = f"{name}-99-1-{arch}.pkg.tar"
    (place / file_name).write_bytes(package)
    fields = {
        "FILENAME": file_name, "NAME": name, "VERSION": "99-1", "CSIZE": str(len(package)),
        "ISIZE": "1", "ARCH": arch, "SHA256SUM": hashlib.sha256(package).hexdigest(),
    }  # fmt: skip
    described = "".join(f"%{key}%\n{value}\n\n" for key, value in fields.items())
    (place / "t.db").write_bytes(tar(Item(f"{name}-99-1/desc", described.encode())))
    return place


def inside(manager: Manager, place: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script on such a system; $1 is the repository, $2 the Python of these tests."""
    release = f"printf '{manager.os_release}' > /run/os; mount --bind /run/os /etc/os-release\n"
    command = ["unshare", "--user", "--map-root-user", "--mount", "--propagation=private"]
    words = _FRESH + release + manager.configure + "\n" + script
    return subprocess.run(
        [*command, "sh", "-ec", words, "sh", str(place), sys.executable],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


TOOL = '"$2" -m binfmt_setup install arm64 --private --no-persist'


@pytest.mark.parametrize("manager", MANAGERS, ids=[manager.program for manager in MANAGERS])
def test_the_package_is_installed_and_works(manager: Manager, qemu: str, tmp_path: Path) -> None:
    if shutil.which(manager.program) is None:
        pytest.skip(f"{manager.program} is not installed")
    place = repository(manager, qemu, tmp_path)
    done = inside(
        manager, place,
        f"""
        {TOOL} && exit 99 || test $? = 5
        {TOOL} --install-qemu
        echo ---
        {TOOL} --install-qemu
        echo ---
        "$2" -m binfmt_setup uninstall --private >/dev/null
        rm /usr/local/bin/qemu-aarch64-static
        {TOOL} --install-qemu
        echo ---
        "$2" -m binfmt_setup uninstall --private >/dev/null
        rm /usr/local/bin/qemu-aarch64-static
        rm -r "$1"; rm -rf /var/cache/*
        {TOOL} --install-qemu 2>&1 && exit 98 || echo "status $?"
        """,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    first, second, lost, broken = done.stdout.split("---")
    assert f"run: {manager.program} " in first
    assert manager.package in first
    assert "works: linux/arm64; changed" in first
    assert "works: linux/arm64; nothing changed" in second
    # The database has the package, the file is gone: it is installed again.
    assert "works: linux/arm64; changed" in lost
    assert "Traceback" not in broken
    assert broken.rstrip().endswith("status 6")
