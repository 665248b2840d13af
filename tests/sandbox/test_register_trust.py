"""The script at boot and files that others can change, in every shell, on the real kernel."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.boot import units
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from tests.own_namespace import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

pytestmark = pytest.mark.one_python

ARM64 = target_named("aarch64")
NAME = ARM64.entry_name
SCRIPT = TOP / "systemd" / "register"
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
# An empty file system that is root's alone: in the namespace that has it, nobody else gets there.
TREE = (
    "mount -t tmpfs -o mode=755 none /mnt && mkdir -p /mnt/d/e && cp {} /mnt/d/e/qemu && "
    "ln -s e /mnt/d/link && {}"
)
QEMU = "/mnt/d/e/qemu"


@dataclass(frozen=True)
class Boot:
    """What the script does at boot, in one of the shells."""

    registry: Sandbox
    shell: list[str]
    emulator: Path
    config: Path

    def of(self, prepare: str, path: str = QEMU, sha256: str = "") -> tuple[int, str]:
        """Prepare a tree on /mnt and have the script register what lies at a path in it."""
        done = self.registry.sh(TREE.format(self.emulator, prepare))
        assert done.returncode == 0, done.stderr
        wanted = Registration(NAME, path, "OF", ARM64.magic, ARM64.mask)
        self.config.write_text(units.config_text(wanted, None, by_unit=True, sha256=sha256))
        return self.again()

    def again(self) -> tuple[int, str]:
        """Have it do that once more: its status, and what it said."""
        done = self.registry.run(*self.shell, str(SCRIPT), str(self.config))
        return done.returncode, done.stderr


@pytest.fixture(params=SHELLS)
def boot(request: pytest.FixtureRequest, registry: Sandbox, qemu: Path, tmp_path: Path) -> Boot:
    words = SHELLS[request.param]
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    return Boot(registry, words, qemu / "qemu-aarch64-static", tmp_path / f"{NAME}.conf")


@pytest.mark.parametrize("path", [QEMU, "/mnt/d/link/qemu", "/mnt/d/e/../link/./qemu"])
def test_what_is_roots_alone_is_registered(boot: Boot, path: str) -> None:
    assert boot.of("true", path) == (0, "")
    assert list(boot.registry.entries()) == [NAME]


@pytest.mark.parametrize(
    ("prepare", "path", "why"),
    [
        (f"chmod o+w {QEMU}", QEMU, f"every user can write to {QEMU}"),
        ("chmod g+w /mnt/d", QEMU, "every member of its group can write to /mnt/d"),
        ("chmod 1777 /mnt/d", QEMU, "every user can write to /mnt/d"),
        ("chmod o+w /mnt/d/e", "/mnt/d/link/qemu", "every user can write to /mnt/d/e"),
        (f"chmod 777 /mnt/d && ln -s {QEMU} /mnt/way", "/mnt/way",
         "every user can write to /mnt/d"),
        ("ln -s two /mnt/one && ln -s one /mnt/two", "/mnt/one", "is missing"),
    ],
)  # fmt: skip
def test_what_others_can_change_is_not_registered(
    boot: Boot, prepare: str, path: str, why: str
) -> None:
    status, said = boot.of(prepare, path)
    assert status == 1
    assert why in said
    assert boot.registry.entries() == {}


def test_what_serves_stays_when_its_new_file_is_not_roots(boot: Boot) -> None:
    boot.of("true")
    boot.registry.sh(f"cp {QEMU} {QEMU}.new && mv {QEMU}.new {QEMU} && chmod 777 /mnt/d")
    status, said = boot.again()
    assert status == 1
    assert "every user can write to /mnt/d" in said
    assert list(boot.registry.entries()) == [NAME]


def test_a_file_that_was_changed_since_it_was_brought_is_not_registered(boot: Boot) -> None:
    brought = hashlib.sha256(boot.emulator.read_bytes()).hexdigest()
    assert boot.of("true", QEMU, brought) == (0, "")
    boot.registry.sh("umount /mnt; echo -1 >/proc/sys/fs/binfmt_misc/qemu-aarch64")
    status, said = boot.of(f"printf x >>{QEMU}", QEMU, brought)
    assert status == 1
    assert "it was changed since --qemu brought it" in said
    assert boot.registry.entries() == {}
