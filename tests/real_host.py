"""A host of another architecture in a virtual machine: this clone on it, and what it needs.

Used by scripts/boot-test --arch only: it takes minutes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests import bootlab, virtual
from tests.bootlab import LAB, Machine, run

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = "systemd-sysv,udev,kmod,python3,python3-venv,dbus,procps"
CLONE, WHEELS = "/srv/clone", "/srv/wheels"
FOREIGN = "x86_64"
PYTHONS = {"bookworm": "3.11"}
RUNS = f"binfmt-probe target={FOREIGN}"
# Of the clone, what the tests of documents and scripts look at is needed too.
NOT_CLONED = (".git", ".venvs", ".engines", "dist", "site")


class Kind(NamedTuple):
    """One kind of host: its release, its hardware, and where that release has its static QEMU."""

    suite: str
    hardware: virtual.Hardware
    wheels: str
    qemu: str = "qemu-user-static"
    suffix: str = "-static"

    def emulator(self, target: str) -> str:
        """Where the emulator of a target lies there."""
        return f"/usr/bin/qemu-{target}{self.suffix}"


ARM64 = virtual.Hardware(
    "arm64", "qemu-system-arm", "qemu-system-aarch64", "virt", "neoverse-n1", "ttyAMA0",
    "linux-image-cloud-arm64",
)  # fmt: skip
KINDS = {"arm64": Kind("bookworm", ARM64, "manylinux2014_aarch64")}
# What Debian's own start of a foreign program looks like, with the exit status after it.
START = f"""chroot {LAB}/root /{FOREIGN} one </dev/null
echo "status $?"
"""
# As bootlab.UPGRADE, for this emulator.
HELPERS = (
    bootlab.pinned(FOREIGN, 2)
    + r"""
upgrade() {
    cp "$1" "$1.dpkg-new"
    mv -f "$1.dpkg-new" "$1"
    for i in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(pinned)" = "$(stat -Lc %i "$1")" ] && return
        sleep 1
    done
    return 1
}
restart() {
    systemctl restart systemd-binfmt
    for n in $(seq 100); do
        [ "$(systemctl is-active binfmt-setup.service)" = active ] && return
        sleep 0.5
    done
}
"""
)


@contextlib.contextmanager
def machine(kind: Kind) -> Iterator[virtual.Virtual]:
    """A fresh host of this kind, with the clone, the wheels, its QEMU and a foreign program."""
    base = bootlab.base_tree(kind.suite, PACKAGES, kind.hardware.architecture)
    kernel = virtual.kernel_of(kind.suite, kind.hardware)
    with tempfile.TemporaryDirectory(prefix="host-", dir=bootlab.cache_directory()) as folder:
        tree = Path(folder, "tree")
        bootlab.copy_tree(base, tree)
        box = Machine(tree)
        bootlab.furnish(box)
        box.path(bootlab.QEMU).unlink()
        for emulator in emulators(kind).glob("qemu-*"):
            shutil.copy(emulator, box.path("/usr/bin"))
        shutil.copy(bootlab.TOP / "binfmt_setup/data/probes" / FOREIGN, box.path(f"{LAB}/root"))
        box.write(f"{LAB}/foreign", START)
        driver = bootlab.DRIVER.replace("TimeoutStartSec=200", "TimeoutStartSec=infinity")
        box.write("/etc/systemd/system/lab.service", driver)
        clone(box, kind)
        virtual.add_modules(box, kernel)
        hardware = replace(kind.hardware, memory=2048, processors=2, seconds=3600)
        made = virtual.Virtual(box, kernel, Path(folder), hardware, "2500M")
        virtual.initrd(kernel, made.where)
        made.disk()
        yield made


def clone(box: Machine, kind: Kind) -> None:
    """This checkout, and what pip would fetch for it."""
    shutil.copytree(bootlab.TOP, box.path(CLONE), symlinks=True,
                    ignore=shutil.ignore_patterns(*NOT_CLONED, "__pycache__"))  # fmt: skip
    run("chown", "-R", "0:0", box.path(CLONE))
    for listed in ("tool", "build"):
        run(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--no-deps",
            f"--python-version={PYTHONS[kind.suite]}", f"--platform={kind.wheels}",
            "--require-hashes", "-r", bootlab.TOP / f"requirements/{listed}.txt",
            "-d", box.path(WHEELS), environment=_for_pip())  # fmt: skip


def _for_pip() -> dict[str, str]:
    """Where this machine gets its packages from."""
    return {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("PIP_")}


def emulators(kind: Kind) -> Path:
    """The emulators of the release, for programs of amd64, i386 and arm; unpacked and kept."""
    folder = bootlab.cache_directory() / f"qemu-{kind.suite}-{kind.hardware.architecture}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=bootlab.cache_directory()) as temporary:
            archive, parts = Path(temporary, "qemu.tar"), Path(temporary, "parts")
            virtual.fetch(kind.suite, kind.hardware.architecture, kind.qemu, archive)
            parts.mkdir()
            names = [f".{kind.emulator(target)}" for target in ("x86_64", "i386", "arm")]
            run("tar", "-C", parts, "--strip-components=3", "-xf", archive, *names)
            parts.rename(folder)
    return folder
