"""A user namespace with many users, whose root is not the host's: root and a stranger in one place.

What the stranger does is done by a real other user, who has no capability and no rights on
anything that is root's. The registry, /etc, /run, /mnt and the folders of binfmt.d and units are
the namespace's own and empty.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.own_namespace import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = "/usr/bin/python3"
"""One that every user can reach; the tester's own may lie in root's home."""
REGISTRY = "/proc/sys/fs/binfmt_misc"
STRANGER = 1000
_FIRST = 100000  # the namespace's root, outside
_AS_STRANGER = ("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups", "--")
_SYSTEM = f"""set -e
mount -t tmpfs -o mode=755 none /run
mkdir /run/etc
cp -a /etc/os-release /etc/passwd /etc/group /etc/ld.so.cache /etc/alternatives /run/etc
chown -R 0:0 /run/etc
mount -t tmpfs -o mode=755 none /etc
cp -a /run/etc/. /etc
rm -r /run/etc
mkdir -p /etc/systemd/system
for place in /usr/lib/binfmt.d /mnt /var/lib/binfmts; do
    [ ! -d $place ] || mount -t tmpfs -o mode=755 none $place
done
mkdir -m 777 /mnt/theirs
mount -t binfmt_misc none {REGISTRY}
"""
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class ManyUsers:
    """The namespace, for as long as its holder lives; `words` stand before what root runs."""

    words: tuple[str, ...]

    def root(self, *argv: str) -> Done:
        """Run a program as root of the namespace."""
        return _run([*self.words, *argv])

    def stranger(self, *argv: str) -> Done:
        """Run one as the other user."""
        return _run(self.as_stranger(*argv))

    def as_stranger(self, *argv: str) -> list[str]:
        """The whole command of that."""
        return [*self.words, *_AS_STRANGER, *argv]

    def prepared(self, *, root: str = "", stranger: str = "") -> None:
        """What root has on the host, and what the stranger then does to it, as shell scripts."""
        for script, run in ((root, self.root), (stranger, self.stranger)):
            done = run("sh", "-euc", script)
            assert done.returncode == 0, done.stderr

    def tool(self, *arguments: str) -> Done:
        """What binfmt-setup says to root; it never ends in a traceback."""
        done = self.root(PYTHON, "-m", "binfmt_setup", *arguments)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def entries(self) -> list[str]:
        """The names of the entries."""
        names = self.root("ls", REGISTRY).stdout.split()
        return [name for name in names if name not in ("register", "status")]


@contextmanager
def many_users(libraries: Path) -> Iterator[ManyUsers]:
    """Such a namespace, with the tool for all; skips the test where none is to be had."""
    if not Path(PYTHON).exists() or not shutil.which("qemu-aarch64-static"):
        pytest.skip("a Python and a QEMU that every user can reach are not installed")
    if os.geteuid() != 0:
        pytest.skip("a namespace with several users takes root, or newuidmap")
    argv = ["unshare", "--user", "--mount", "sh", "-c", "echo born; exec cat"]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "born\n"
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{holder.pid}/{kind}").write_text(f"0 {_FIRST} 65536")
        enter = ("nsenter", f"--target={holder.pid}", "--user", "--mount", "--setuid=0")
        inside = ManyUsers((*enter, "--setgid=0", "--", "env", f"PYTHONPATH={libraries}"))
        inside.prepared(root=_SYSTEM)
        try:
            yield inside
        finally:
            holder.kill()


def _run(argv: list[str]) -> Done:
    return subprocess.run(
        argv, cwd="/", capture_output=True, text=True, errors="surrogateescape",
        timeout=SECONDS, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
