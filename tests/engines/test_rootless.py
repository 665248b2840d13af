"""Engines of an ordinary user: podman, buildah, Docker, and a registry of the user's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from tests.engines.lab import TOP

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.engines.lab import Lab

PYTHON = "/usr/bin/python3"  # that of the tests may lie in root's home
PREPARE = """
echo user:x:2000:2000::/run/user/home:/bin/sh >> /etc/passwd
echo user:x:2000: >> /etc/group
echo user:10000:20000 | tee /etc/subuid > /etc/subgid
mkdir -p /run/user/2000 /run/user/home
chown -R 2000:2000 /run/user
"""


USER = ("setpriv", "--reuid=2000", "--regid=2000", "--clear-groups")
SETTINGS = {
    "HOME": "/run/user/home",
    "XDG_RUNTIME_DIR": "/run/user/2000",
    "DOCKER_HOST": "unix:///run/user/2000/docker.sock",
    "PYTHONPATH": f"{TOP}:{Path(typer.__file__).parents[1]}",
}
REGISTRY = "/proc/sys/fs/binfmt_misc"
# As its own script starts it; the lab has neither firewall nor bridges.
DOCKERD = (
    "/usr/share/docker.io/contrib/dockerd-rootless.sh", "--feature=containerd-snapshotter=true",
    "--iptables=false", "--ip6tables=false", "--bridge=none",
)  # fmt: skip


def as_user(lab: Lab, *argv: str) -> subprocess.CompletedProcess[str]:
    return lab.run(*USER, *argv, **SETTINGS)


def check(lab: Lab, *arguments: str) -> subprocess.CompletedProcess[str]:
    return as_user(lab, PYTHON, "-m", "binfmt_setup", "check", *arguments)


def with_user(lab: Lab) -> Lab:
    """The lab with a user who has ids to give away, and with arm64 registered."""
    if lab.run("id", "2000").returncode:
        lab.ok("sh", "-c", PREPARE)
    version = as_user(lab, PYTHON, "-m", "binfmt_setup", "--version")
    if version.returncode:
        pytest.skip(f"another user cannot run the tool here: {version.stderr.strip()[-200:]}")
    lab.install("arm64")
    return lab


@pytest.fixture
def rootless(podman: Lab) -> Lab:
    return with_user(podman)


@pytest.fixture
def rootless_docker(new_docker: Lab) -> Iterator[Lab]:
    lab = with_user(new_docker)
    if as_user(lab, "sh", "-c", ": <>/dev/net/tun").returncode:
        pytest.skip("no user can make a network here: /dev/net/tun is not there")
    settings = (f"{name}={value}" for name, value in SETTINGS.items() if name != "DOCKER_HOST")
    lab.spawn("rootless", *USER, "env", *settings, *DOCKERD)
    asked = (f"DOCKER_HOST={SETTINGS['DOCKER_HOST']}", "docker", "version")
    lab.until("env", *asked, log="/run/log/rootless")
    yield lab
    lab.kill("rootless")
    lab.until("sh", "-c", "! kill -0 $(cat /run/log/rootless.pid)")


def test_a_user_without_rights_and_a_registry_that_hides_the_host_s(rootless: Lab) -> None:
    both = ("linux/amd64", "linux/arm64", "--engine", "podman,buildah")
    first = check(rootless, *both)
    assert first.returncode == 0, first.stdout
    assert "podman 4.3.1 (rootless, " in first.stdout

    mount = as_user(rootless, "podman", "unshare", "mount", "-t", "binfmt_misc", "none", REGISTRY)
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


def test_docker_of_a_user_and_a_registry_that_hides_the_host_s(rootless_docker: Lab) -> None:
    both = ("linux/amd64", "linux/arm64", "--engine", "docker")
    first = check(rootless_docker, *both)
    assert first.returncode == 0, first.stdout
    said = " ".join(first.stdout.split())
    assert "(rootless, builder default, driver docker) built linux/amd64, linux/arm64" in said

    child = "$(cat $XDG_RUNTIME_DIR/dockerd-rootless/child_pid)"
    enter = f"nsenter -U -m --preserve-credentials -t {child}"
    mount = as_user(rootless_docker, "sh", "-c", f"{enter} mount -t binfmt_misc none {REGISTRY}")
    assert mount.returncode == 0, mount.stderr
    hidden = check(rootless_docker, *both, "--format", "json")
    assert hidden.returncode == 1
    (row,) = [p for p in json.loads(hidden.stdout)["platforms"] if p["platform"] == "linux/arm64"]
    (finding,) = [f for f in row["findings"] if f["severity"] == "error"]
    assert finding["code"] == "engine-own-registry"

    words = finding["hint"].removeprefix("register inside it: ")
    command = words.replace("binfmt-setup", f"{PYTHON} -m binfmt_setup")
    done = as_user(rootless_docker, "sh", "-c", command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert check(rootless_docker, *both).returncode == 0
