"""Hosts to be reached over SSH on the loopback: a booted systemd each, with a registry of its own.

Their ids are mapped one to one, so binfmt-setup takes them for hosts; being user namespaces, each
has a registry of its own all the same (Linux 6.7). They share a network namespace, which the caller
has made for them, so no port of this machine is taken.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from tests import bootlab  # noqa: E402 - found by the line above

if TYPE_CHECKING:
    from collections.abc import Iterator

# The last three are for the package of the tool, as Ansible installs it, and for bootstrap.
PACKAGES = (
    "systemd-sysv,openssh-server,python3,procps,dbus,kmod,python3-apt,python3-jinja2,python3-venv"
)
# A host on which users work, with sudo and podman; one tree for all that needs such a host.
WITH_USERS = (
    "systemd-sysv,dbus,dbus-user-session,libpam-systemd,procps,kmod,python3,podman,uidmap,crun,"
    "slirp4netns,sudo,openssh-server"
)
FIRST_PORT = 2201
BOOT_SECONDS = 60
MOUNT = "etc/systemd/system/sysinit.target.wants/proc-sys-fs-binfmt_misc.mount"
SERVER = """Port {port}
ListenAddress 127.0.0.1
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
Subsystem sftp internal-sftp
"""
CLIENT = ("-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no",
          "-o", "LogLevel=ERROR")  # fmt: skip


@dataclass
class Guest:
    """One host: its tree, its port, and the process that it is."""

    name: str
    tree: Path
    port: int
    key: Path
    process: subprocess.Popen[bytes] | None = None
    groups: list[Path] = field(default_factory=list)

    def start(self) -> None:
        """Boot it, in control groups of its own; returns before it is up."""
        self.groups = [p / f"sshlab-{os.getpid()}-{self.name}" for p in bootlab.cgroup_parents()]
        for group in self.groups:
            group.mkdir(exist_ok=True)  # a killed run of the same number has left it
        enter = "".join(f"echo $$ >'{group}/cgroup.procs'; " for group in self.groups)
        boot = (
            f"exec {bootlab.NSPAWN} -q -D '{self.tree}' --private-users=0:4294967295 "
            "--private-users-ownership=auto --register=no --keep-unit --boot"
        )
        with (self.tree.parent / f"{self.name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                ["sh", "-c", enter + boot], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**bootlab.CLEAN, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip

    def wait(self) -> None:
        """Until it answers, and its registry is its own and empty."""
        end = time.monotonic() + BOOT_SECONDS
        while not self._answers():
            if time.monotonic() > end:
                said = (self.tree.parent / f"{self.name}.log").read_text(errors="replace")
                sys.exit(f"{self.name} did not come up: {said[-2000:]}")
            time.sleep(0.05)
        names = set(self.ssh(f"ls {bootlab.REGISTRY}").split())
        # Of its own it has what Debian's Python brings.
        if names - {"python3.11"} != {"register", "status"}:
            sys.exit(f"{self.name} has no registry of its own: {names}")

    def _answers(self) -> bool:
        address = ("127.0.0.1", self.port)
        with contextlib.suppress(OSError), socket.create_connection(address, 1) as stream:
            return stream.recv(4) == b"SSH-"
        return False

    def ssh(self, script: str) -> str:
        """Run a script on it, which must succeed; what it printed."""
        done = subprocess.run(
            ["ssh", *CLIENT, "-i", self.key, "-p", str(self.port), "root@127.0.0.1", script],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"{self.name}: {script}\n{done.stdout}{done.stderr}")
        return done.stdout

    def stop(self) -> None:
        """Shut it down; its groups go with it."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(BOOT_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for group in self.groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


def base_tree(packages: str = PACKAGES) -> Path:
    """What every tree is made of; it is fetched, so make it where there is a network."""
    return bootlab.base_tree("bookworm", packages)


def make(
    folder: Path, names: list[str], zipapp: Path | None, without_qemu: str = "",
    packages: str = PACKAGES,
) -> list[Guest]:  # fmt: skip
    """Trees made of one, with QEMU but for the one that shall have none."""
    base = base_tree(packages)
    key = folder / "key"
    if not key.exists():
        bootlab.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    guests = []
    for number, name in enumerate(names):
        tree = folder / name
        bootlab.copy_tree(base, tree)
        if name != without_qemu:
            shutil.copy(bootlab.QEMU, tree / bootlab.QEMU.lstrip("/"))
        if zipapp:
            shutil.copy(zipapp, tree / "usr/local/bin/binfmt-setup")
        (tree / MOUNT).parent.mkdir(parents=True, exist_ok=True)
        (tree / MOUNT).symlink_to("/lib/systemd/system/proc-sys-fs-binfmt_misc.mount")
        (tree / "etc/hostname").write_text(f"{name}\n")
        (tree / "etc/machine-id").write_text("")
        port = FIRST_PORT + number
        (tree / "etc/ssh/sshd_config").write_text(SERVER.format(port=port))
        (tree / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(f"{key}.pub", tree / "root/.ssh/authorized_keys")
        guests.append(Guest(name, tree, port, key))
    return guests


@contextlib.contextmanager
def running(guests: list[Guest]) -> Iterator[float]:
    """All of them up; gives the seconds that took."""
    start = time.monotonic()
    try:
        for guest in guests:
            guest.start()
        for guest in guests:
            guest.wait()
        yield time.monotonic() - start
    finally:
        for guest in guests:
            if guest.process:
                guest.process.send_signal(signal.SIGTERM)
        for guest in guests:
            guest.stop()


def inventory(guests: list[Guest]) -> str:
    """The hosts as Ansible reads them."""
    options = " ".join(CLIENT)
    return "[hosts]\n" + "".join(
        f"{guest.name} ansible_host=127.0.0.1 ansible_port={guest.port} ansible_user=root "
        f"ansible_ssh_private_key_file={guest.key} ansible_ssh_common_args='{options}' "
        "ansible_python_interpreter=/usr/bin/python3\n"
        for guest in guests
    )
