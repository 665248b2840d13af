"""`--qemu image:REF` against Debian's docker-registry, and against everything that breaks."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import io
import json
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.errors import BinfmtSetupError, ExitCode, NoEmulator, OtherProgramFailed
from binfmt_setup.model.records import replace
from binfmt_setup.model.request import Source
from binfmt_setup.sources import image_manifests, streams
from binfmt_setup.sources.image_pull import ImageRepository, Patience
from binfmt_setup.sources.qemu_source import bring
from binfmt_setup.system.host import Host
from tests import registries
from tests.packing import Image, Item, digest, emulators, image, program, tar
from tests.registries import Answer, Asked, Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.facts import HostFacts

QUICK = Patience(
    connect=60, read=60, whole=300, attempts=3, pause=0.01, longest_pause=0.3, slowest=0
)
"""Short pauses between attempts; otherwise more patient than a busy machine needs."""
LAYER = tar(
    Item("usr/bin/qemu-arm", program(name="arm") + random.Random(1).randbytes(300_000)),  # noqa: S311
    Item("usr/bin/qemu-aarch64", program()),
)
IMAGE = image(LAYER, others=("arm64",))


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that nobody but root can change: what is kept elsewhere is not trusted."""
    with tempfile.TemporaryDirectory(dir="/run") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry with one image of two platforms."""
    if not registries.PROGRAM:
        pytest.skip("docker-registry is not installed")
    with registries.running(tmp_path_factory.mktemp("registry")) as address:
        registries.push(address, "a/qemu", "1", IMAGE)
        yield address


@pytest.fixture
def proxy(registry: str) -> Iterator[Proxy]:
    with registries.proxied(registry) as proxy:
        yield proxy


def pulled(
    reference: str, environment: dict[str, str] | None = None, patience: Patience = QUICK
) -> bytes:
    """The only layer of an image for amd64, unpacked."""
    file = io.BytesIO()
    with ImageRepository(reference, environment or {}, Host(), patience) as client:
        found = client.image("amd64")
        assert len(found.layers) == 1
        client.pull(found.layers[0], file, streams.Limits())
    return gzip.decompress(file.getvalue())


def refused(
    reference: str, environment: dict[str, str] | None = None, patience: Patience = QUICK
) -> BinfmtSetupError:
    with pytest.raises(BinfmtSetupError) as caught:
        pulled(reference, environment, patience)
    assert caught.value.exit_code in (ExitCode.NO_EMULATOR, ExitCode.OTHER_PROGRAM)
    assert caught.value.hint
    return caught.value


# --- what works --------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [":1", "@" + digest(IMAGE.index), ":1@" + digest(IMAGE.index)])
def test_by_tag_and_by_digest(registry: str, wanted: str) -> None:
    assert pulled(f"{registry}/a/qemu{wanted}") == LAYER


def test_a_cut_connection_goes_on_where_it_ended(proxy: Proxy) -> None:
    def cut(asked: Asked, answer: Answer) -> Answer:
        if "/blobs/" in asked.path and asked.number < 2:
            return dataclasses.replace(answer, cut_at=len(answer.body) // 2)
        return answer

    proxy.fault = cut
    assert pulled(f"{proxy.address}/a/qemu:1") == LAYER
    ranges = [asked.headers.get("Range", "") for asked in proxy.blobs()]
    assert ranges[0] == ""
    assert ranges[1].startswith("bytes=")
    starts = [int(words[6:-1]) for words in ranges[1:]]
    assert 0 < starts[0] < starts[1]


def test_where_a_registry_knows_no_ranges_it_starts_over(proxy: Proxy) -> None:
    def cut(asked: Asked, answer: Answer) -> Answer:
        if "/blobs/" not in asked.path:
            return answer
        whole = IMAGE.blobs[asked.path.rpartition("/")[2]]
        cut_at = len(whole) // 2 if asked.number == 0 else None
        headers = {k: v for k, v in answer.headers.items() if k != "Content-Range"}
        return Answer(200, headers, whole, cut_at)

    proxy.fault = cut
    assert pulled(f"{proxy.address}/a/qemu:1") == LAYER
    assert len(proxy.blobs()) == 2


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_passing_failure_is_waited_out(proxy: Proxy, status: int) -> None:
    def busy(asked: Asked, answer: Answer) -> Answer:
        return Answer(status, {"Retry-After": "0"}, b"busy") if asked.number == 0 else answer

    proxy.fault = busy
    assert pulled(f"{proxy.address}/a/qemu:1") == LAYER


def test_the_pause_that_a_registry_asks_for_is_kept_up_to_a_limit(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retry-After: 1000 is cut to the longest pause, here 0.3 s, where 0.01 s would be usual."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    def busy(asked: Asked, answer: Answer) -> Answer:
        return Answer(429, {"Retry-After": "1000"}, b"") if asked.number == 0 else answer

    proxy.fault = busy
    assert pulled(f"{proxy.address}/a/qemu:1") == LAYER
    # One for the manifest, one for the blob.
    assert pauses == [QUICK.longest_pause] * 2


def test_a_redirection_to_elsewhere_gets_no_password(proxy: Proxy, tmp_path: Path) -> None:
    home = login_file(tmp_path, proxy.address)
    with registries.proxied(proxy.upstream) as storage:

        def fault(asked: Asked, answer: Answer) -> Answer:
            if "Authorization" not in asked.headers:
                return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
            if "/blobs/" in asked.path:
                where = f"http://localhost:{storage.address.partition(':')[2]}{asked.path}"
                return Answer(307, {"Location": where}, b"")
            return answer

        proxy.fault = fault
        assert pulled(f"{proxy.address}/a/qemu:1", home) == LAYER
        assert storage.blobs()
        assert all("Authorization" not in asked.headers for asked in storage.asked)


def login_file(folder: Path, registry: str, password: str = registries.PASSWORD) -> dict[str, str]:
    """A docker configuration with a password, as an environment that leads there."""
    secret = base64.b64encode(f"{registries.USER}:{password}".encode()).decode()
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": secret}}}))
    return {"DOCKER_CONFIG": str(folder)}


@pytest.mark.usefixtures("registry")
def test_with_a_password_and_without(tmp_path: Path) -> None:
    """The registry itself checks it."""
    data = tmp_path / "registry"
    with registries.running(data) as address:
        registries.push(address, "a/qemu", "1", IMAGE)
    with registries.running(data, password=True) as address:
        reference = f"{address}/a/qemu:1"
        assert pulled(reference, login_file(tmp_path / "right", address)) == LAYER
        for environment in ({"HOME": str(tmp_path)}, login_file(tmp_path / "w", address, "wrong")):
            error = refused(reference, environment)
            assert (error.code, error.exit_code) == ("registry-denied", ExitCode.OTHER_PROGRAM)
            assert registries.PASSWORD not in error.message + error.hint


def test_a_token_is_fetched_where_the_registry_says(proxy: Proxy, tmp_path: Path) -> None:
    def fault(asked: Asked, answer: Answer) -> Answer:
        if asked.path.startswith("/token"):
            assert "scope=repository%3Aa%2Fqemu%3Apull" in asked.path
            known = asked.headers.get("Authorization", "").startswith("Basic ")
            return Answer(200, {}, b'{"token": "t0ken"}') if known else Answer(401, {}, b"")
        if asked.headers.get("Authorization") != "Bearer t0ken":
            where = f'Bearer realm="http://{proxy.address}/token",service="tests"'
            return Answer(401, {"WWW-Authenticate": where}, b"")
        return answer

    proxy.fault = fault
    reference = f"{proxy.address}/a/qemu:1"
    assert pulled(reference, login_file(tmp_path, proxy.address)) == LAYER
    assert refused(reference, {"HOME": str(tmp_path / "nobody")}).code == "registry-denied"


def test_through_a_proxy_that_the_environment_names(proxy: Proxy) -> None:
    reference = "http://registry.invalid:5000/a/qemu:1"
    assert pulled(reference, {"http_proxy": f"http://{proxy.address}"}) == LAYER
    assert all(asked.path.startswith("http://registry.invalid:5000/") for asked in proxy.asked)
    assert refused(reference, {"http_proxy": proxy.address, "no_proxy": ".invalid"}).code == (
        "registry-failed"
    )


# --- what does not -----------------------------------------------------------------------------


def test_always_cut(proxy: Proxy) -> None:
    proxy.fault = lambda _, answer: dataclasses.replace(answer, cut_at=len(answer.body) // 2)
    error = refused(f"{proxy.address}/a/qemu:1")
    assert isinstance(error, OtherProgramFailed)
    assert error.code == "registry-failed"


@pytest.mark.parametrize("kind", ["/blobs/", "/manifests/sha256"])
def test_a_wrong_digest(proxy: Proxy, kind: str) -> None:
    def changed(asked: Asked, answer: Answer) -> Answer:
        if kind in asked.path:
            answer.body = answer.body.replace(b"a", b"b", 1)
        return answer

    proxy.fault = changed
    error = refused(f"{proxy.address}/a/qemu:1")
    assert (type(error), error.code) == (NoEmulator, "digest-mismatch")
    assert len(proxy.blobs()) == (kind == "/blobs/")


def test_a_wrong_index_for_a_digest(proxy: Proxy) -> None:
    proxy.fault = lambda _, answer: dataclasses.replace(answer, body=answer.body + b" ")
    assert refused(f"{proxy.address}/a/qemu@{digest(IMAGE.index)}").code == "digest-mismatch"


def test_more_than_was_announced(proxy: Proxy) -> None:
    proxy.fault = lambda asked, answer: dataclasses.replace(
        answer, body=answer.body * (9 if "/blobs/" in asked.path else 1)
    )
    assert refused(f"{proxy.address}/a/qemu:1").code == "digest-mismatch"


@pytest.mark.parametrize("name", ["a/qemu:2", "a/nothing:1", "a/qemu@sha256:" + "0" * 64])
def test_what_is_not_there(registry: str, name: str) -> None:
    error = refused(f"{registry}/{name}")
    assert (error.code, error.exit_code) == ("image-not-found", ExitCode.NO_EMULATOR)


@pytest.mark.parametrize("status", [403, 418, 429, 500, 503])
def test_a_lasting_failure(proxy: Proxy, status: int) -> None:
    proxy.fault = lambda _, __: Answer(status, {}, b"no")
    error = refused(f"{proxy.address}/a/qemu:1")
    assert error.exit_code == ExitCode.OTHER_PROGRAM
    assert error.code == ("registry-denied" if status == 403 else "registry-failed")
    transient = status in (429, 500, 503)
    assert len(proxy.asked) == (QUICK.attempts if transient else 1)


def test_a_body_that_only_trickles(proxy: Proxy) -> None:
    def slow(asked: Asked, answer: Answer) -> Answer:
        return dataclasses.replace(answer, pause=0.05 if "/blobs/" in asked.path else 0.0)

    proxy.fault = slow
    # 64 bytes in 0.05 s at the very best.
    hasty = replace(QUICK, slowest=20_000, window=0.3)
    error = refused(f"{proxy.address}/a/qemu:1", patience=hasty)
    assert error.code == "registry-failed"
    assert "bytes came in" in error.message


def test_a_registry_that_is_down() -> None:
    error = refused(f"127.0.0.1:{registries.free_port()}/a/qemu:1")
    assert (error.code, error.exit_code) == ("registry-failed", ExitCode.OTHER_PROGRAM)


def test_an_answer_without_end(proxy: Proxy) -> None:
    proxy.fault = lambda _, answer: dataclasses.replace(answer, body=b"x" * (5 << 20))
    assert refused(f"{proxy.address}/a/qemu:1").code == "archive-too-large"


def test_an_image_without_this_platform(registry: str) -> None:
    registries.push(registry, "a/other", "1", image(LAYER, architecture="s390x"))
    assert refused(f"{registry}/a/other:1").code == "image-without-match"


# --- as a source ---------------------------------------------------------------------------------


def source(reference: str, tmp_path: Path) -> Source:
    return Source("image", f"image:{reference}", str(tmp_path / "store"), {})


@pytest.fixture
def amd64() -> HostFacts:
    from binfmt_setup.model.facts import HostFacts, KernelFacts

    return HostFacts(root="/", kernel=KernelFacts(machine="x86_64"))


def test_unpacked_once_and_then_known_by_its_digest(
    proxy: Proxy, tmp_path: Path, amd64: HostFacts
) -> None:
    wanted = source(f"{proxy.address}/a/qemu:1", tmp_path)
    foreseen = bring(Host(), amd64, wanted, write=False)
    assert foreseen.new
    assert not (tmp_path / "store").exists()
    first = bring(Host(), amd64, wanted, write=True)
    assert first.directory == foreseen.directory
    folder = Path(first.directory)
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        "qemu-arm": 0o755, "qemu-aarch64": 0o755, "binfmt-setup.json": 0o644,
    }  # fmt: skip
    count = len(proxy.blobs())
    assert bring(Host(), amd64, wanted, write=True).new is False
    assert len(proxy.blobs()) == count


def test_two_tags_lie_side_by_side(registry: str, tmp_path: Path, amd64: HostFacts) -> None:
    for tag, version in (("v1", "1.1.1"), ("v2", "2.2.2")):
        registries.push(registry, "a/two", tag, image(emulators("arm", version=version)))
        bring(Host(), amd64, source(f"{registry}/a/two:{tag}", tmp_path), write=True)
    names = sorted(path.name.partition("-")[0] for path in (tmp_path / "store").iterdir())
    assert names == ["1.1.1", "2.2.2"]


def test_a_tag_says_how_to_stay_with_what_was_fetched(
    registry: str, tmp_path: Path, amd64: HostFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = f"image:{registry}/a/qemu@{digest(IMAGE.index)}"
    bring(Host(), amd64, source(f"{registry}/a/qemu:1", tmp_path), write=True)
    said = capsys.readouterr().err
    assert f"warning: image:{registry}/a/qemu:1 is a tag" in said
    assert f"--qemu {pinned}\n" in said
    bring(Host(), amd64, source(pinned.removeprefix("image:"), tmp_path), write=True)
    assert capsys.readouterr().err == ""


def test_an_image_whose_digest_is_given_beside_it(
    proxy: Proxy, tmp_path: Path, amd64: HostFacts, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of the tag's index, or of this platform's manifest; no layer is fetched for another."""
    tagged = source(f"{proxy.address}/a/qemu:1", tmp_path)
    with pytest.raises(NoEmulator) as caught:
        bring(Host(), amd64, replace(tagged, sha256="0" * 64), write=True)
    assert caught.value.code == "digest-mismatch"
    assert digest(IMAGE.index).removeprefix("sha256:") in caught.value.message
    assert proxy.blobs() == []
    for name in (digest(IMAGE.index), manifest_digest()):
        pinned = replace(tagged, sha256=name.removeprefix("sha256:"))
        bring(Host(), amd64, pinned, write=True)
    assert capsys.readouterr().err == ""


