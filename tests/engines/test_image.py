"""The image in tonistiigi/binfmt's place: what docker/setup-qemu-action calls, then a build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests import image_tree
from tests.engines.test_stories import BUILD, project

if TYPE_CHECKING:
    import subprocess

    from tests.engines.lab import Lab

IMAGE = "example/binfmt:1"
# As src/main.ts of v3.7.0 and later has them; it fails where one says something on standard error
# and its status is not 0.
INSPECT = ("image", "inspect", IMAGE)
RUN = ("run", "--rm", "--privileged", IMAGE)


def load(lab: Lab) -> None:
    """Have the image there. The lab is a user namespace: its registry is the one that is meant."""
    if not lab.run("docker", *INSPECT).returncode:
        return
    changes = ('ENTRYPOINT ["/usr/bin/binfmt"]', 'VOLUME ["/run"]', "ENV BINFMT_PRIVATE=1")
    words = [word for change in changes for word in ("--change", change)]
    tree = str(image_tree.image_tree())
    script = 'tree=$1; shift; tar -C "$tree" -cf - . | docker import "$@"'
    lab.ok("sh", "-c", script, "sh", tree, *words, "-", IMAGE)


def call(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    done = lab.run("docker", *words)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(bool(image_tree.why_not()), reason=image_tree.why_not() or "it can")
def test_setup_qemu_action_with_our_image(new_docker: Lab) -> None:
    load(new_docker)
    call(new_docker, *INSPECT)
    assert "binfmt/binfmt-setup-" in call(new_docker, *RUN, "--version").stderr
    call(new_docker, *RUN, "--uninstall", "qemu-*")  # reset: true
    installed = call(new_docker, *RUN, "--install", "arm64,riscv64")
    assert installed.stderr.endswith("installing: arm64 OK\ninstalling: riscv64 OK\n")
    supported = json.loads(call(new_docker, *RUN).stdout)["supported"]  # its output `platforms`
    assert supported[0] == "linux/amd64"
    assert {"linux/arm64", "linux/riscv64"} <= set(supported)

    project(new_docker, "/run/project")
    build = new_docker.run(*BUILD, "--no-cache", "--platform", "linux/arm64", "/run/project")
    assert build.returncode == 0, build.stderr
    assert "target=aarch64" in build.stderr

    # Without the word that this namespace is meant, nothing would reach the host.
    theirs = ("run", "--rm", "--privileged", "--env=BINFMT_PRIVATE=0", IMAGE)
    refused = new_docker.run("docker", *theirs, "--install", "arm64")
    assert refused.returncode == 4
    assert "--private" in refused.stderr
    call(new_docker, *theirs, "--private", "--install", "arm64")

    failed = new_docker.run("docker", *RUN, "--install", "s390x")
    assert failed.returncode == 5
    assert failed.stderr.splitlines()[-1].startswith("installing: no usable emulator for s390x")
    reset = call(new_docker, *RUN, "--uninstall", "qemu-*")
    assert "uninstalling: qemu-aarch64 OK\n" in reset.stderr
    new_docker.ok("docker", "image", "rm", IMAGE)
    new_docker.ok("docker", "buildx", "prune", "--all", "--force")
