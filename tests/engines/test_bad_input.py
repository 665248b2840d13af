"""Engines that hang, die, talk nonsense or have no space left: what is said, and what is left."""

from __future__ import annotations

import json
import sys
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.engines.lab import Lab

ASK = """
    import json, os, sys
    from binfmt_setup.engines.call import Caller, Limits
    from binfmt_setup.engines.ask import EngineCalls, ask_engines
    from binfmt_setup.engines.answers import Question
    from binfmt_setup.system.host import Host
    from binfmt_setup.model.targets import parse_platform
    caller = Caller(Host(), dict(os.environ), limits=Limits(5.0, {build}, 0.0))
    platforms = tuple(parse_platform(word) for word in {platforms!r})
    report, = ask_engines(EngineCalls(caller, ({engine!r},)), Question(platforms, named=True))
    error = report.error
    print(json.dumps([error.code, int(error.exit_code), error.message] if error else None))
"""
HANG = """
int pause(void);
int strncmp(const char *, const char *, unsigned long);
int main(int argc, char **argv)
{
    /* Only in builds: BuildKit's own probe, /check, has no time limit and would hang the daemon. */
    if (argc < 2 || strncmp(argv[1], "/binfmt-setup-", 14))
        return 1;
    for (;;)
        pause();
}
"""


def ask(lab: Lab, engine: str, *platforms: str, build: float = 8.0) -> list[object]:
    code = dedent(ASK).format(engine=engine, platforms=platforms, build=build)
    done = lab.python(code)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, list), done.stdout
    return answer


def running(lab: Lab, words: str) -> list[str]:
    lines = lab.ok("ps", "-A", "-o", "args=").splitlines()
    return [line for line in lines if words in line and "ps -A" not in line]


def register_hanging_emulator(lab: Lab) -> None:
    """An emulator for s390x that starts and never does anything."""
    lab.ok("sh", "-c", 'mkdir -p /run/qemu; echo "$0" | gcc -static -x c -o /run/qemu/hang -', HANG)
    magic = r"\x7fELF\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16"
    line = f":qemu-s390x:M::{magic}::/run/qemu/hang:F"
    lab.ok("sh", "-c", 'printf %s "$0" > /proc/sys/fs/binfmt_misc/register', line)


def test_a_daemon_that_hangs(fresh_docker: Lab) -> None:
    fresh_docker.kill("dockerd", "STOP")
    code, status, message = ask(fresh_docker, "docker", "linux/amd64")
    assert (code, status) == ("engine-timeout", 6)
    assert "docker version" in str(message)
    assert running(fresh_docker, "docker version") == []


def test_a_daemon_that_dies_midway(fresh_docker: Lab) -> None:
    register_hanging_emulator(fresh_docker)
    # As soon as the build's program runs, the daemon is killed.
    fresh_docker.spawn(
        "killer", "sh", "-c",
        "until pgrep -f [/]run/qemu/hang; do sleep 0.1; done; "
        "kill -KILL $(cat /run/log/dockerd.pid)",
    )  # fmt: skip
    code, status, message = ask(fresh_docker, "docker", "linux/s390x", build=20.0)
    assert (code, status) == ("engine-failed", 6)
    assert "docker build" in str(message)
    assert "EOF" in str(message) or "unavailable" in str(message).lower()


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_a_build_that_hangs_is_ended_with_everything_in_it(podman: Lab, engine: str) -> None:
    register_hanging_emulator(podman)
    code, status, message = ask(podman, engine, "linux/s390x")
    assert (code, status) == ("engine-timeout", 6)
    assert "STEP 4/4" in str(message)  # what it had said by then
    assert running(podman, "/run/qemu/hang") == []
    assert running(podman, f"{engine} ") == []
    assert podman.ok("sh", "-c", "ls -A /var/lib/containers | grep binfmt-setup || true") == ""


