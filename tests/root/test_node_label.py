"""The label of a Kubernetes node stands there while programs run, and no longer."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests import image_tree
from tests.api_server import TOKEN, ApiServer, api_server
from tests.image_host import REGISTRY, ImageHost, image_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WHY_NOT = image_tree.why_not() or ("" if shutil.which("openssl") else "openssl is not installed")
pytestmark = pytest.mark.skipif(
    bool(WHY_NOT) or os.geteuid() != 0, reason=WHY_NOT or "all users are mapped by root alone"
)
BOUND = f"{REGISTRY}:/run/binfmt_misc"
LABEL = "binfmt-setup/ready"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with api_server(tmp_path) as made:
        yield made


@pytest.fixture
def bare() -> Iterator[ImageHost]:
    with image_host(image_tree.image_tree()) as made:
        yield made


@pytest.fixture
def host(bare: ImageHost) -> ImageHost:
    bare.mount()
    return bare


def binds(api: ApiServer) -> str:
    return f"{BOUND} {api.folder}:/run/secrets/kubernetes.io/serviceaccount"


def told(api: ApiServer) -> dict[str, str]:
    return {"NODE": "worker-1", "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(api.port)}  # fmt: skip


def request(value: str | None) -> str:
    body = json.dumps({"metadata": {"labels": {LABEL: value}}})
    return f"/api/v1/nodes/worker-1 Bearer {TOKEN} application/merge-patch+json {body}"


def test_it_is_there_while_check_says_yes(host: ImageHost, api: ApiServer) -> None:
    words = ("label-node", "--every", "0.1", f"{LABEL}=true", "arm64")
    with host.started(*words, binds=binds(api), **told(api)) as container:
        assert api.next() == request(None)
        assert host.container("install", "arm64", least=True, binds=BOUND).returncode == 0
        assert api.next() == request("true")
        host.run("sh", "-c", f"echo -1 >{REGISTRY}/qemu-aarch64")
        assert api.next() == request(None)
        assert host.container("install", "arm64", least=True, binds=BOUND).returncode == 0
        assert api.next() == request("true")
        host.end("label-node")
        assert api.next() == request(None)
        assert container.wait(20) == 0
        assert container.stderr is not None
        assert container.stderr.read().splitlines() == [
            f"node worker-1: {said}" for said in (f"no {LABEL}", f"{LABEL}=true") * 2
        ]
    assert "qemu-aarch64" in host.entries()


def test_it_is_taken_away_before_anything_is_installed(bare: ImageHost, api: ApiServer) -> None:
    done = bare.container("label-node", f"{LABEL}-", least=True, binds=binds(api), **told(api))
    assert (done.returncode, done.stderr, api.next()) == (0, "", request(None))
    api.refuse = True
    done = bare.container("label-node", f"{LABEL}-", least=True, binds=binds(api), **told(api))
    assert done.returncode == 4
    assert "403" in done.stderr
    assert "nodes is forbidden" in done.stderr
    # Another server with the same name gets no token.
    (api.folder / "ca.crt").write_bytes((api.folder / "ca.crt").read_bytes().replace(b"M", b"N"))
    done = bare.container("label-node", f"{LABEL}-", least=True, binds=binds(api), **told(api))
    assert done.returncode == 4
    assert "cannot be asked" in done.stderr
    assert api.next() == request(None)  # the one that was refused
    for words in ((), ("key",), ("--every", "soon", "key=value")):
        assert bare.container("label-node", *words).returncode == 2, words
    assert bare.container("label-node", "key=value").returncode == 4  # no pod of Kubernetes
