"""A tree of another user's, which root gives to --root: what it cannot make root do."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from binfmt_setup.model.binfmt_d import MARKER
from tests.many_users import PYTHON

if TYPE_CHECKING:
    from tests.many_users import ManyUsers

TREE = """
mkdir -p /mnt/theirs/tree/etc/systemd /mnt/theirs/tree/usr/bin /mnt/theirs/tree/bin
mkdir -p /mnt/theirs/tree/usr/lib/systemd
cd /mnt/theirs/tree
cp /usr/bin/qemu-aarch64-static usr/bin; cp /bin/sh bin; cp /etc/os-release etc
cp /bin/sh usr/lib/systemd/systemd; cp /bin/sh usr/lib/systemd/systemd-binfmt
"""
OUTSIDE = (
    "mkdir -m 755 /mnt/outside; mkdir /mnt/outside/binfmt.d; echo precious >/mnt/outside/file\n"
    f"echo '{MARKER}' >/mnt/outside/binfmt-setup.service\n"
)
SWAPS = """
import ctypes, os
libc, etc = ctypes.CDLL(None), b"/mnt/theirs/tree/etc/"
os.makedirs(etc + b"binfmt.d")
os.makedirs(etc + b"systemd/system")
os.symlink("/mnt/outside", etc + b"evil")
print("ready", flush=True)
while True:
    for name in (b"binfmt.d", b"systemd/system"):
        libc.renameat2(-100, etc + name, -100, etc + b"evil", 2)
"""


def outside(users: ManyUsers) -> str:
    return users.root("find", "/mnt/outside", "-printf", "%p %u %m %s %T@\n").stdout


def test_no_link_in_a_strangers_tree_leads_out_of_it(users: ManyUsers) -> None:
    links = "ln -s /mnt/outside etc/systemd/system; ln -s /mnt/outside/binfmt.d etc/binfmt.d"
    users.prepared(root=OUTSIDE, stranger=TREE + links)
    before = outside(users)
    for words in (("install", "arm64"), ("check",), ("status",), ("uninstall",)):
        done = users.tool(*words, "--root", "/mnt/theirs/tree")
        assert "precious" not in done.stdout + done.stderr
    assert outside(users) == before


def test_nor_does_one_that_comes_and_goes(users: ManyUsers) -> None:
    users.prepared(root=OUTSIDE, stranger=TREE)
    before, codes = outside(users), set()
    with subprocess.Popen(
        users.as_stranger(PYTHON, "-c", SWAPS), stdout=subprocess.PIPE, text=True, cwd="/"
    ) as attacker:
        assert attacker.stdout is not None
        assert attacker.stdout.readline() == "ready\n"
        for words in (("install", "arm64"), ("uninstall",)) * 3:
            codes.add(users.tool(*words, "--root", "/mnt/theirs/tree").returncode)
        attacker.kill()
    assert codes <= {0, 1, 4}  # 1: what it wrote was gone again when it looked
    assert outside(users) == before


def test_what_is_no_file_in_a_strangers_tree_is_not_waited_for(users: ManyUsers) -> None:
    fifos = "mkdir etc/binfmt.d; rm etc/os-release; mkfifo etc/os-release etc/binfmt.d/a.conf"
    users.prepared(stranger=f"{TREE}{fifos}\nmkfifo /mnt/theirs/qemu.tar")
    for words in (
        ("check", "--root", "/mnt/theirs/tree"), ("install", "arm64", "--root", "/mnt/theirs/tree"),
        ("install", "arm64", "--qemu", "/mnt/theirs/qemu.tar", "--private",
         "--no-persist"),
        ("explain", "/mnt/theirs/qemu.tar"),
    ):  # fmt: skip
        users.tool(*words)  # within the time that a test has
