"""What runs at boot: others' units stay others', and our files cannot make systemd-binfmt fail."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.binfmt_d import BY_UNIT
from binfmt_setup.model.boot_facts import SCRIPT_PATH
from tests.own_namespace import run

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

UNITS = "/etc/systemd/system"
REGISTRY = "/proc/sys/fs/binfmt_misc"
OURS = "/etc/binfmt.d/qemu-aarch64.conf"
PLACES = (
    f"{UNITS}/binfmt-setup.service", f"{UNITS}/binfmt-setup.path",
    f"{UNITS}/binfmt-setup-changed.service", SCRIPT_PATH,
)  # fmt: skip
TREE = "find /etc -mindepth 1 | sort | xargs -d '\n' ls -ld --time-style=+"
HELPER = "/usr/lib/systemd/systemd-binfmt"


def stopped(system: Sandbox) -> dict[str, object]:
    """The error of an install that must not go through."""
    done = system.json("install", "arm64", "--private", status=4)
    assert done["changed"] is False
    (error,) = cast("list[dict[str, object]]", done["errors"])
    return error


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("how", ["theirs", "masked", "link"])
def test_what_others_put_at_our_places_is_neither_overwritten_nor_removed(
    system: Sandbox, path: str, how: str
) -> None:
    make = {"theirs": f"echo theirs > {path}", "masked": f"ln -s /dev/null {path}",
            "link": f"ln -s /somewhere {path}"}[how]  # fmt: skip
    assert system.sh(f"mkdir -p {Path(path).parent} && {make}").returncode == 0
    before = system.sh(TREE).stdout
    error = stopped(system)
    assert error["code"] == "config-conflict"
    hint = "systemctl unmask" if how == "masked" else f"mv {path} {path}.old"
    assert hint in str(error["hint"])
    assert system.sh(TREE).stdout == before
    assert system.entries() == {}
    assert system.json("install", "arm64", "--private", "--no-persist")["changed"] is True
    system.json("uninstall", "--private")
    assert system.sh(TREE).stdout == before


def test_a_mask_that_comes_later_is_told_and_stays(system: Sandbox) -> None:
    system.json("install", "arm64", "--private")
    unit = f"{UNITS}/binfmt-setup.service"
    system.sh(f"rm {unit}; ln -s /dev/null {unit}")
    before = system.sh(TREE).stdout
    assert stopped(system)["code"] == "config-conflict"
    assert system.sh(TREE).stdout == before
    assert system.json("uninstall", "--private")["changed"] is True
    assert system.sh(f"readlink {unit}").stdout == "/dev/null\n"


def test_a_drop_in_of_others_stays(system: Sandbox) -> None:
    folder = f"{UNITS}/binfmt-setup.service.d"
    system.sh(f"mkdir -p {folder} /etc/systemd/system-preset; echo '[Unit]' > {folder}/theirs.conf")
    before = system.sh(TREE).stdout
    system.json("install", "arm64", "--private")
    assert system.json("install", "arm64", "--private")["changed"] is False
    system.json("uninstall", "--private")
    assert system.sh(TREE).stdout == before


def test_a_line_that_only_the_unit_reads_is_taken_over_once(system: Sandbox) -> None:
    system.json("install", "arm64", "--private")
    was = system.entries()
    system.sh(f"sed -i {shlex.quote('s/^:/' + BY_UNIT + ':/')} {OURS}")
    assert BY_UNIT in system.sh(f"cat {OURS}").stdout
    done = system.json("install", "arm64", "--private")
    kinds = [row["kind"] for row in cast("list[dict[str, object]]", done["actions"])]
    assert kinds == ["write-file"]
    assert system.json("install", "arm64", "--private")["changed"] is False
    assert system.entries() == was


@pytest.mark.parametrize("program", ["dash", "busybox sh"])
def test_any_shell_registers_what_the_file_says(system: Sandbox, program: str) -> None:
    system.json("install", "arm64", "--private")
    was = system.entries()
    system.sh("echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64")
    done = system.sh(f"{program} {SCRIPT_PATH} {OURS}")
    assert done.returncode == 0, done.stderr
    assert system.entries() == was


# As root: an autofs that nobody serves, or whose server fails every request. The registry is
# mounted in a user namespace below, so that nothing of the host's is touched.
BROKEN = r"""
import ctypes, fcntl, os, struct, subprocess, sys, threading
how, where = sys.argv[1], "/proc/sys/fs/binfmt_misc"
libc = ctypes.CDLL(None, use_errno=True)
read, write = os.pipe()
os.setpgrp()
options = f"fd={write},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct".encode()
if libc.mount(b"autofs", where.encode(), b"autofs", 0, options):
    sys.exit(f"no autofs: {os.strerror(ctypes.get_errno())}")
