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
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from tests import bootlab, virtual
from tests.bootlab import LAB, Machine, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Step = Callable[[Machine, "Kind"], None]

PACKAGES = "systemd-sysv,udev,kmod,python3,python3-venv,dbus,procps"
# What the tests look for besides, as scripts/test installs it.
FOR_TESTS = ("git,strace,openssl,uidmap,iproute2,busybox-static,qemu-user-static,shellcheck,"
             "bash-completion,zsh,fish,mandoc,groff,man-db,ca-certificates,arch-test")  # fmt: skip
CLONE, WHEELS, VENV = "/srv/clone", "/srv/wheels", "/srv/venv"
FOREIGN = "x86_64"
PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
# MiB; a test asks for gigabytes, of which it uses little.
MEMORY = 12 * 1024
# All unit tests take one to two hours.
SECONDS = 4 * 3600
RUNS = f"binfmt-probe target={FOREIGN}"
# Of the clone, what the tests of documents and scripts look at is needed too.
NOT_CLONED = (".git", ".venvs", ".engines", "dist", "site")


class Kind(NamedTuple):
    """One kind of host: its release, its hardware, and where that release has its static QEMU.

    `wheels` is what pip calls the platform, for newer C libraries too. `kernel` is the release with
    its kernel, where it is another one; `alike` one that boots as another kind does: once will do.
    """

    suite: str
    hardware: virtual.Hardware
    wheels: tuple[str, ...]
    kernel: str = ""
    alike: bool = False
    packages: str = PACKAGES
    packaged: Mapping[str, str] = MappingProxyType({})
    qemu: str = "qemu-user-static"
    suffix: str = "-static"

    @property
    def for_tests(self) -> Kind:
        """The same with what the tests need."""
        return self._replace(
            packages=",".join((self.packages, FOR_TESTS, *filter(None, self.packaged.values())))
        )

    @property
    def python(self) -> str:
        """The version of its Python."""
        return PYTHONS[self.suite]

    def emulator(self, target: str) -> str:
        """Where the emulator of a target lies there."""
        return f"/usr/bin/qemu-{target}{self.suffix}"


AARCH64 = ("manylinux2014_aarch64", "manylinux_2_28_aarch64")
ARM64 = virtual.Hardware(
    "arm64", "qemu-system-arm", "qemu-system-aarch64", "virt", "neoverse-n1", "ttyAMA0",
    "linux-image-cloud-arm64",
    # Where the kernel hides its pages from programs, each system call empties QEMU's own cache of
    # pages, and a loop of calls takes ten times as long.
    words=("nokaslr", "kpti=off"),
)  # fmt: skip
S390X = virtual.Hardware(
    "s390x", "qemu-system-misc", "qemu-system-s390x", "s390-ccw-virtio", "max", "ttysclp0",
    "linux-image-s390x", disk="virtio-blk-ccw",
)  # fmt: skip
PPC64EL = virtual.Hardware(
    "ppc64el", "qemu-system-ppc", "qemu-system-ppc64", "pseries", "power9", "hvc0",
    "linux-image-powerpc64le",
)  # fmt: skip
RISCV64 = virtual.Hardware(
    "riscv64", "qemu-system-misc", "qemu-system-riscv64", "virt", "rv64", "ttyS0",
    "linux-image-riscv64",
)  # fmt: skip
# It needs librt, which has no wheel for s390x.
NO_MYPY = {"librt": "", "mypy": ""}
KINDS = {
    "arm64": Kind("bookworm", ARM64, AARCH64),
    # A processor that runs no 32-bit programs; the kernel panics where its GIC is another one.
    "arm64-a64fx": Kind("bookworm", replace(ARM64, machine="virt,gic-version=3", processor="a64fx"),
                        AARCH64, alike=True),
    "arm64-16k": Kind("bookworm", replace(ARM64, kernel="linux-image-arm64-16k"),
                      AARCH64, kernel="trixie", alike=True),
    "s390x": Kind("bookworm", S390X, ("manylinux2014_s390x",), packaged=MappingProxyType(
                  {"psutil": "", "markupsafe": "python3-markupsafe", **NO_MYPY})),
    "ppc64el": Kind("bookworm", PPC64EL, ("manylinux2014_ppc64le",), packaged=MappingProxyType(
                    {"psutil": "", "pyyaml": "python3-yaml"})),
    # No older release has it.
    "riscv64": Kind("trixie", RISCV64, ("manylinux_2_39_riscv64", "manylinux_2_31_riscv64"),
                    qemu="qemu-user", suffix="", packaged=MappingProxyType(
                        {"psutil": "", "pyyaml": "python3-yaml", "rpds-py": "python3-rpds-py"})),
}  # fmt: skip
# Debian's own programs, of this machine: one is static, the other needs its loader and library.
REAL = ("/bin/busybox", "/bin/dash", "/lib64/ld-linux-x86-64.so.2",
        "/lib/x86_64-linux-gnu/libc.so.6")  # fmt: skip
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
def machine(kind: Kind, *steps: Step, counted: bool = True) -> Iterator[virtual.Virtual]:
    """A fresh host of this kind, with the clone, the wheels, its QEMU and a foreign program.

    The steps are taken before it boots. One that is not `counted` has a clock that goes on when
    this machine is busy.
    """
    base = bootlab.base_tree(kind.suite, kind.packages, kind.hardware.architecture)
    kernel = virtual.kernel_of(kind.kernel or kind.suite, kind.hardware)
    with tempfile.TemporaryDirectory(prefix="host-", dir=bootlab.cache_directory()) as folder:
        tree = Path(folder, "tree")
        bootlab.copy_tree(base, tree)
        box = Machine(tree)
        bootlab.equip(box)
        for emulator in emulators(kind).glob("qemu-*"):
            shutil.copy(emulator, box.path("/usr/bin"))
        shutil.copy(bootlab.TOP / "binfmt_setup/data/probes" / FOREIGN, box.path(f"{LAB}/root"))
        for real in REAL:
            place = box.path(f"{LAB}/root{real}")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(real, place)
        box.write(f"{LAB}/foreign", START)
        driver = bootlab.DRIVER.replace("TimeoutStartSec=200", "TimeoutStartSec=infinity")
        box.write("/etc/systemd/system/lab.service", driver)
        clone(box, kind)
        for step in steps:
            step(box, kind)
        virtual.add_modules(box, kernel)
        hardware = replace(kind.hardware, memory=MEMORY, seconds=SECONDS, counted=counted)
        made = virtual.Virtual(box, kernel, Path(folder), hardware, "5000M")
        virtual.initrd(kernel, made.where)
        made.disk()
        yield made