def manifest_digest() -> str:
    return image_manifests.choose_image(
        IMAGE.index, lambda descriptor: IMAGE.blobs[descriptor.digest], "amd64"
    ).digest


@pytest.mark.parametrize("kind", ["cut", "digest", "bomb", "nothing"])
def test_whatever_fails_nothing_is_left_behind(
    proxy: Proxy, tmp_path: Path, amd64: HostFacts, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("binfmt_setup.sources.image_pull.Patience", lambda: QUICK)
    contents: dict[str, Image] = {
        "cut": IMAGE, "digest": IMAGE,
        "bomb": image(tar(Item("a", program())) + bytes(1024)),
        "nothing": image(tar(Item("etc/passwd", b"root"))),
    }  # fmt: skip
    registries.push(proxy.upstream, f"a/{kind}", "1", contents[kind])

    def fault(asked: Asked, answer: Answer) -> Answer:
        if "/blobs/" in asked.path and kind == "cut":
            answer.cut_at = 100
        if "/blobs/" in asked.path and kind == "digest":
            answer.body = answer.body[:-1] + b"!"
        return answer

    proxy.fault = fault
    with pytest.raises(BinfmtSetupError):
        bring(Host(), amd64, source(f"{proxy.address}/a/{kind}:1", tmp_path), write=True)
    assert list(tmp_path.rglob("*")) == []


def test_the_digest_that_is_written_down_is_that_of_this_platforms_manifest() -> None:
    found = image_manifests.choose_image(
        IMAGE.index, lambda descriptor: IMAGE.blobs[descriptor.digest], "amd64"
    )
    assert found.digest in IMAGE.blobs
    assert found.digest != digest(IMAGE.index)
