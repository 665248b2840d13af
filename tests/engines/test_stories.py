"""The guides that users follow, told the way they live them, with real engines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.engines import toolbox

if TYPE_CHECKING:
    from tests.engines.lab import Lab

IMAGE = "127.0.0.1:5000/story:1"
BOTH = "linux/amd64,linux/arm64"
BUILD = ("docker", "buildx", "build", "--network=none", "--progress=plain", "--pull=false")
QEMU = "/usr/bin/qemu-aarch64-static"
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def project(lab: Lab, folder: str) -> None:
    """A user's project: a program for each platform, and a Dockerfile that runs it."""
    probes = toolbox.TOP / "binfmt_setup" / "data" / "probes"
    lab.ok("mkdir", "-p", folder)
    lab.ok("cp", str(probes / "x86_64"), f"{folder}/hello-amd64")
    lab.ok("cp", str(probes / "aarch64"), f"{folder}/hello-arm64")
    dockerfile = (
        'FROM scratch\nARG TARGETARCH\nCOPY hello-${TARGETARCH} /hello\nRUN ["/hello", "world"]\n'
    )
    write(lab, f"{folder}/Dockerfile", dockerfile)


def write(lab: Lab, path: str, text: str) -> None:
    lab.ok("sh", "-c", 'printf %s "$1" > "$0"', path, text)


def register_without_f(lab: Lab) -> None:
    """What Ubuntu 18.04's qemu-user-static does."""
    line = f":qemu-aarch64:M::{MAGIC}:{MASK}:{QEMU}:"
    write(lab, "/proc/sys/fs/binfmt_misc/register", line)


def test_an_empty_host_becomes_a_build_host(fresh_docker: Lab) -> None:
    lab = fresh_docker
    lab.registry()
    project(lab, "/run/project")
    build = (*BUILD, "--platform", BOTH, "--tag", IMAGE, "--push", "/run/project")
    first = lab.run(*build)
    assert first.returncode != 0
    assert "exec /hello: exec format error" in first.stderr

    lab.install("arm64")
    second = lab.run(*build)
    assert second.returncode == 0, second.stderr
    assert "target=aarch64" in second.stderr

    raw = lab.ok("docker", "buildx", "imagetools", "inspect", "--raw", IMAGE)
    inspected = lab.ok("docker", "manifest", "inspect", "--insecure", IMAGE)
    for text in (raw, inspected):
        platforms = [m["platform"] for m in json.loads(text)["manifests"]]
        found = {f"{p['os']}/{p['architecture']}" for p in platforms}
        assert found - {"unknown/unknown"} == set(BOTH.split(","))
    check = lab.tool("check", "linux/amd64", "linux/arm64", "--engine", "docker")
    assert check.returncode == 0, check.stdout


def test_a_stale_builder_is_named_and_refreshed(fresh_docker: Lab) -> None:
    lab = fresh_docker
    listed = lab.ok("docker", "buildx", "inspect")
    assert "linux/arm64" not in listed
    lab.install("arm64")
    first = lab.tool("check", "linux/arm64", "--engine", "docker")
    assert first.returncode == 0
    assert "does not list linux/arm64" in first.stdout
    assert "[builder-stale]" in first.stdout
    # What the hint says, where no systemd runs.
    lab.stop_dockerd()
    lab.dockerd("--feature=containerd-snapshotter=true")
    second = lab.tool("check", "linux/arm64", "--engine", "docker")
    assert second.returncode == 0
    assert "builder-stale" not in second.stdout


def test_a_debian_for_arm64_runs_its_own_dpkg(new_docker: Lab) -> None:
    image = toolbox.base_image()
    new_docker.install("arm64")
    new_docker.ok("docker", "import", "--platform", "linux/arm64", str(image), "debian-arm64")
    new_docker.ok("mkdir", "-p", "/run/debian")
    run = 'RUN ["/usr/bin/dpkg", "--print-architecture"]\nRUN ["/bin/busybox", "uname", "-m"]\n'
    write(new_docker, "/run/debian/Dockerfile", f"FROM debian-arm64\n{run}")
    done = new_docker.run(*BUILD, "--no-cache", "--platform", "linux/arm64", "/run/debian")
    new_docker.ok("docker", "image", "rm", "debian-arm64")
    new_docker.ok("docker", "buildx", "prune", "--all", "--force")
    for build in new_docker.ok("docker", "buildx", "history", "ls", "--format", "{{.Ref}}").split():
        new_docker.ok("docker", "buildx", "history", "rm", build.rpartition("/")[2])
    assert done.returncode == 0, done.stderr
    words = [line.split()[-1] for line in done.stderr.splitlines() if line]
    assert "arm64" in words
    assert "aarch64" in words


def test_an_entry_without_f_is_named_and_repaired(old_docker: Lab) -> None:
    register_without_f(old_docker)
    first = old_docker.tool("check", "linux/arm64", "--engine", "docker")
    assert first.returncode == 1
    assert "no such file or directory" in first.stdout
    assert "entry qemu-aarch64 has no F flag" in first.stdout
    # The lab is a namespace of its own, so the remedy is one for such a namespace.
    assert "run: binfmt-setup install --private --no-persist linux/arm64" in first.stdout
    old_docker.install("arm64")
    second = old_docker.tool("check", "linux/arm64", "--engine", "docker")
    assert second.returncode == 0, second.stdout


def test_a_compose_file_with_platforms(fresh_docker: Lab) -> None:
    lab = fresh_docker
    project(lab, "/run/composed")
    compose = (
        "services:\n  hello:\n    image: composed\n    build:\n      context: .\n"
        "      network: none\n      platforms: [linux/amd64, linux/arm64]\n"
    )
    write(lab, "/run/composed/compose.yaml", compose)
    build = ("docker", "compose", "--progress=plain", "-f", "/run/composed/compose.yaml", "build")
    first = lab.run(*build)
    assert first.returncode != 0
    assert "exec format error" in first.stdout + first.stderr
    lab.install("arm64")
    lab.ok(*build)
    for platform in BOTH.split(","):
        lab.ok("docker", "image", "inspect", "--platform", platform, "composed")


def test_podman_from_exec_format_error_to_a_manifest_of_two(podman: Lab) -> None:
    project(podman, "/run/project")
    build = ("podman", "build", "--network=none", "--platform", BOTH, "--manifest", "localhost/two")
    first = podman.run(*build, "--no-cache", "/run/project")
    assert first.returncode != 0
    assert "exec format error" in (first.stdout + first.stderr).lower()
    podman.install("arm64")
    podman.ok(*build, "--no-cache", "/run/project")
    manifests = json.loads(podman.ok("podman", "manifest", "inspect", "localhost/two"))["manifests"]
    podman.ok("podman", "manifest", "rm", "localhost/two")
    assert {m["platform"]["architecture"] for m in manifests} == {"amd64", "arm64"}
