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

NEEDED = ("mke2fs", "e2fsck", "debugfs", "depmod", "cpio", "mmdebstrap", "busybox")
# ext4 asks for crc32c by that name, so modules.dep does not know of it.
ROOT_MODULES = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
MODULES = (*ROOT_MODULES, "binfmt_misc", "autofs4")
# Hardware that is not there need not be waited for.
MASKED = ("systemd-udevd.service", "systemd-logind.service", "systemd-networkd.service",
          "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_reap.service",
          "getty@tty1.service")  # fmt: skip
SECONDS = 420
COUNTED = {False: ("-accel", "tcg,thread=multi"), True: ("-accel", "tcg", "-icount", "shift=1")}
INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in /modules/*; do /bin/busybox insmod $module; done
/bin/busybox mount -t ext4 /dev/vda /root || /bin/busybox reboot -f
exec /bin/busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class Hardware:
    """A machine of one of Debian's architectures, as QEMU emulates it.

    `kernel` is the package with its kernel, `package` the one with its emulator; `words` are said
    to the kernel besides the usual ones. With `counted` its clock goes by what it executed: no
    limit of time in there passes because this machine is busy.
    """

    architecture: str
    package: str
    emulator: str
    machine: str
    processor: str
    console: str
    kernel: str
    disk: str = "virtio-blk-pci"
    memory: int = 1024
    processors: int = 1
    seconds: int = SECONDS
    counted: bool = False
    words: tuple[str, ...] = ()

    def why_not(self) -> str:
        """Why this machine cannot emulate that one; empty when it can."""
        if os.geteuid() != 0:
            return "making file systems needs root"
        needed = (self.emulator, *NEEDED)
        lacking = [name for name in needed if not shutil.which(name, path=bootlab.CLEAN["PATH"])]
        return f"not installed: {', '.join(lacking)}" if lacking else ""


AMD64 = Hardware(
    "amd64", "qemu-system-x86", "qemu-system-x86_64", "q35",
    # Under QEMU 7.2 a kernel 6.12 that uses cmpxchg16b dies now and then in its memory
    # allocator, with the flags register overwritten.
    "max,-cx16", "ttyS0", "linux-image-cloud-amd64",
)  # fmt: skip


@dataclass(frozen=True)
class Kernel:
    """A distribution's kernel with its modules below `folder`."""

    folder: Path
    release: str

    @property
    def image(self) -> Path:
        """What is booted; on some architectures it is not compressed, since forky it has moved."""
        places = (f"boot/vmlinu[xz]-{self.release}", f"lib/modules/{self.release}/vmlinuz")
        return next(path for place in places for path in self.folder.glob(place))

    @property
    def busybox(self) -> Path:
        """The shell and its commands, for the initial root."""
        return next(self.folder.glob("**/bin/busybox"))

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


def fetch(suite: str, architecture: str, packages: str, archive: Path) -> None:
    """Packages of a suite, with what they depend on, unpacked into an archive; nothing is run."""
    run("mmdebstrap", "--mode=root", "--variant=extract", *bootlab.DATED,
        f"--architectures={architecture}", f"--include={packages}", suite, archive,
        f"deb {bootlab.MIRROR} {suite} main")  # fmt: skip


def kernel_of(suite: str, hardware: Hardware = AMD64) -> Kernel:
    """The suite's kernel for virtual machines, unpacked and kept."""
    folder = bootlab.cache_directory() / f"kernel-{suite}-{hardware.kernel}"
    with bootlab.making(folder.name):
        if folder.is_dir():
            return Kernel(folder, release_in(folder))
        with tempfile.TemporaryDirectory(dir=bootlab.cache_directory()) as temporary:
            archive = Path(temporary, "kernel.tar")
            fetch(suite, hardware.architecture, f"{hardware.kernel},busybox-static", archive)
            parts = Path(temporary, "parts")
            parts.mkdir()
            run("tar", "-C", parts, "-xf", archive, "--wildcards", "*/vmlinu*", "*lib/modules/*",
                "*bin/busybox")  # fmt: skip
            if not (parts / "lib").exists():
                (parts / "lib").symlink_to("usr/lib")
            run("depmod", "-b", parts, release_in(parts))
            parts.rename(folder)
    return Kernel(folder, release_in(folder))


def release_in(folder: Path) -> str:
    """The release of the one kernel there."""
    return next(folder.glob("lib/modules/*")).name


def initrd(kernel: Kernel, where: Path) -> Path:
    """An initial root that loads what the disk needs and goes on."""
    tree = where / "initrd"
    for name in ("bin", "dev", "root", "modules"):
        (tree / name).mkdir(parents=True)
    shutil.copy(kernel.busybox, tree / "bin/busybox")
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
    hardware: Hardware = AMD64
    size: str = "1500M"

    def disk(self) -> None:
        """Make the disk from the tree."""
        image = self.where / "disk.img"
        image.unlink(missing_ok=True)
        run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", self.box.tree, image,
            self.size)  # fmt: skip

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
        answers = sorted(self.box.path(LAB).glob("answer.*"))
        shown = "\n".join(f"{p.name}: {p.read_text(errors='replace')[-1500:]}" for p in answers)
        said = f"{console}{self.box.read(f'{LAB}/log')}\n{shown}"
        assert self.box.path(f"{LAB}/answer.finished").exists(), f"the stage broke off:\n{said}"
        return console

    def _run(self, image: Path) -> str:
        made = self.hardware
        masked = (*MASKED, f"serial-getty@{made.console}.service")
        words = [f"console={made.console}", "root=/dev/vda", "rw", "panic=-1", "quiet",
                 "systemd.show_status=0", *(f"systemd.mask={unit}" for unit in masked),
                 *made.words]  # fmt: skip
        done = subprocess.run(
            [made.emulator, "-M", made.machine, *COUNTED[made.counted],
             "-cpu", made.processor, "-smp", str(made.processors), "-m", str(made.memory),
             "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none",
             "-serial", "stdio", "-no-reboot",
             "-drive", f"id=d0,file={image},format=raw,if=none,cache=unsafe",
             "-device", f"{made.disk},drive=d0",
             "-device", made.disk.replace("blk", "rng"),
             "-kernel", str(self.kernel.image), "-initrd", str(self.where / "initrd.cpio"),
             "-append", " ".join(words)],
            env=bootlab.CLEAN, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=made.seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout[-4000:]