ioctl = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
def serve():
    while packet := os.read(read, 512):
        if how == "fails":
            token = struct.unpack_from("=iiI", packet)[2]
            fcntl.ioctl(ioctl, 0x9361, token)  # AUTOFS_IOC_FAIL
os.close(write)
if how == "dead":
    os.close(read)
else:
    threading.Thread(target=serve, daemon=True).start()
below = ["setsid", "unshare", "-Urm", sys.executable, "-c", sys.argv[2]]
done = subprocess.run(below, text=True, timeout=60, stdout=subprocess.PIPE)
print(done.stdout, end="", flush=True)
os._exit(done.returncode)
"""
BELOW = """
import os
from binfmt_setup.system import automounts, registry
from binfmt_setup.system.host import Host
automounts.SECONDS = 0.5  # 10 is for a host that starts
"""
MOUNT = """
print(registry.Registry(Host()).mount(again=False), *sorted(os.listdir(registry.BINFMT_MISC)))
"""
# Without having mounted it. Then another program waits for the automount, and so nobody gets past
# the place: not mount(2) either.
NOT_MOUNTED = """
import subprocess, time
from binfmt_setup.commands.uninstall import uninstall
from binfmt_setup.model.errors import TookTooLong
from binfmt_setup.model.request import Request
print(uninstall(Host(), Request(private=True)).changed)
other = subprocess.Popen(["ls", registry.BINFMT_MISC])
while "autofs_wait" not in open(f"/proc/{other.pid}/wchan").read():
    time.sleep(0.01)
print(uninstall(Host(), Request(private=True)).changed)
for again in (False, True):
    try:
        registry.Registry(Host()).mount(again=again)
    except TookTooLong as error:
        print(error)
other.kill()
"""

CURED = """
import json, subprocess, sys
TOOL = [sys.executable, "-m", "binfmt_setup"]
def found():
    done = subprocess.run([*TOOL, "check", "arm64", "--format", "json"], stdout=subprocess.PIPE)
    return [f for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"]
for finding in found():
    print(finding["code"])
    command = finding["remedy"]["command"]
    subprocess.run([*TOOL, *command[1:]], stdout=subprocess.DEVNULL, check=True)
print(found())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="an automount takes root")
def test_what_is_told_of_an_automount_mounts_and_registers() -> None:
    private = ("unshare", "--mount", "--propagation", "private")
    done = run([*private, sys.executable, "-c", BROKEN, "never answers", CURED])
    assert (done.returncode, done.stdout) == (0, "automount-only\n[]\n"), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="an automount takes root")
@pytest.mark.parametrize("how", ["dead", "fails", "never answers"])
def test_a_broken_automount_is_mounted_over(how: str) -> None:
    private = ("unshare", "--mount", "--propagation", "private")
    done = run([*private, sys.executable, "-c", BROKEN, how, BELOW + MOUNT])
    assert (done.returncode, done.stdout) == (0, "True register status\n"), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="an automount takes root")
def test_nothing_waits_without_end_for_an_automount_that_never_answers() -> None:
    private = ("unshare", "--mount", "--propagation", "private")
    program = BELOW + NOT_MOUNTED
    done = run([*private, sys.executable, "-c", BROKEN, "never answers", program])
    why = f"the automount at {REGISTRY} does not answer, and another program waits for it\n"
    assert (done.returncode, done.stdout) == (0, f"False\nFalse\n{why}{why}"), done.stderr


@pytest.mark.parametrize(
    ("upper", "lower", "is_lost"),
    [("/run", "/opt", "lost"), ("/run", "full", ""), ("up", "/opt", "")],
)
@pytest.mark.usefixtures("qemu")
def test_an_emulator_that_an_overlay_keeps_in_memory_is_lost(
    system: Sandbox, tmp_path: Path, upper: str, lower: str, is_lost: str
) -> None:
    """Over /opt as over /: what only its upper layer has, which lies on a tmpfs."""
    below, above = tmp_path / lower, tmp_path / upper  # where absolute, those
    copy = "cp /usr/bin/qemu-aarch64-static"
    layers = f"lowerdir={below},upperdir={above}/up,workdir={above}/work"
    made = system.sh(
        f"mkdir -p {tmp_path}/full {above}/up {above}/work && {copy} {tmp_path}/full && "
        f"mount -t overlay -o {layers} none /opt && {copy} /opt && mkdir -p /run/systemd/system"
    )
    assert made.returncode == 0, made.stderr
    done = system.tool("install", "arm64", "--private", "--qemu", "/opt")
    told = " ".join(done.stdout.split())
    assert ("lies in /run, which is gone then" in told) is bool(is_lost), done.stdout
