"""The lines of deploy/kubernetes with the rights that they ask for; scripts/try-pod runs pods."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

import pytest

from tests import image_tree
from tests.image_host import REGISTRY, image_host
from tests.kubernetes import BASE, JOB, containers, pod_spec

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    bool(image_tree.why_not()) or os.geteuid() != 0,
    reason=image_tree.why_not() or "all users are mapped by root alone",
)
SECONDS = 20


def line(words: list[str]) -> list[str]:
    """A line of a container, whose volumes lie here where the image has a folder for them."""
    places = {"/registry": "/run/registry", "/wishes": "/host"}
    return [re.sub(r"^/(registry|wishes)\b", lambda m: places[m[0]], word) for word in words]


def test_a_node_is_made_ready_kept_ready_and_given_back(tmp_path: Path) -> None:
    (tmp_path / "binfmt-setup.toml").write_bytes((BASE.parent / "binfmt-setup.toml").read_bytes())
    binds = f"{REGISTRY}:/run/registry {tmp_path}:/host"
    install, hold = containers(pod_spec(BASE))
    (remove,) = containers(pod_spec(JOB))
    _, *probe = hold["readinessProbe"]["exec"]["command"]
    with image_host(image_tree.image_tree()) as node:
        node.mount()
        node.register(":theirs:E::theirs::/bin/true:")

        def run(words: list[str]) -> int:
            return node.container(*line(words), least=True, binds=binds).returncode

        assert run(probe) == 1
        assert run(install["args"]) == 0
        assert run(probe) == 0
        node.run("sh", "-c", f"echo -1 >{REGISTRY}/qemu-aarch64")
        assert run(probe) == 1
        with node.started(*line(hold["args"]), binds=binds) as held:
            end = time.monotonic() + SECONDS
            while "qemu-aarch64" not in node.entries():
                assert time.monotonic() < end
            assert run(probe) == 0
            node.end("--hold")
            assert held.wait(SECONDS) == 0
        assert sorted(node.entries()) == ["qemu-aarch64", "qemu-riscv64", "theirs"]
        assert run(remove["args"]) == 0
        assert list(node.entries()) == ["theirs"]
