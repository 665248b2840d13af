"""A container whose mount of binfmt_misc is the only one: told, undone, or held."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.own_namespace import in_namespace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

REGISTRY = "/proc/sys/fs/binfmt_misc"
# A user namespace has a registry of its own, so that what is done to it reaches no host.
MAKE = f"""
import sys
import time
from binfmt_setup.changes import preparation
from binfmt_setup.changes.steps import Prepare
from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.system.host import Host
steps = (Prepare("mount", "{REGISTRY}"),)
try:
    print(len(preparation.make(Host(), steps, private=False, hold="hold" in sys.argv)))
except EnvironmentUnfit as error:
    print(error.code, int(error.exit_code))
    assert "--hold" in error.hint
print(sum("binfmt_misc" in line for line in open("/proc/self/mountinfo")))
"""
IN_CONTAINER = ("unshare", "--mount", "--pid", "--fork", "--mount-proc")
PYTHON = (sys.executable, "-c", MAKE)


def made(*before: str, words: tuple[str, ...] = ()) -> list[str]:
    """What came of mounting, and how many mounts of a registry can be seen then."""
    done = in_namespace(["--bare", *before, *PYTHON, *words])
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_only_mount_is_told_and_taken_away_again() -> None:
    assert made(*IN_CONTAINER) == ["only-mount", "4", "0"]


def test_it_may_be_held() -> None:
    assert made(*IN_CONTAINER, words=("hold",)) == ["1", "1"]


@pytest.mark.parametrize("entries", ["", ":theirs:E::theirs::/bin/true:"])
def test_a_mount_of_what_the_host_has_mounted_is_none(entries: str) -> None:
    """Empty or not: the host's instance is older than the container's mount of it.

    Nothing of the host is changed by it.
    """
    host = f"mount -t binfmt_misc none {REGISTRY}; printf '%s' '{entries}' >{REGISTRY}/register; "
    wait = 'sleep 0.1; exec "$@"'
    done = made("sh", "-c", host + wait, "sh", *IN_CONTAINER)
    assert done[0] == "0"


def test_hold_stays_until_sigterm_and_ends_well(registry: Sandbox) -> None:
    words = ("install", "arm64", "--private", "--no-persist", "--hold")
    with subprocess.Popen(
        [*registry.inside, sys.executable, "-m", "binfmt_setup", *words],
        stdout=subprocess.PIPE, text=True,
    ) as held:  # fmt: skip
        assert held.stdout is not None
        said = held.stdout.readline()
        assert said
        with pytest.raises(subprocess.TimeoutExpired):
            held.wait(1)
        held.send_signal(signal.SIGTERM)
        assert held.wait(20) == 0
    assert "qemu-aarch64" in registry.entries()


def test_hold_registers_again_what_others_drop(registry: Sandbox, tmp_path: Path) -> None:
    words = ("install", "arm64", "--private", "--no-persist", "--hold")
    argv = ["env", "-C", str(tmp_path), sys.executable, "-m", "binfmt_setup", *words]
    with subprocess.Popen(
        [*registry.inside, *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as held:
        assert held.stdout is not None
        assert held.stderr is not None
        assert any(line.startswith("works: ") for line in held.stdout)
        # Somebody else, meanwhile, where the command was started: nothing of it is imported.
        for name in ("binfmt_setup", "runpy", "os"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "__init__.py").write_text("raise SystemExit('planted')\n")
        registry.sh(f"echo -1 >{REGISTRY}/qemu-aarch64")
        assert "gone: qemu-aarch64; installing again\n" in iter(held.stderr.readline, "")
        assert any(line.startswith("works: ") for line in held.stdout)
        assert "qemu-aarch64" in registry.entries()
        held.send_signal(signal.SIGTERM)
        assert held.wait(20) == 0
    assert registry.tool("check", "arm64").returncode == 0


# Another program, at the very end of an install; only of the first one. And SIGTERM after it.
_MEANWHILE = f"""
import os
import signal
from binfmt_setup import __main__
from binfmt_setup.commands import provision
become = os.execv
def ended(*words):
    os.kill(os.getpid(), signal.SIGTERM)
    become(*words)
os.execv = ended
look = provision.looked_again
def dropped(*words):
    open("{REGISTRY}/qemu-aarch64", "w").write("-1")
    return look(*words)
if "BINFMT_SETUP_RETURNED" not in os.environ:
    provision.looked_again = dropped
__main__.main()
"""


def test_hold_knows_what_was_dropped_before_it_began(registry: Sandbox) -> None:
    """And a signal that comes as it is about to become the next command is not lost."""
    words = ("install", "arm64", "--private", "--no-persist", "--hold")
    done = registry.run(sys.executable, "-c", _MEANWHILE, *words)
    assert "gone: qemu-aarch64; installing again\n" in done.stderr
    assert (done.returncode, done.stderr.splitlines()[-1]) == (143, "terminated")


def test_hold_does_not_fight_for_ever(registry: Sandbox) -> None:
    words = ("install", "arm64", "--private", "--no-persist", "--hold")
    returned = " ".join([str(int(time.time()))] * 5)
    with subprocess.Popen(
        [*registry.inside, sys.executable, "-m", "binfmt_setup", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"BINFMT_SETUP_RETURNED": returned},
    ) as held:  # fmt: skip
        assert held.stdout is not None
        assert any(line.startswith("works: ") for line in held.stdout)
        registry.sh(f"echo -1 >{REGISTRY}/qemu-aarch64")
        said = held.communicate(timeout=20)[1]
    assert (held.returncode, "dropped again and again" in said) == (4, True)
    assert registry.entries() == {}


def test_hold_does_not_stay_when_nothing_was_installed(registry: Sandbox) -> None:
    refused = registry.tool("install", "arm64", "--hold")
    assert refused.returncode == 4
    planned = registry.tool("install", "arm64", "--private", "--no-persist", "--hold", "--check")
    assert planned.returncode == 0


@pytest.mark.parametrize(
    ("start", "said", "told"),
    [
        (
            ("unshare", "--user", "--map-root-user"),
            "the mounts here belong to another user namespace",
            "unshare --user --map-root-user --mount",
        ),
        (
            ("setpriv", "--bounding-set=-sys_admin"),
            "root has no CAP_SYS_ADMIN here",
            "run it on the host",
        ),
    ],
)
def test_a_mount_that_is_refused_says_what_is_lacking(
    sandbox: Sandbox, start: tuple[str, ...], said: str, told: str
) -> None:
    tool = (sys.executable, "-m", "binfmt_setup", "install", "arm64", "--private", "--no-persist")
    done = sandbox.run(*start, *tool)
    words = " ".join(done.stderr.split())
    assert done.returncode == 4
    assert said in words
    assert told in words
    if told.startswith("unshare"):  # what is told, word for word
        assert sandbox.run(*told.split(), *tool).returncode == 0
