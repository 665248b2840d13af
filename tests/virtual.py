"""A whole virtual machine with a distribution's kernel and systemd, under QEMU's TCG.

Slow (no hardware virtualisation is asked for), and therefore used by scripts/boot-test only.
It shows what a container cannot: old kernels, module loading, the automount, and the initial
user namespace.
"""

from __future__ import annotations

import lzma
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests import bootlab
from tests.bootlab import LAB, Machine, run

EMULATOR = "qemu-system-x86_64"
NEEDED = (EMULATOR, "mke2fs", "e2fsck", "debugfs", "depmod", "cpio", "mmdebstrap", "busybox")
MODULES = ("virtio_pci", "virtio_blk", "ext4", "binfmt_misc", "autofs4")
ROOT_MODULES = ("virtio_pci", "virtio_blk", "ext4")
# Hardware that is not there need not be waited for.
MASKED = ("systemd-udevd.service", "systemd-logind.service", "systemd-networkd.service",
          "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_reap.service",
          "serial-getty@ttyS0.service", "getty@tty1.service")  # fmt: skip
SECONDS = 420
# Under QEMU 7.2 a kernel 6.12 that uses cmpxchg16b dies now and then in its memory allocator,
# with the flags register overwritten.
PROCESSOR = "max,-cx16"
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in /modules/*; do /bin/busybox insmod $module; done
/bin/busybox mount -t ext4 /dev/vda /root || /bin/busybox reboot -f
exec /bin/busybox switch_root /root /sbin/init
"""


def why_not() -> str:
    """Why this machine cannot run the full form; empty when it can."""
    if os.geteuid() != 0:
        return "making file systems needs root"
    lacking = [name for name in NEEDED if not shutil.which(name, path=bootlab.CLEAN["PATH"])]
    return f"not installed: {', '.join(lacking)}" if lacking else ""


@dataclass(frozen=True)
class Kernel:
    """A distribution's kernel with its modules below `folder`."""

    folder: Path
    release: str

    @property
    def image(self) -> Path:
        """What is booted."""
        return self.folder / "boot" / f"vmlinuz-{self.release}"

    def modules(self, *names: str) -> list[Path]:
        """The files of these modules and of all they need, in the order of loading."""
        top = self.folder / "lib" / "modules" / self.release
        needs: dict[str, list[str]] = {}
        for line in (top / "modules.dep").read_text().splitlines():
            path, _, rest = line.partition(":")
            needs[path] = rest.split()
        stem = {Path(path).name.partition(".")[0]: path for path in needs}
        wanted = [stem[name] for name in names if name in stem]
        ordered = [path for one in wanted for path in [*reversed(needs[one]), one]]
        return [top / path for path in dict.fromkeys(ordered)]


def kernel_of(suite: str) -> Kernel:
    """The suite's kernel for virtual machines, unpacked and kept."""
    folder = bootlab.cache_directory() / f"kernel-{suite}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=bootlab.cache_directory()) as temporary:
            archive = Path(temporary, "kernel.tar")
            run("mmdebstrap", "--mode=root", "--variant=extract",
                "--include=linux-image-cloud-amd64", suite, archive,
                f"deb {bootlab.MIRROR} {suite} main")  # fmt: skip
            parts = Path(temporary, "parts")
            parts.mkdir()
            run("tar", "-C", parts, "-xf", archive, "--wildcards", "./boot/*", "*lib/modules/*")
            if not (parts / "lib").exists():
                (parts / "lib").symlink_to("usr/lib")
            release = next(parts.glob("boot/vmlinuz-*")).name.partition("-")[2]
            run("depmod", "-b", parts, release)
            parts.rename(folder)
    return Kernel(folder, next(folder.glob("boot/vmlinuz-*")).name.partition("-")[2])


def initrd(kernel: Kernel, where: Path) -> Path:
    """An initial root that loads what the disk needs and goes on."""
    tree = where / "initrd"
    for name in ("bin", "dev", "root", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    for number, module in enumerate(kernel.modules(*ROOT_MODULES)):
        (tree / "modules" / f"{number:02}.ko").write_bytes(unpacked(module))
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    image = where / "initrd.cpio"
    with image.open("wb") as stream:
        names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=tree, input=names.encode(),
                       stdout=stream, check=True)  # fmt: skip
    return image


def unpacked(module: Path) -> bytes:
    """A module's bytes."""
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def add_modules(box: Machine, kernel: Kernel) -> None:
    """Give the machine the modules that its systemd loads by itself."""
    top = kernel.folder / "lib" / "modules" / kernel.release
    merged = box.path("/lib").is_symlink()
    folder = box.path(f"{'/usr/lib' if merged else '/lib'}/modules/{kernel.release}")
    for module in kernel.modules(*MODULES):
        place = folder / module.relative_to(top)
        place = place.with_name(place.name.removesuffix(".xz"))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(unpacked(module))
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        if (top / name).exists():
            shutil.copy(top / name, folder)
    run("depmod", "-b", box.tree, kernel.release)


@dataclass(frozen=True)
class Virtual:
    """A machine's tree as a disk, with a kernel to boot it."""

    box: Machine
    kernel: Kernel
    where: Path

    def disk(self) -> None:
        """Make the disk from the tree."""
        image = self.where / "disk.img"
        image.unlink(missing_ok=True)
        run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", self.box.tree, image, "1500M")

    def boot(self, script: str) -> str:
        """Boot the disk, run a stage, power off, and fetch the answers; returns the console."""
        image = self.where / "disk.img"
        self.box.stage(script)
        stage = self.box.path(f"{LAB}/stage")
        # Whatever way the last boot ended, it starts from a sound file system, as at home.
        subprocess.run(["e2fsck", "-fy", image], env=bootlab.CLEAN, capture_output=True,
                       stdin=subprocess.DEVNULL, check=False)  # fmt: skip
        for request in (f"rm {LAB}/stage", f"write {stage} {LAB}/stage", f"rm {LAB}/docker"):
            run("debugfs", "-w", "-R", request, image)
        console = self._run(image)
        run("debugfs", "-R", f"rdump {LAB} {self.where}", image)
        for found in (self.where / "lab").glob("*"):
            if found.is_file():
                shutil.copy(found, self.box.path(LAB))
        shutil.rmtree(self.where / "lab")
        said = console + self.box.read(f"{LAB}/log")
        assert self.box.path(f"{LAB}/answer.finished").exists(), f"the stage broke off:\n{said}"
        return console

    def _run(self, image: Path) -> str:
        words = ["systemd.show_status=0", *(f"systemd.mask={unit}" for unit in MASKED)]
        masked = " ".join(words)
        done = subprocess.run(
            [EMULATOR, "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", PROCESSOR, "-smp", "1",
             "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
             "-serial", "stdio", "-no-reboot",
             "-drive", f"id=d0,file={image},format=raw,if=none,cache=unsafe",
             "-device", "virtio-blk-pci,drive=d0", "-device", "virtio-rng-pci",
             "-kernel", str(self.kernel.image), "-initrd", str(self.where / "initrd.cpio"),
             "-append", f"console=ttyS0 root=/dev/vda rw panic=-1 quiet {masked}"],
            env=bootlab.CLEAN, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout[-4000:]
