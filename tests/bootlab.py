"""A real systemd to boot: root trees, and systemd-nspawn with a registry of its own.

Used by tests/boot and by scripts/boot-test, which adds whole virtual machines.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOP = Path(__file__).resolve().parent.parent
MIRROR = "http://deb.debian.org/debian"
QEMU = "/usr/bin/qemu-aarch64-static"
PROBE = TOP / "binfmt_setup" / "data" / "probes" / "aarch64"
PACKAGES = "systemd-sysv,udev,kmod,python3,dbus,procps"
# Needed to boot by nobody, but half of the tree's size and of the time to copy it.
BALLAST = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/zoneinfo",
           "var/lib/apt", "var/cache/apt", "usr/share/perl5", "usr/lib/x86_64-linux-gnu/perl-base",
           "usr/share/i18n", "usr/lib/x86_64-linux-gnu/gconv")  # fmt: skip
# What the command needs besides itself, from the environment the tests run in.
LIBRARIES = ("typer", "shellingham", "rich", "markdown_it", "mdurl", "pygments", "annotated_doc",
             "typing_extensions.py", "elftools", "jinja2", "markupsafe")  # fmt: skip
# A mirror that is behind, or a machine with another clock, is no obstacle.
DATED = ('--aptopt=Acquire::Check-Valid-Until "false"',)
TOOL = "/srv/tool"
LAB = "/srv/lab"
BOOT_SECONDS = 240
NSPAWN = "systemd-nspawn"
USERS = "524288:65536"
CLEAN = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C.UTF-8",
}
# Runs what the test asks for, when everything else is up, and ends the boot.
DRIVER = f"""[Unit]
After=multi-user.target docker.service
[Service]
Type=oneshot
StandardInput=null
StandardOutput=append:{LAB}/log
StandardError=append:{LAB}/log
ExecStart=/bin/sh {LAB}/stage
ExecStopPost=/bin/systemctl --no-block poweroff
TimeoutStartSec=200
[Install]
WantedBy=graphical.target multi-user.target
"""
# Stands in for docker: what it can run when it starts is what containers could.
DOCKER = f"""[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'sh {LAB}/foreign >{LAB}/docker 2>&1'
[Install]
WantedBy=multi-user.target
"""
# The foreign program in a chroot with nothing else, its exit status after it.
FOREIGN = f"""chroot {LAB}/root /aarch64 one </dev/null
echo "status $?"
"""

RUNS = "binfmt-probe target=aarch64"
REGISTRY = "/proc/sys/fs/binfmt_misc"


def pinned(program: str, seconds: float) -> str:
    """A shell function that prints the inode of what runs a program, once it had time to start."""
    return rf"""
pinned() {{
    mkfifo {LAB}/fifo
    chroot {LAB}/root /{program} one <{LAB}/fifo >/dev/null 2>&1 &
    exec 8>{LAB}/fifo
    sleep {seconds}
    stat -Lc %i /proc/$!/exe
    exec 8>&-
    wait $!
    rm {LAB}/fifo
}}
"""


# Waits until a reload that somebody else asked for is over and the new file is pinned.
SETTLE = (
    pinned("aarch64", 0.3)
    + rf"""
settle() {{
    for i in 1 2 3 4 5 6 7 8 9 10; do
        [ "$(pinned)" = "$(stat -Lc %i {QEMU})" ] && return
        sleep 0.2
    done
    return 1
}}
"""
)
# Replaces QEMU as dpkg does: a new file beside it, a link to the old one, a rename. Meanwhile
# foreign programs are started without a pause.
UPGRADE = rf"""
rm -f {LAB}/stop
loop >{LAB}/answer.loop 2>&1 &
looping=$!
for round in 1 2 3; do
    cp {QEMU} {QEMU}.dpkg-new
    ln -f {QEMU} {QEMU}.dpkg-tmp
    mv -f {QEMU}.dpkg-new {QEMU}
    rm {QEMU}.dpkg-tmp
    try settled$round settle
done
sleep 0.3
touch {LAB}/stop
wait $looping
try swaps ls {REGISTRY}
"""


def blocks(page: str, language: str = "sh") -> list[str]:
    """The commands of a page of docs/, block by block, as they stand there."""
    text = (TOP / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def cache_directory() -> Path:
    """Where root trees are kept between runs."""
    where = Path("/var/cache/binfmt-setup-tests")
    where.mkdir(parents=True, exist_ok=True)
    return where


@contextlib.contextmanager
def making(name: str) -> Iterator[None]:
    """Alone with what is made once and kept under this name: others wait, and find it made."""
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def why_not() -> str:
    """Why this machine cannot boot a container; empty when it can."""
    if os.geteuid() != 0:
        return "booting needs root"
    for program in (NSPAWN, "mmdebstrap", "busybox"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not Path(QEMU).exists():
        return f"{QEMU} is not installed"
    kernel = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if kernel < (6, 7):
        return f"Linux {os.uname().release} has one registry for all containers (6.7 is needed)"
    if not cgroup_parents():
        return "no cgroup hierarchy to put a container in"
    return ""


def cgroup_parents() -> list[Path]:
    """The hierarchies that systemd in a container needs a group in."""
    top = Path("/sys/fs/cgroup")
    if (top / "cgroup.procs").exists():
        return [top]
    return [top / name for name in ("systemd", "unified") if (top / name / "cgroup.procs").exists()]


def run(
    *argv: str | Path, seconds: float = 600, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program that must succeed."""
    done = subprocess.run(
        [str(word) for word in argv], env={**CLEAN, **(environment or {})}, text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False,
        errors="replace",
    )  # fmt: skip
    assert done.returncode == 0, f"{argv[0]} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return done


def base_tree(suite: str, packages: str = PACKAGES, architecture: str = "amd64") -> Path:
    """A minimal Debian with systemd, made once and kept as a tree.

    One of another architecture is made by its own programs, emulated by this tool, in a
    namespace of their own.
    """
    mark = hashlib.sha256(repr((packages, BALLAST, MIRROR)).encode()).hexdigest()[:12]
    foreign = architecture != "amd64"
    name = f"{suite}-{architecture}" if foreign else suite
    tree = cache_directory() / f"{name}-{mark}"
    with making(name):
        if tree.is_dir():
            return tree
        archive = tree.with_suffix(".tar")
        emulated = (sys.executable, "-m", "binfmt_setup", "run", "-P", architecture, "--")
        run(*(emulated if foreign else ()), "mmdebstrap", "--mode=root", "--variant=minbase",
            *DATED, f"--architectures={architecture}", "--skip=check/qemu",
            f"--include={packages}", suite, archive, f"deb {MIRROR} {suite} main",
            seconds=7200 if foreign else 600)  # fmt: skip
        with tempfile.TemporaryDirectory(dir=cache_directory()) as folder:
            run("tar", "-C", folder, "-xf", archive, "--exclude=./dev/*")
            Path(folder).chmod(0o755)
            for name in BALLAST:
                shutil.rmtree(Path(folder, name), ignore_errors=True)
            run("cp", "-a", folder, f"{tree}.part")
        archive.unlink()
        Path(f"{tree}.part").rename(tree)
    return tree


@dataclass(frozen=True)
class Machine:
    """A root tree of one's own, to be changed and booted, again and again.

    `users` are those that it has, as systemd-nspawn maps them.
    """

    tree: Path
    users: str = USERS

    def path(self, inside: str) -> Path:
        """Where a file of the machine lies."""
        return self.tree / inside.lstrip("/")

    def write(self, inside: str, text: str) -> None:
        """Write a file into the machine."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).write_text(text)

    def read(self, inside: str) -> str:
        """What a file of the machine says; empty when it is not there."""
        path = self.path(inside)
        return path.read_text(errors="replace") if path.exists() else ""

    def link(self, inside: str, target: str) -> None:
        """Make a link, as `systemctl enable` and `mask` do."""
        self.path(inside).parent.mkdir(parents=True, exist_ok=True)
        self.path(inside).symlink_to(target)

    def install_tool(self) -> None:
        """Put the command there, to be run by the machine's own Python."""
        where = self.path(TOOL)
        where.mkdir(parents=True)
        shutil.copytree(TOP / "binfmt_setup", where / "binfmt_setup",
                        ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
        shutil.copytree(TOP / "systemd", where / "systemd")
        for name in LIBRARIES:
            source = library(name)
            if source.is_dir():
                shutil.copytree(source, where / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, where / name)
        self.write(f"{LAB}/tool", f'PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={TOOL} exec python3 -m '
                                  'binfmt_setup "$@"\n')  # fmt: skip

    def remove_tool(self) -> None:
        """Take the command away, as a virtual environment that is deleted."""
        shutil.rmtree(self.path(TOOL))

    def offline(self, *arguments: str) -> dict[str, object]:
        """Run the command of this checkout on the machine's tree, from outside."""
        argv = [sys.executable, "-m", "binfmt_setup", *arguments, "--root", str(self.tree)]
        done = subprocess.run([*argv, "--format=json"], cwd=TOP, env=CLEAN, text=True,
                              capture_output=True, check=False)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    def stage(self, script: str) -> None:
        """What the machine does at its next boot, with `try NAME COMMAND…` for its answers."""
        self.write(f"{LAB}/log", "")
        for old in self.path(LAB).glob("answer.*"):
            old.unlink()
        self.write(f"{LAB}/stage", "cd /\nset +e\n" + HELPERS + script)

    def answer(self, name: str) -> str:
        """What `try NAME COMMAND…` printed in the last boot; its last line is the status."""
        path = self.path(f"{LAB}/answer.{name}")
        assert path.exists(), f"no answer {name}; the machine said:\n{self.read(f'{LAB}/log')}"
        return path.read_text(errors="replace")

    def boot(self, script: str, *, init: bool = True) -> None:
        """Boot, do what the script says, and power off; all of it must go well.

        Without `init` the script is all that runs, as in the container of a CI job.
        """
        self.stage(script)
        with nspawn_groups() as groups:
            done = subprocess.run(
                nspawn_command(self.tree, groups, users=self.users, init=init),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False, errors="replace",
                env={**CLEAN, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )  # fmt: skip
        said = self.read(f"{LAB}/log")
        assert done.returncode == 0, f"boot ended with {done.returncode}: {done.stdout}\n{said}"
        assert self.path(f"{LAB}/answer.finished").exists(), f"the stage broke off:\n{said}"


HELPERS = rf"""
try() {{
    name=$1
    shift
    "$@" >{LAB}/answer.$name 2>&1
    echo "status $?" >>{LAB}/answer.$name
}}
setup() {{ sh {LAB}/tool "$@"; }}
# Starts the foreign program over and over until a file appears, and counts what fails.
loop() {{
    starts=0 failures=0
    while [ ! -e {LAB}/stop ]; do
        starts=$((starts + 1))
        chroot {LAB}/root /aarch64 one </dev/null >/dev/null 2>&1 || failures=$((failures + 1))
    done
    echo "starts $starts failures $failures"
}}
trap 'touch {LAB}/answer.finished' EXIT
"""


def library(name: str) -> Path:
    """Where a library of the environment lies that the tests run in."""
    import sysconfig

    return Path(sysconfig.get_path("purelib"), name)


def nspawn_command(
    tree: Path, groups: Sequence[Path], *, users: str = USERS, init: bool
) -> list[str]:
    """The shell command that boots a tree inside cgroups of its own."""
    enter = "".join(f"echo $$ >'{group}/cgroup.procs'; " for group in groups)
    command = (
        f"exec timeout -k 5 {BOOT_SECONDS} {NSPAWN} -q -D '{tree}' --private-users={users} "
        "--private-users-ownership=auto --register=no --keep-unit --private-network "
    )
    command += "--boot" if init else f"sh -c 'exec sh {LAB}/stage >{LAB}/log 2>&1'"
    return ["sh", "-c", enter + command]


@contextlib.contextmanager
def nspawn_groups() -> Iterator[list[Path]]:
    """An own cgroup in each hierarchy, removed with all that systemd made in it."""
    groups = [parent / f"binfmt-setup-boot-{os.getpid()}" for parent in cgroup_parents()]
    for group in groups:
        group.mkdir(exist_ok=True)  # a killed run of the same number has left it
    try:
        yield groups
    finally:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()


@contextlib.contextmanager
def machine(suite: str = "bookworm") -> Iterator[Machine]:
    """A fresh machine with QEMU, a foreign root directory, and a stand-in for docker."""
    with tempfile.TemporaryDirectory(prefix="boot-", dir=cache_directory()) as folder:
        tree = Path(folder, "tree")
        copy_tree(base_tree(suite), tree)
        made = Machine(tree)
        furnish(made)
        yield made


def copy_tree(base: Path, tree: Path) -> None:
    """A tree of one's own; what lies in /usr is shared, as nothing there is written in place."""
    tree.mkdir(mode=0o755)
    for part in sorted(base.iterdir()):
        run("cp", "-al" if part.name == "usr" else "-a", part, tree)


def furnish(made: Machine) -> None:
    """QEMU, and what the machine is equipped with."""
    shutil.copy(QEMU, made.path(QEMU))
    equip(made)


def equip(made: Machine) -> None:
    """The foreign program, docker's stand-in, and what drives the test."""
    for device in ("null", "zero", "urandom"):
        # A container brings its own /dev; a chroot of a virtual machine needs none.
        assert not made.path(f"dev/{device}").exists()
    made.path(f"{LAB}/root").mkdir(parents=True)
    shutil.copy(PROBE, made.path(f"{LAB}/root/aarch64"))
    made.write(f"{LAB}/foreign", FOREIGN)
    made.write("/etc/systemd/system/docker.service", DOCKER)
    made.write("/etc/systemd/system/lab.service", DRIVER)
    wants = "/etc/systemd/system/multi-user.target.wants"
    made.link(f"{wants}/docker.service", "/etc/systemd/system/docker.service")
    made.link(f"{wants}/lab.service", "/etc/systemd/system/lab.service")
    made.write("/etc/hostname", "lab\n")
    made.path("/etc/machine-id").write_text("")


def listing(tree: Path) -> dict[str, str]:
    """Every file, directory and link of a tree with its type, mode and contents' digest."""
    found = {}
    for folder, directories, files in os.walk(tree):
        for name in [*directories, *files]:
            path = Path(folder, name)
            status = path.lstat()
            what = f"{status.st_mode:o}"
            if path.is_symlink():
                what += f" -> {path.readlink()}"
            elif path.is_file():
                what += " " + hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(tree))] = what
    return found
