"""A private user namespace with a binfmt_misc registry of its own, for each test.

The kernel is the real one, nothing of the host is touched, and no root is needed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.registration import Entry, Registration, parse_entry
from tests import made_host
from tests.emulator_sources import NEW, OLD
from tests.own_namespace import TOP
from tests.packing import Item, deb, docker_save, tar, write
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REGISTRY = Path("/proc/sys/fs/binfmt_misc")
_READY = "echo ready && exec cat >/dev/null"
_HOLD = f"mount -t tmpfs none /run && {_READY}"
# A namespace that owns its files as a container does: /etc and the packages' binfmt.d.
_HOLD_SYSTEM = (
    "mount -t tmpfs -o mode=755 none /run && mkdir /run/etc && "
    "cp -a /etc/os-release /etc/passwd /etc/group /etc/ld.so.cache /etc/alternatives /run/etc && "
    "mount -t tmpfs -o mode=755 none /etc && cp -a /run/etc/. /etc && rm -r /run/etc && "
    f"mkdir -p /etc/systemd/system && mount -t tmpfs -o mode=755 none /usr/lib/binfmt.d && {_READY}"
)
# What `run` makes its namespaces with, so that every test here is one of that, too.
_NAMESPACE = (sys.executable, "-m", "tests.own_namespace", "--bare")
_SECONDS = 120


@dataclass(frozen=True)
class Sandbox:
    """A namespace that lives as long as its holder process."""

    holder: int

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        return subprocess.run(
            [*self.inside, *argv], input=stdin, capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip

    @property
    def inside(self) -> tuple[str, ...]:
        """The words in front of a command that shall run inside."""
        options = ("--user", "--mount", "--preserve-credentials")
        return ("nsenter", f"--target={self.holder}", *options, "--")

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script inside."""
        return self.run("sh", "-c", script)

    def tool(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run binfmt-setup inside."""
        return self.run(sys.executable, "-m", "binfmt_setup", *arguments)

    def json(self, *arguments: str, status: int = 0) -> dict[str, object]:
        """Run binfmt-setup for its JSON, which must fit the schema."""
        done = self.tool(*arguments, "--format", "json")
        assert done.returncode == status, done.stdout + done.stderr
        data = json.loads(done.stdout)
        assert_fits(data)
        return cast("dict[str, object]", data)

    def mount(self) -> None:
        """Mount the registry of this namespace, and see that it is its own."""
        if self.sh(f"mount -t binfmt_misc none {REGISTRY}").returncode:
            pytest.skip("no registry for a user namespace here (Linux 6.7 has it)")
        done = self.sh(f"ls {REGISTRY}")
        assert done.stdout.split() == ["register", "status"], done.stdout + done.stderr

    def register(self, registration: Registration) -> None:
        """Register an entry by hand, as another tool would."""
        done = self.run("sh", "-c", f"cat > {REGISTRY}/register", stdin=registration.line)
        assert done.returncode == 0, done.stderr

    def entries(self) -> dict[str, Entry]:
        """The entries as the kernel shows them."""
        names = self.run("ls", "-U", str(REGISTRY)).stdout.split()
        return {
            name: parse_entry(name, self.run("cat", f"{REGISTRY}/{name}").stdout)
            for name in names
            if name not in ("register", "status")
        }


@contextmanager
def _held(*argv: str) -> Iterator[Sandbox]:
    """A namespace made by a command that says `ready` and then waits."""
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP
    ) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip("this machine allows no private user namespaces")
        try:
            yield Sandbox(holder.pid)
        finally:
            holder.kill()


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that nobody else can change: what is kept elsewhere is not trusted."""
    with tempfile.TemporaryDirectory(prefix="test-", dir=made_host.own_place() or None) as name:
        yield Path(name)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A fresh namespace with nothing mounted in it."""
    with _held(*_NAMESPACE, "sh", "-c", _HOLD) as held:
        yield held


@pytest.fixture
def system() -> Iterator[Sandbox]:
    """A namespace with an own, empty registry that owns its files, too, as a container does."""
    with held_system() as held:
        yield held


@contextmanager
def held_system() -> Iterator[Sandbox]:
    """The same, for whoever is no test.

    A namespace between the tester's and this one sees to it that its root is not the host's.
    """
    between = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    with _held(*between, *_NAMESPACE, "sh", "-c", _HOLD_SYSTEM) as held:
        held.mount()
        yield held


@pytest.fixture
def registry(sandbox: Sandbox) -> Sandbox:
    """A namespace whose own, empty registry is mounted."""
    sandbox.mount()
    return sandbox


@pytest.fixture(scope="session")
def qemu() -> Path:
    """A directory with static emulators; the tests copy from it what they break."""
    found = shutil.which("qemu-aarch64-static")
    if found is None:
        pytest.skip("qemu-user-static is not installed")
    return Path(found).parent


@pytest.fixture
def emulators(qemu: Path, tmp_path: Path) -> Path:
    """A directory of this test's own with an emulator for arm64 and riscv64."""
    directory = tmp_path / "emulators"
    directory.mkdir()
    for target in ("aarch64", "riscv64"):
        shutil.copy(qemu / f"qemu-{target}-static", directory)
    return directory


@pytest.fixture
def qemu_version(qemu: Path) -> Callable[[str], bytes]:
    """A QEMU for arm64 that says it is another version: the real one with its word changed."""
    data = (qemu / "qemu-aarch64-static").read_bytes()
    start = data.index(b"qemu-aarch64 version ") + len(b"qemu-aarch64 version ")
    end = data.index(b"\n", start)

    def make(version: str) -> bytes:
        said = f"{version} (a test)".encode().ljust(end - start)
        return data[:start] + said + data[end:]

    return make


@pytest.fixture
def archives(qemu_version: Callable[[str], bytes], tmp_path: Path) -> tuple[Path, Path]:
    """Two versions, one as a .deb and one as docker saves it."""
    old = deb(tar(Item("./usr/bin/qemu-aarch64-static", qemu_version(OLD))))
    new = docker_save(tar(Item("usr/bin/qemu-aarch64", qemu_version(NEW))))
    return write(tmp_path / "old.deb", old), write(tmp_path / "new.tar", new)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[str, ...]:
    """Where this test's emulators are kept."""
    return ("--qemu-store", str(tmp_path / "store" / "qemu"))
