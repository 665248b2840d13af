"""Emulators taken out of archives: every form, whiteouts, digests, and what makes no sense."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.sources import streams
from binfmt_setup.sources.archives import read_archive
from binfmt_setup.sources.streams import Limits
from tests.packing import (
    AMD64,
    ARM64,
    Item,
    deb,
    docker_save,
    emulators,
    image,
    program,
    tar,
)
from tests.unpacked import SMALL, refused, taken, zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstd,
    "two xz streams": lambda data: lzma.compress(data[:700]) + lzma.compress(data[700:]),
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("form", ["tar", "deb"])
def test_every_compression(compression: str, form: str) -> None:
    data = COMPRESSIONS[compression](emulators("aarch64", "riscv64"))
    archive = deb(data, "data.tar.any") if form == "deb" else data
    assert taken(archive) == {t: program(name=t) for t in ("aarch64", "riscv64")}


def test_the_facts_of_what_is_taken() -> None:
    data = program(version="10.0.13", name="aarch64")
    found = read_archive(io.BytesIO(emulators("aarch64", aarch64=data)), AMD64).emulators()
    emulator = found["aarch64"]
    assert emulator.version == "10.0.13 (made for a test)"
    assert (emulator.name, emulator.size) == ("qemu-aarch64", len(data))
    assert emulator.elf.static


def test_only_static_programs_of_this_host_named_like_qemu_are_taken() -> None:
    archive = tar(
        Item("usr/bin/qemu-aarch64", program()),
        Item("usr/bin/qemu-arm", program(loader=True)),
        Item("usr/bin/qemu-ppc64le", program(ARM64)),
        Item("usr/bin/qemu-s390x", b"#!/bin/sh\n"),
        Item("usr/bin/qemu-img", program()),
        Item("usr/bin/qemu-system-arm", program()),
        Item("usr/bin/sh", program()),
        Item("usr/bin/qemu-riscv64", kind=tarfile.SYMTYPE, link="/bin/sh"),
        Item("usr/bin/qemu-mips", kind=tarfile.LNKTYPE, link="usr/bin/sh"),
        Item("usr/bin/qemu-alpha", kind=tarfile.CHRTYPE),
        Item("usr/bin/qemu-hppa", kind=tarfile.FIFOTYPE),
    )
    assert set(taken(archive)) == {"aarch64"}
    haul = read_archive(io.BytesIO(archive), AMD64)
    reasons = "\n".join(haul.refused)
    for name in ("arm is dynamically", "ppc64le is a program for aarch64", "s390x is not an ELF"):
        assert f"qemu-{name}" in reasons
    for name in ("riscv64", "mips", "alpha", "hppa"):
        assert f"qemu-{name} is a link or no regular file" in reasons


def test_static_names_are_stored_under_the_plain_one() -> None:
    archive = tar(Item("./opt/qemu-arm-static", program(name="arm")))
    assert read_archive(io.BytesIO(archive), AMD64).emulators()["arm"].name == "qemu-arm"


def test_the_usual_place_is_preferred() -> None:
    archive = tar(
        Item("a/qemu-arm", program(version="1.1.1")),
        Item("usr/bin/qemu-arm", program(version="2.2.2")),
    )
    assert b"2.2.2" in taken(archive)["arm"]


def test_nothing_to_take_says_what_was_passed_over() -> None:
    error = refused(tar(Item("usr/bin/qemu-arm", program(loader=True))))
    assert error.code == "image-without-match"
    assert "usr/bin/qemu-arm is dynamically linked" in error.message


# --- images -----------------------------------------------------------------------------------


@pytest.mark.parametrize("docker", [True, False])
def test_layers_and_whiteouts(docker: bool) -> None:  # noqa: FBT001 - both forms
    layers = (
        tar(
            Item("usr/bin/qemu-aarch64", program(version="1.0.0")),
            Item("usr/bin/qemu-arm", program()),
            Item("opt/qemu-s390x", program()),
            Item("srv/qemu-mips", program()),
            Item("lib/x/qemu-hppa", program()),
        ),
        tar(
            Item("usr/bin/qemu-aarch64", program(version="2.0.0")),
            Item("usr/bin/.wh.qemu-arm"),
            Item("opt/.wh..wh..opq"),
            Item("opt/qemu-riscv64", program()),
            Item("srv", kind=tarfile.SYMTYPE, link="/"),
            Item(".wh.lib"),
        ),
    )
    found = taken(docker_save(*layers) if docker else image(*layers).layout())
    assert set(found) == {"aarch64", "riscv64"}
    assert b"2.0.0" in found["aarch64"]


def test_an_opaque_directory_keeps_what_its_own_layer_brings() -> None:
    layer = tar(Item("opt/qemu-arm", program()), Item("opt/.wh..wh..opq"))
    assert set(taken(image(layer).layout())) == {"arm"}


def test_a_whiteout_is_for_lower_layers_alone() -> None:
    layer = tar(Item("opt/qemu-arm", program()), Item("opt/.wh.qemu-arm"))
    assert set(taken(image(layer).layout())) == {"arm"}


def test_a_file_that_every_layer_changes() -> None:
    """The last one counts, in a plain tar with one name several times, too."""
    versions = [emulators("arm", version=f"{number}.0.0") for number in range(1, 5)]
    assert b"4.0.0" in taken(image(*versions).layout())["arm"]
    assert b"4.0.0" in taken(docker_save(*versions))["arm"]
    twice = tar(*(Item("qemu-arm", program(version=f"{n}.0.0")) for n in range(1, 4)))
    assert b"3.0.0" in taken(twice)["arm"]


@pytest.mark.parametrize("pack", [bytes, bz2.compress, lzma.compress])
def test_an_archive_is_not_read_again_for_every_layer(pack: Callable[[bytes], bytes]) -> None:
    """Read are: what is in it, once more to unpack it as a whole, and each layer on its own."""

    class Counted(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            Counted.count += len(data)
            return data

    layers = [emulators("arm", version=f"{number}.0.0") for number in range(40)]
    data = pack(docker_save(*layers))
    limits = Limits(total=64 << 20, layers=64)
    found = read_archive(Counted(data), AMD64, None, limits).emulators()
    assert found["arm"].version.startswith("39.")
    assert Counted.count < 4 * len(data) + 40 * 2 * streams.CHUNK


def test_emulators_that_nobody_wants_are_passed_over() -> None:
    written: list[str] = []

    def sink(path: str, name: str, pieces: Iterator[bytes]) -> None:
        written.append(name)
        assert b"".join(pieces)
        del path

    file = io.BytesIO(emulators("arm", "aarch64", "mips"))
    haul = read_archive(file, AMD64, sink, SMALL, wanted={"arm", "s390x"})
    assert written == ["qemu-arm"]
    assert list(haul.emulators()) == ["arm"]
    assert haul.offered() == ("aarch64", "arm", "mips")
    with pytest.raises(NoEmulator, match="no QEMU for s390x, only for aarch64, arm, mips"):
        read_archive(file, AMD64, sink, SMALL, wanted={"s390x"}).emulators()


def calls_for(members: int) -> int:
    """How many functions are called to read an archive with so many emulators and documents."""
    items = [Item(f"d{number}/qemu-arm", program()) for number in range(members)]
    items += [Item(f"j{number}", b"{}") for number in range(members)]
    data, calls = tar(*items), 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    sys.setprofile(count)
    try:
        read_archive(io.BytesIO(data), AMD64, None, Limits()).emulators()
    finally:
        sys.setprofile(None)
    return calls


def test_twice_as_many_members_take_twice_as_long() -> None:
    assert calls_for(400) < 2.2 * calls_for(200)


def test_of_several_platforms_this_hosts_is_taken() -> None:
    archive = image(emulators("arm"), others=("arm64", "s390x")).layout()
    assert set(taken(archive)) == {"arm"}


def test_an_image_without_this_platform() -> None:
    error = refused(image(emulators("arm"), architecture="s390x", others=("arm64",)).layout())
    assert error.code == "image-without-match"
    assert "only: linux/arm64, linux/s390x" in error.message


@pytest.mark.parametrize("which", [0, -1])
def test_a_blob_that_is_not_what_its_digest_says(which: int) -> None:
    """The layer, or the manifest."""
    packed = image(emulators("arm"))
    name = list(packed.blobs)[which]
    data = bytearray(packed.blobs[name])
    data[10 if which else -9] ^= 0x20
    codes = ("digest-mismatch", "archive-corrupt") if which == 0 else ("digest-mismatch",)
    assert refused(packed.layout(swap={name: bytes(data)})).code in codes
    extra = packed.blobs[name] + b"\n"
    assert refused(packed.layout(swap={name: extra})).code in codes


def test_another_layer_that_is_whole_but_not_the_promised_one() -> None:
    packed = image(emulators("arm"))
    other = gzip.compress(emulators("arm", version="6.6.6"), 1)
    assert refused(packed.layout(swap={next(iter(packed.blobs)): other})).code == "digest-mismatch"


def test_a_layer_of_docker_save_that_is_not_what_the_configuration_says() -> None:
    assert refused(docker_save(emulators("arm"), wrong=True)).code == "digest-mismatch"


def test_a_blob_that_is_missing() -> None:
    packed = image(emulators("arm"))
    for name in (next(iter(packed.blobs)), list(packed.blobs)[-1]):
        assert refused(packed.layout(skip=name)).code == "archive-corrupt"


def test_two_images_in_one_archive() -> None:
    data = tar(Item("manifest.json", b'[{"Config":"a","Layers":[]},{"Config":"b","Layers":[]}]'))
    assert refused(data).code == "image-ambiguous"


@pytest.mark.parametrize(
    "document",
    [
        b"{", b"[]", b'{"manifests": 3}', b'{"manifests": [{"digest": "../../etc/passwd"}]}',
        b'{"layers": [{"digest": "sha256:' + b"0" * 64 + b'", "size": -1}]}',
        b'{"layers": {}}', b'{"manifests": []}', b'{"schemaVersion": 1, "fsLayers": []}',
        b'{"a":' * 100_000,
    ],
)  # fmt: skip
def test_documents_that_make_no_sense(document: bytes) -> None:
    """A deep or broken index is refused, whatever way it is broken."""
    assert refused(tar(Item("index.json", document.ljust(20)))).code in (
        "archive-corrupt", "image-without-match",
    )  # fmt: skip


@pytest.mark.parametrize(
    "config", [b"{}", b'{"rootfs": {"diff_ids": ["x"]}}', b'{"rootfs": {"diff_ids": []}}', b"[1]"]
)
def test_docker_configurations_that_make_no_sense(config: bytes) -> None:
    assert refused(docker_save(emulators("arm"), config=config)).code == "archive-corrupt"


# --- hostile ----------------------------------------------------------------------------------
