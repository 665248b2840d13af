"""A host for containers of the image, in namespaces: it has a registry of its own and all users.

A user namespace that maps every user as itself is a host to the tool, as `docker run --privileged`
on a real one is; its registry is its own all the same (Linux 6.7). Containers are what a runtime
makes: mounts, a root, capabilities.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

REGISTRY = "/proc/sys/fs/binfmt_misc"
SECONDS = 60
_BECOME = "mount -t tmpfs none /mnt; mkdir /mnt/image; echo ready; exec cat"
_HOLD = ("unshare", "--user", "--mount", "--pid", "--fork", "sh", "-ec",
         f"echo mine; read go; mount -t proc proc /proc; {_BECOME}")  # fmt: skip
# Below an automount it has the /proc on which that lies, and gets what is mounted there.
_SHARED = 'mount --make-rshared /; exec "$@"'
_HOLD_BELOW = ("unshare", "--mount", "--propagation=private", "sh", "-ec", _SHARED, "sh",
               sys.executable, str(Path(__file__).with_name("automount.py")),
               "unshare", "--user", "--mount", "--propagation=slave", "sh", "-ec",
               f"echo mine; read go; {_BECOME}")  # fmt: skip
# What the runtime has mounted: the image, read-only, a /proc of its own, a /dev, a /run, and what
# is bound.
CONTAINER = """
tree=$1 privileges=$2 binds=$3
shift 3
cd /mnt/image
mount --bind "$tree" . && cd /mnt/image
mount --make-private .
mount -t proc proc proc
mount -t tmpfs tmpfs dev && touch dev/null && mount --bind /dev/null dev/null
mount -t tmpfs -o mode=777 tmpfs run
for bind in $binds; do
    mkdir -p "./${bind#*:}"
    mount --rbind "${bind%:*}" "./${bind#*:}"
done
mount -o remount,bind,ro .
exec $privileges chroot . /usr/bin/binfmt "$@"
"""
LEAST = ("setpriv --bounding-set=-all,+sys_chroot --inh-caps=-all --securebits=+noroot_locked "
         "--no-new-privs")  # fmt: skip


@dataclass(frozen=True)
class ImageHost:
    """A host, as long as its first process lives."""

    holder: int
    tree: Path

    @property
    def enter(self) -> tuple[str, ...]:
        """The words in front of what shall run on the host."""
        return ("nsenter", f"--target={self.holder}", "--user", "--mount", "--pid", "--")

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program on the host."""
        return subprocess.run([*self.enter, *argv], input=stdin, capture_output=True, text=True,
                              timeout=SECONDS, check=False)  # fmt: skip

    def container(
        self, *arguments: str, least: bool = False, binds: str = "", **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a container of the image: privileged, or with as little as it can have."""
        return self.run(*self._container(arguments, variables, binds, LEAST if least else ""))

    def persisting(self, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one that gets a tree as its host's root, and has the host's process numbers."""
        words = ("--persist-to", "/host", *arguments)
        argv = self._container(words, {}, f"{root}:/host", LEAST)
        return self.run(*(word for word in argv if word not in ("--pid", "--fork")))

    def _container(
        self, words: Sequence[str], variables: Mapping[str, str], binds: str, privileges: str
    ) -> list[str]:
        """The command on the host that becomes a container."""
        settings = [f"{key}={value}" for key, value in variables.items()]
        unshare = ("unshare", "--mount", "--propagation=slave", "--pid", "--fork")
        return ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *settings, *unshare,
                "sh", "-ec", CONTAINER, "sh", str(self.tree), privileges, binds,
                *words]  # fmt: skip

    @contextmanager
    def started(
        self, *arguments: str, privileges: str = LEAST, binds: str = "", **variables: str
    ) -> Iterator[subprocess.Popen[str]]:
        """A container that stays, with what it says and prints."""
        argv = [*self.enter, *self._container(arguments, variables, binds, privileges)]
        with subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as begun:
            try:
                yield begun
            finally:
                begun.kill()

    def end(self, words: str) -> None:
        """Ask the container whose command line holds these words to end, as a runtime does."""
        done = self.run("pkill", "-TERM", "-f", f"^/usr/bin/python3 .*{words}")
        assert done.returncode == 0, done.stderr

    def mount(self) -> None:
        """Mount the registry, and see that it is this host's own."""
        done = self.run("sh", "-c", f"mount -t binfmt_misc none {REGISTRY} && ls {REGISTRY}")
        assert done.stdout.split() == ["register", "status"], done.stdout + done.stderr

    def entries(self) -> dict[str, str]:
        """The entries by name, as the kernel shows them."""
        names = self.run("ls", REGISTRY).stdout.split()
        return {name: self.run("cat", f"{REGISTRY}/{name}").stdout
                for name in names if name not in ("register", "status")}  # fmt: skip

    def register(self, line: str) -> None:
        """Register an entry by hand, as another tool would."""
        done = self.run("sh", "-c", f"cat >{REGISTRY}/register", stdin=line)
        assert done.returncode == 0, done.stderr


@contextmanager
def image_host(tree: Path, *, automount: bool = False) -> Iterator[ImageHost]:
    """A fresh one, without a mount of its registry, or with an automount that nobody touched."""
    with subprocess.Popen(
        _HOLD_BELOW if automount else _HOLD,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as held:
        assert held.stdin is not None
        assert held.stdout is not None
        assert held.stdout.readline() == "mine\n"
        child = int(Path(f"/proc/{held.pid}/task/{held.pid}/children").read_text().split()[0])
        try:
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{child}/{name}").write_text("0 0 4294967295")
            held.stdin.write("go\n")
            held.stdin.flush()
            assert held.stdout.readline() == "ready\n"
            yield ImageHost(child, tree)
        finally:
            os.kill(child, signal.SIGKILL)  # the first of its processes: all others go with it
