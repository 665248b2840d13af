"""podman and buildah of an ordinary user, and a registry of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from tests.engines.lab import TOP

if TYPE_CHECKING:
    import subprocess

    from tests.engines.lab import Lab

PYTHON = "/usr/bin/python3"  # that of the tests may lie in root's home
PREPARE = """
echo user:x:2000:2000::/run/user/home:/bin/sh >> /etc/passwd
echo user:x:2000: >> /etc/group
echo user:10000:20000 | tee /etc/subuid > /etc/subgid
mkdir -p /run/user/2000 /run/user/home
chown -R 2000:2000 /run/user
"""


def as_user(lab: Lab, *argv: str) -> subprocess.CompletedProcess[str]:
    site = Path(typer.__file__).parents[1]
    return lab.run(
        "setpriv", "--reuid=2000", "--regid=2000", "--clear-groups", *argv, HOME="/run/user/home",
        XDG_RUNTIME_DIR="/run/user/2000", PYTHONPATH=f"{TOP}:{site}",
    )  # fmt: skip


def check(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return as_user(lab, PYTHON, "-m", "binfmt_setup", "check", *arguments)


@pytest.fixture
def rootless(podman: Lab) -> Lab:
    if podman.run("id", "2000").returncode:
        podman.ok("sh", "-c", PREPARE)
    version = as_user(podman, PYTHON, "-m", "binfmt_setup", "--version")
    if version.returncode:
        pytest.skip(f"another user cannot run the tool here: {version.stderr.strip()[-200:]}")
    podman.install("arm64")
    return podman


def test_a_user_without_rights_and_a_registry_that_hides_the_host_s(rootless: Lab) -> None:
    both = ("linux/amd64", "linux/arm64", "--engine", "podman,buildah")
    first = check(rootless, *both)
    assert first.returncode == 0, first.stdout
    assert "podman 4.3.1 (rootless, " in first.stdout

    registry = "/proc/sys/fs/binfmt_misc"
    mount = as_user(rootless, "podman", "unshare", "mount", "-t", "binfmt_misc", "none", registry)
    assert mount.returncode == 0, mount.stderr
    hidden = check(rootless, "linux/arm64", "--engine", "podman")
    assert hidden.returncode == 1
    assert "[engine-own-registry]" in hidden.stdout

    hint = next(line for line in hidden.stdout.splitlines() if "podman unshare" in line)
    _, _, command = hint.partition("register inside it: ")
    words = command.replace("binfmt-setup", f"{PYTHON} -m binfmt_setup").split()
    done = as_user(rootless, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check(rootless, "linux/arm64", "--engine", "podman").returncode == 0