def test_a_docker_build_that_hangs_is_ended_in_the_daemon_too(new_docker: Lab) -> None:
    register_hanging_emulator(new_docker)
    code, status, _ = ask(new_docker, "docker", "linux/s390x")
    assert (code, status) == ("engine-timeout", 6)
    new_docker.until("sh", "-c", "! pgrep -af [/]run/qemu/hang", seconds=10)


@pytest.mark.parametrize("signal", ["TERM", "INT"])
def test_a_check_that_is_stopped_leaves_nothing(podman: Lab, signal: str) -> None:
    register_hanging_emulator(podman)
    check = (sys.executable, "-m", "binfmt_setup", "check", "linux/s390x", "--engine", "podman")
    # A shell's background jobs ignore SIGINT; env makes it count again.
    podman.spawn("check", "env", f"--default-signal={signal}", *check)
    podman.until("pgrep", "-f", "[/]run/qemu/hang", seconds=60)
    podman.kill("check", signal)
    podman.until("sh", "-c", "! kill -0 $(cat /run/log/check.pid)", seconds=10)
    assert running(podman, "/run/qemu/hang") == []
    assert podman.ok("sh", "-c", "ls -A /var/lib/containers | grep binfmt-setup || true") == ""


def test_a_plugin_that_talks_garbage(fresh_docker: Lab) -> None:
    plugin = (
        '#!/bin/sh\n[ "$1" != docker-cli-plugin-metadata ] || '
        'exec echo \'{"SchemaVersion":"0.1.0","Vendor":"x","Version":"v1"}\'\n'
        'echo "{ <garbage>"\n'
    )
    where = "/run/home/.docker/cli-plugins/docker-buildx"
    fresh_docker.ok("mkdir", "-p", "/run/home/.docker/cli-plugins")
    fresh_docker.ok("sh", "-c", 'printf %s "$1" > "$0"; chmod +x "$0"', where, plugin)
    done = fresh_docker.tool("check", "linux/amd64", "--engine", "docker")
    assert done.returncode == 6
    assert "`docker buildx inspect` described no builder" in done.stdout
    assert "{ <garbage>" in done.stdout


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_an_engine_that_talks_garbage(podman: Lab, engine: str) -> None:
    podman.ok("sh", "-c", f"printf '#!/bin/sh\\necho garbage' > /usr/local/bin/{engine}")
    podman.ok("chmod", "+x", f"/usr/local/bin/{engine}")
    try:
        done = podman.tool("check", "linux/amd64", "--engine", engine)
    finally:
        podman.ok("rm", f"/usr/local/bin/{engine}")
    assert done.returncode == 6
    assert "gave no JSON object; it said: garbage" in " ".join(done.stdout.split())


def test_no_space_for_docker(fresh_docker: Lab) -> None:
    lab = fresh_docker
    lab.stop_dockerd()
    lab.ok("mount", "-t", "tmpfs", "-o", "size=1m", "full", "/var/lib/docker")
    lab.dockerd("--feature=containerd-snapshotter=true")
    lab.run("dd", "if=/dev/zero", "of=/var/lib/docker/filler", "bs=4k")
    done = lab.tool("check", "linux/amd64", "--engine", "docker")
    assert done.returncode == 6, done.stdout
    assert "no space left on device" in done.stdout


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_no_space_for_a_store(podman: Lab, engine: str) -> None:
    podman.ok(engine, "info")
    podman.ok("mount", "-t", "tmpfs", "-o", "size=1m", "full", "/var/lib/containers")
    try:
        podman.ok(engine, "info")
        podman.run("dd", "if=/dev/zero", "of=/var/lib/containers/filler", "bs=4k")
        podman.ok("truncate", "--size=-32K", "/var/lib/containers/filler")
        done = podman.tool("check", "linux/amd64", "--engine", engine)
    finally:
        podman.run("umount", "--lazy", "/var/lib/containers")
    assert done.returncode == 6, done.stdout + done.stderr
    assert "no space left on device" in done.stdout.lower()
