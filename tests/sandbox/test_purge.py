"""Purging the Debian package leaves a tree as `uninstall` does: nothing of ours, all of others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.bootlab import listing
from tests.own_folder import own_folder
from tests.own_namespace import CLI, TOP, in_namespace, run

POSTRM = TOP / "packaging" / "debian" / "binfmt-setup.postrm"
BUSYBOX = shutil.which("busybox")
QEMU = Path("/usr/bin/qemu-aarch64-static")
DROP_IN = "systemd-binfmt.service.d/binfmt-setup.conf"
APPLETS = ("sh", "grep", "sed", "rm", "rmdir", "readlink")
NULL = "dev/null"
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
    for name in ("usr/bin/qemu-aarch64-static", "opt/qemu-riscv64"):
        shutil.copy(QEMU.with_name(f"qemu-{name.split('-')[1]}-static"), tree / name)
    return listing(tree)


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
        shutil.copy(POSTRM, tree / "postrm")
        script = ("chroot", tree, "/bin/sh", "/postrm")
        done = in_namespace([*script, "remove"])
        assert (done.returncode, done.stderr) == (0, "")
        assert {name for name in listing(tree) if name != "postrm"} == set(kept)
        done = in_namespace([*script, "purge"])
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        (tree / "postrm").unlink()
        (tree / NULL).write_text("")
        assert listing(tree) == before