def clone(box: Machine, kind: Kind) -> None:
    """This checkout, and what pip would fetch for it."""
    shutil.copytree(bootlab.TOP, box.path(CLONE), symlinks=True,
                    ignore=shutil.ignore_patterns(*NOT_CLONED, "__pycache__"))  # fmt: skip
    run("chown", "-R", "0:0", box.path(CLONE))
    for listed in ("tool", "build"):
        # Where there is no wheel, as on s390x, the source is fetched: no host has a compiler.
        pip(kind, "download", "--prefer-binary", "--no-deps", "--require-hashes",
            "-r", bootlab.TOP / f"requirements/{listed}.txt", "-d", box.path(WHEELS))  # fmt: skip


def pip(kind: Kind, *words: str | Path) -> None:
    """Run pip of this machine for such a host."""
    found = {k: v for k, v in os.environ.items() if k == "HOME" or k.startswith("PIP_")}
    run(sys.executable, "-m", "pip", words[0], "--quiet", f"--python-version={kind.python}",
        *(f"--platform={name}" for name in kind.wheels), *words[1:], environment=found)  # fmt: skip


def for_tests(box: Machine, kind: Kind) -> None:
    """What the tests need, in an environment of the host's Python; the clone's history, too."""
    packages = f"{VENV}/lib/python{kind.python}/site-packages"
    pip(kind, "install", "--only-binary=:all:", "--no-compile", "--no-deps",
        "--target", box.path(packages), *libraries(kind))  # fmt: skip
    box.write(f"{packages}/clone.pth", f"{CLONE}\n")
    box.write(f"{VENV}/pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = true\n")
    box.link(f"{VENV}/bin/python", "/usr/bin/python3")
    history = box.path(f"{CLONE}.git")
    run("git", "clone", "--quiet", "--no-checkout", bootlab.TOP, history)
    (history / ".git").rename(box.path(f"{CLONE}/.git"))
    run("git", "-C", box.path(CLONE), "reset", "--quiet")


def libraries(kind: Kind) -> list[str]:
    """What this environment has and the tests there need, version by version."""
    from importlib import metadata

    found = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    unneeded = ("binfmt-setup", "ruff", "pip", "setuptools")
    return sorted(
        f"{name}=={version}"
        for name, version in found.items()
        if not name.startswith(unneeded) and name not in kind.packaged
    )


def bootstrap(box: Machine, kind: Kind) -> None:
    """Go through the bootstrap with the host's own Python, emulated: faster than all of it is."""
    script = (
        f"mount --rbind /dev {box.path('/dev')} && mount --rbind /proc {box.path('/proc')} && "
        f"PIP_NO_INDEX=1 PIP_FIND_LINKS={WHEELS} exec chroot {box.tree} "
        f"{CLONE}/scripts/bootstrap --version"
    )
    run(sys.executable, "-m", "binfmt_setup", "run", "-P", kind.hardware.architecture, "--",
        "unshare", "--mount", "sh", "-c", script, seconds=3600)  # fmt: skip


def emulators(kind: Kind) -> Path:
    """The emulators of the release, for programs of amd64, i386 and arm; unpacked and kept."""
    folder = bootlab.cache_directory() / f"qemu-{kind.suite}-{kind.hardware.architecture}"
    with bootlab.making(folder.name):
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=bootlab.cache_directory()) as temporary:
            archive, parts = Path(temporary, "qemu.tar"), Path(temporary, "parts")
            virtual.fetch(kind.suite, kind.hardware.architecture, kind.qemu, archive)
            parts.mkdir()
            names = [f".{kind.emulator(target)}" for target in ("x86_64", "i386", "arm")]
            run("tar", "-C", parts, "--strip-components=3", "-xf", archive, *names)
            parts.rename(folder)
    return folder
