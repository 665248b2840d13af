"""An ordinary user locks everything that he can open, and nobody waits for him.

In a user namespace with many users, whose root is not the host's.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.many_users import PYTHON, REGISTRY
from tests.own_namespace import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.many_users import ManyUsers

ATTACK = """
import fcntl, os, sys, time
held = []
for top in sys.argv[1:]:
    for path in (top, *(os.path.join(d, n) for d, ds, fs in os.walk(top) for n in ds + fs)):
        for flags in (os.O_RDONLY, os.O_WRONLY):
            try:
                file = os.open(path, flags | os.O_NONBLOCK)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(path)
            except OSError:
                pass
print(len(held), flush=True)
sys.stdin.read()
"""
LOCKED = """
from binfmt_setup.system import locks
from binfmt_setup.system.host import Host
with locks.locked(Host(), private=False):
    print("locked")
"""
TREE = """
mkdir -p /run/tree/etc /run/tree/usr/bin /run/tree/usr/lib/systemd /run/tree/bin
touch /run/tree/usr/lib/systemd/systemd-binfmt
cp /usr/bin/qemu-aarch64-static /run/tree/usr/bin/
cp /bin/sh /run/tree/bin/
"""


@pytest.fixture
def inside(users: ManyUsers) -> list[str]:
    """The words in front of a command that root runs, beside a tree."""
    users.prepared(root=TREE)
    return list(users.words)


def test_nobody_waits_for_an_ordinary_user(users: ManyUsers, inside: list[str]) -> None:
    runs = [
        [PYTHON, "-m", "binfmt_setup", "install", "arm64", "--private", "--no-persist"],
        [PYTHON, "-m", "binfmt_setup", "install", "arm64", "--root", "/run/tree"],
        [PYTHON, "-m", "binfmt_setup", "uninstall", "--root", "/run/tree"],
        [PYTHON, "-c", LOCKED],
    ]
    first = [_run([*inside, *argv]) for argv in runs]
    attack = users.as_stranger(PYTHON, "-c", ATTACK, "/run", "/proc/self/ns", REGISTRY)
    with subprocess.Popen(
        attack, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    ) as attacker:
        assert attacker.stdout is not None
        assert int(attacker.stdout.readline()) > 5
        again = [_run([*inside, *argv]) for argv in runs]
        attacker.kill()
    assert "waiting" not in "".join(done.stderr for done in again), again
    assert [done.returncode for done in again] == [done.returncode for done in first]
    assert first[1].returncode == first[2].returncode == 0, first
    assert again[-1].stdout == "locked\n", again
    modes = _run([*inside, "stat", "-c", "%a", "/run/binfmt-setup", "/run/binfmt-setup/lock"])
    assert modes.stdout == "700\n600\n"
    assert _run([*inside, "ls", "/run/binfmt-setup"]).stdout == "lock\n"


def test_the_run_after_a_killed_one_knows_it(inside: list[str]) -> None:
    asks = LOCKED.replace("False):", "False) as interrupted:").replace('"locked"', "interrupted")
    killed = asks + "    import os; os.kill(os.getpid(), 9)\n"
    said = [
        _run([*inside, PYTHON, "-uc", code]).stdout for code in (asks, asks, killed, asks, asks)
    ]
    assert said == ["True\n", "False\n", "False\n", "True\n", "False\n"]


@pytest.mark.parametrize(
    "planted",
    ["ln -s /run/tree /run/binfmt-setup", "touch /run/binfmt-setup",
     "mkdir -m 777 /run/binfmt-setup",
     "mkdir -m 700 /run/binfmt-setup && chown 1000 /run/binfmt-setup"],
)  # fmt: skip
def test_a_planted_directory_is_refused(inside: list[str], planted: str) -> None:
    assert _run([*inside, "sh", "-c", planted]).returncode == 0
    done = _run([*inside, PYTHON, "-c", LOCKED])
    assert "EnvironmentUnfit" in done.stderr
    assert "not a directory that is yours alone" in done.stderr
    assert _run([*inside, "ls", "/run/tree"]).stdout.split() == ["bin", "etc", "usr"]


def test_bootstrap_waits_for_a_limited_time(tmp_path: Path) -> None:
    """Its lock is closed to others, and whoever has it all the same is told of in the end."""
    text = (TOP / "scripts/bootstrap").read_text()
    starts = [text.index(f"\n{name}() {{") for name in ("refuse_link", "lock")]
    functions = "".join(text[start : text.index("\n}\n", start) + 3] for start in starts)
    script = (
        f'lib=$1 lock_seconds=1\ndie() {{ echo "$2"; exit "$1"; }}\n{functions}lock\necho locked\n'
    )
    argv = ["sh", "-euc", script, "sh", str(tmp_path)]
    assert _run(argv).stdout == "locked\n"
    assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o600
    with subprocess.Popen(
        ["flock", tmp_path / ".lock", "sh", "-c", "echo held; cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        done = _run(argv)
        holder.communicate()
    assert done.returncode == 6
    assert "has been at work" in done.stdout


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd="/", capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
