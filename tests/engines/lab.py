"""A machine in namespaces: engines under test over this machine's files, its own registry.

User, mount, network, process and cgroup namespaces of its own; everything in it ends and
vanishes with process 1. The machine's registry, network and engines stay out of reach.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
TOP = HERE.parents[1]
CGROUPS = Path("/sys/fs/cgroup")
NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--cgroup")
SECONDS = 120
SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
TUN_FOR_ALL = """
if [ -d /dev/net ]; then
    mount -t tmpfs -o mode=755,size=64k tun /dev/net
    mknod -m 666 /dev/net/tun c 10 200
fi
exec "$@"
"""
"""Lets users of the lab make networks, as udev does everywhere; seen in its mounts alone."""


class NoLab(Exception):
    """This machine lets no lab be made; the words say why."""


class Lab:
    """One lab, from start to stop; `users` is how many of this machine's users it has.

    With all of them it is a host to this tool, and to container runtimes, which then do what only
    a host's root may.
    """

    def __init__(self, box: Path, users: int = 65536) -> None:
        self.box, self.users = box, users
        self.work = Path(tempfile.mkdtemp(prefix="binfmt-setup-lab-"))
        self.cgroup = self.work.name
        self.holder: subprocess.Popen[str] | None = None
        self.pid = 0

    # -- its life -------------------------------------------------------------------------

    def start(self) -> None:
        hierarchies = [p for p in (CGROUPS, *CGROUPS.iterdir()) if (p / "cgroup.procs").is_file()]
        for hierarchy in hierarchies:
            own = hierarchy / self.cgroup
            own.mkdir()
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (own / name).is_file() and (hierarchy / name).is_file():
                    (own / name).write_text((hierarchy / name).read_text())
        inner = ["unshare", *NAMESPACES, "--fork", "--kill-child=KILL", "--mount-proc"]
        inner += [str(HERE / "inside.sh"), str(self.box), str(self.work), self.cgroup]
        user = ["unshare", "--user", "sh", "-c", 'echo mine; read go; exec "$@"', "sh", *inner]
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", TUN_FOR_ALL, "sh", *user],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert self.holder.stdin is not None
        self._expect("mine")
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{self.holder.pid}/{name}").write_text(f"0 0 {self.users}")
        for hierarchy in hierarchies:
            (hierarchy / self.cgroup / "cgroup.procs").write_text(str(self.holder.pid))
        self.holder.stdin.write("go\n")
        self.holder.stdin.flush()
        self._expect("ready")
        children = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children")
        self.pid = int(children.read_text().split()[0])

    def _expect(self, word: str) -> None:
        assert self.holder is not None
        assert self.holder.stdout is not None
        said = self.holder.stdout.readline()
        if said.strip() != word:
            rest = "" if self.holder.poll() is None else self.holder.stdout.read()
            raise NoLab(f"no namespaces for engines here: {said}{rest}".strip())

    def stop(self) -> None:
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait(10)
            for stream in (self.holder.stdin, self.holder.stdout):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
        for own in (*CGROUPS.glob(f"*/{self.cgroup}"), CGROUPS / self.cgroup):
            self._remove_cgroup(own)
        shutil.rmtree(self.work, ignore_errors=True)

    @staticmethod
    def _remove_cgroup(top: Path) -> None:
        """Remove a cgroup with those in it; the kernel needs a moment to reap the dead."""
        for _ in range(100):
            for folder, _, _ in os.walk(top, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
            if not top.exists():
                return
            time.sleep(0.05)

    # -- running things in it ---------------------------------------------------------------

    def command(self, *argv: str, **variables: str) -> list[str]:
        measured = {k: v for k, v in os.environ.items() if k.startswith("COVERAGE")}
        settings = {"PATH": SEARCH, "HOME": "/run/home", "LC_ALL": "C.UTF-8"}
        words = [f"{key}={value}" for key, value in {**settings, **measured, **variables}.items()]
        enter = ["nsenter", "--target", str(self.pid), "--user", *NAMESPACES, "--"]
        return [*enter, "env", "-i", *words, *argv]

    def run(self, *argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*argv, **variables), cwd=TOP, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=SECONDS,
        )  # fmt: skip

    def ok(self, *argv: str, **variables: str) -> str:
        done = self.run(*argv, **variables)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def spawn(self, log: str, *argv: str) -> None:
        """Start a daemon whose words go to a file in /run/log."""
        self.ok(
            "sh", "-c", f'"$@" > /run/log/{log} 2>&1 & echo $! > /run/log/{log}.pid', "sh", *argv
        )

    def kill(self, log: str, signal: str = "TERM") -> None:
        self.run("sh", "-c", f"kill -{signal} $(cat /run/log/{log}.pid)")

    def until(self, *argv: str, seconds: float = 20, log: str = "") -> None:
        """Wait until a command succeeds."""
        end = time.monotonic() + seconds
        while self.run(*argv).returncode:
            if time.monotonic() > end:
                raise AssertionError(f"{argv} did not succeed: {self.run('tail', log).stdout}")
            time.sleep(0.1)

    def tool(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run binfmt-setup."""
        return self.run(sys.executable, "-m", "binfmt_setup", *arguments, **variables)

    def python(self, code: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-c", code)

    # -- its registry and engines -------------------------------------------------------------

    def install(self, *platforms: str) -> None:
        done = self.tool("install", *platforms, "--private", "--no-persist")
        assert done.returncode == 0, done.stdout + done.stderr

    def forget_all(self) -> None:
        self.ok(
            "find", str(BINFMT), "-name", "qemu-*", "-exec", "sh", "-c", "echo -1 > $0", "{}", ";"
        )

    def dockerd(self, *options: str) -> None:
        self.spawn(
            "dockerd", "dockerd", "--iptables=false", "--ip6tables=false", "--bridge=none", *options
        )  # fmt: skip
        self.until("docker", "info", log="/run/log/dockerd")

    def stop_dockerd(self) -> None:
        self.kill("dockerd", "CONT")
        self.kill("dockerd")
        self.until("sh", "-c", "! kill -0 $(cat /run/log/dockerd.pid)")

    def registry(self) -> None:
        """A registry of images at 127.0.0.1:5000, in the lab's own network."""
        config = (
            "version: 0.1\nlog: {level: error}\n"
            "storage: {filesystem: {rootdirectory: /run/registry}}\n"
            "http: {addr: '127.0.0.1:5000'}\n"
        )
        self.ok("sh", "-c", 'printf %s "$0" > /run/registry.yml', config)
        self.spawn("registry", "docker-registry", "serve", "/run/registry.yml")
        self.until("bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5000", log="/run/log/registry")
