"""Purging the Debian package leaves a tree as `uninstall` does: nothing of ours, all of others."""

from __future__ import annotations

import re
import shutil
import subprocess
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from tests.bootlab import listing
from tests.own_folder import own_folder
from tests.own_namespace import CLI, TOP, in_namespace, run

SCRIPTS = TOP / "packaging" / "debian"
BUSYBOX = shutil.which("busybox")
QEMU = Path("/usr/bin/qemu-aarch64-static")
DROP_IN = "systemd-binfmt.service.d/binfmt-setup.conf"
APPLETS = ("sh", "grep", "sed", "rm", "rmdir", "readlink")
NULL, LOCK = "dev/null", "run/binfmt-setup/lock"
# What others wrote, beside ours and under names like ours.
THEIRS = {
    "etc/binfmt.d/qemu-s390x.conf": ":qemu-s390x:M::x::/opt/s390x:F\n",
    "etc/systemd/system/binfmt-setup-mine.service": "[Service]\nExecStart=/bin/true\n",
    "etc/systemd/system/multi-user.target.wants/other.service": "",
    "etc/binfmt-setup.toml": 'platforms = ["linux/arm64"]\n',
    "etc/fstab": "UUID=1 /opt ext4 nofail 0 2\n",
}


def host(tree: Path) -> dict[str, str]:
    """A host's tree with systemd, and emulators on a mount that is early and one that is late."""
    programs = ("usr/lib/systemd/systemd", "usr/lib/systemd/systemd-binfmt")
    for name, text in {**dict.fromkeys(programs, ""), **THEIRS, NULL: ""}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    elsewhere = tree / "etc/systemd/system/a.target.wants/binfmt-setup.service"
    elsewhere.parent.mkdir()
    elsewhere.symlink_to("/etc/fstab")
    (tree / "etc/binfmt.d/qemu-mine.conf").symlink_to("qemu-aarch64.conf")
    for name in ("bin", "lib"):
        (tree / name).symlink_to(f"usr/{name}")
    (tree / "usr/bin").mkdir()
    (tree / "opt").mkdir()
    assert BUSYBOX
    for name in APPLETS:
        shutil.copy(BUSYBOX, tree / "usr/bin" / name)
    # A systemd that runs, and what the script tells it.
    (tree / "run/systemd/system").mkdir(parents=True)
    for name in ("systemctl", "deb-systemd-invoke"):
        (tree / "usr/bin" / name).write_text("#!/bin/sh\n")
        (tree / "usr/bin" / name).chmod(0o755)
    # Debian's busybox has no flock.
    libraries = subprocess.check_output(["ldd", "/usr/bin/flock"], text=True)
    for file in ["/usr/bin/flock", *re.findall(r"/\S+", libraries)]:
        (tree / file[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tree / file[1:])
    for name in ("usr/bin/qemu-aarch64-static", "opt/qemu-riscv64"):
        shutil.copy(QEMU.with_name(f"qemu-{name.split('-')[1]}-static"), tree / name)
    return listing(tree)


def scripted(tree: Path, name: str, word: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the package in a tree, as dpkg does."""
    shutil.copy(SCRIPTS / f"binfmt-setup.{name}", tree / "script")
    done = in_namespace(["chroot", tree, "/bin/sh", "/script", word])
    (tree / "script").unlink()
    (tree / NULL).write_text("")
    return done


def test_purging_takes_back_what_install_has_made() -> None:
    if not BUSYBOX or not QEMU.exists():
        pytest.skip("busybox or QEMU is not installed")
    with own_folder() as folder:
        tree = folder / "tree"
        before = host(tree)
        for words in (("riscv64", "--emulator", "/opt/qemu-riscv64"), ("arm64", "--keep")):
            done = run([*CLI, "install", *words, "--root", tree])
            assert done.returncode == 0, done.stdout + done.stderr
        volatile = tree / "run/systemd/system" / DROP_IN
        volatile.parent.mkdir()
        shutil.copy(tree / "etc/systemd/system" / DROP_IN, volatile)
        kept = listing(tree)
        assert len(kept) > len(before) + 20
        done = scripted(tree, "prerm", "remove")
        assert (done.returncode, done.stdout) == (0, "")
        assert "registrations that stay, and come back at every boot: 2." in done.stderr
        done = scripted(tree, "postrm", "remove")
        assert (done.returncode, done.stderr) == (0, "")
        assert listing(tree) == kept
        (tree / LOCK).parent.mkdir()
        (tree / LOCK).touch()
        with (tree / LOCK).open() as lock:
            flock(lock, LOCK_EX)  # as another copy does that is at work
            done = scripted(tree, "postrm", "purge")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(listing(tree).keys() ^ before.keys()) == ["run/binfmt-setup", LOCK]
        done = scripted(tree, "postrm", "purge")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert listing(tree) == before
