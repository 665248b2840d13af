"""`--qemu` when something goes wrong: nothing is left behind, and what was there still works."""

from __future__ import annotations

import hashlib
import lzma
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.emulator_sources import HERE, rows
from tests.packing import Item, image, program, tar, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox


def corrupt(_: bytes) -> bytes:
    return b"\x1f\x8b\x08garbage"


def bomb(_: bytes) -> bytes:
    """Eleven sound files of 200 MiB zeros, of which one mebibyte is compressed once."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)

    def packed(data: bytes) -> bytes:
        return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)

    stream, mebibyte = b"\x1f\x8b\x08" + bytes(6) + b"\xff", packed(bytes(1 << 20))
    for number in range(11):
        member = tarfile.TarInfo(f"zeros{number}")
        member.size = 200 << 20
        stream += packed(member.tobuf()) + mebibyte * 200
    return stream + packer.flush()


def cut(good: bytes) -> bytes:
    return good[: len(good) // 2]


def no_match(_: bytes) -> bytes:
    return image(tar(Item("usr/bin/qemu-aarch64", program())), architecture="s390x").layout()


def escape(good: bytes) -> bytes:
    return tar(Item("../../etc/cron.d/qemu-aarch64", good[:9999]))


@pytest.mark.parametrize("make", [corrupt, bomb, cut, no_match, escape])
def test_bad_archives(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path,
    make: Callable[[bytes], bytes],
) -> None:  # fmt: skip
    """Refused with exit code 5, whatever is wrong; the bomb is a little over 2 GiB."""
    registry.json("install", *HERE, "--qemu", str(archives[0]), *kept)
    bad = write(tmp_path / "bad", make(archives[1].read_bytes()))
    said = assert_refused(registry, str(bad), kept, tmp_path)
    assert ("it unpacks to more than 2048 MiB" in said) == (make is bomb), said


def assert_refused(registry: Sandbox, bad: str, kept: tuple[str, ...], tmp_path: Path) -> str:
    """Refused with exit code 5 and a message, which is returned; the host as it was."""
    before, files = registry.entries(), sorted(tmp_path.rglob("*"))
    done = registry.tool("install", *HERE, "--qemu", bad, *kept)
    assert done.returncode == 5, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert 1 <= done.stderr.count("\n") <= 3
    assert sorted(tmp_path.rglob("*")) == files
    assert registry.entries() == before
    assert registry.json("check", "arm64")["ok"] is True
    return done.stderr


@pytest.mark.parametrize(("mounted", "code"), [("size=4M", "no-space"), ("ro", "read-only")])
def test_no_space_or_no_right_to_write(  # noqa: PLR0917 - fixtures
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path,
    mounted: str, code: str,
) -> None:  # fmt: skip
    registry.json("install", *HERE, "--qemu", str(archives[0]), *kept)
    full = tmp_path / "full"
    full.mkdir()
    assert registry.sh(f"mount -t tmpfs -o mode=755,{mounted} none {full}").returncode == 0
    other = ("--qemu-store", str(full / "qemu"))
    before = registry.entries()
    data = registry.json("install", *HERE, "--qemu", str(archives[1]), *other, status=5)
    assert [error["code"] for error in rows(data, "errors")] == [code]
    assert registry.sh(f"ls -A {full}").stdout == ""
    assert registry.entries() == before
    assert registry.json("check", "arm64")["ok"] is True


def test_terminated_while_unpacking_nothing_is_left(
    registry: Sandbox, qemu: Path, kept: tuple[str, ...], tmp_path: Path
) -> None:
    """Eight emulators take long enough to be caught in the middle."""
    program = (qemu / "qemu-aarch64-static").read_bytes()
    names = ("aarch64", "arm", "mips", "mipsel", "ppc", "riscv64", "s390x", "sh4")
    data = tar(*(Item(f"usr/bin/qemu-{name}", program) for name in names))
    archive = write(tmp_path / "many.tar.xz", lzma.compress(data, preset=0))
    command = (sys.executable, "-m", "binfmt_setup", "install", ",".join(names), *HERE[1:], *kept)
    with subprocess.Popen(
        [*registry.inside, *command, "--qemu", str(archive)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        while running.poll() is None and not list(tmp_path.glob("store/qemu/.new-*/*-qemu-arm")):
            time.sleep(0.005)
        assert list(tmp_path.glob("store/qemu/.new-*"))
        running.terminate()
    assert running.returncode == 128 + signal.SIGTERM
    assert not (tmp_path / "store").exists()
    assert registry.entries() == {}


def test_what_a_killed_run_left_is_swept(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path
) -> None:
    left = tmp_path / "store/qemu/.new-abcd_123"
    left.mkdir(parents=True)
    (left / "0-qemu-aarch64").write_bytes(b"half")
    registry.json("install", *HERE, "--qemu", str(archives[0]), *kept)
    assert not left.exists()


def test_a_registry_that_is_down(registry: Sandbox, kept: tuple[str, ...], tmp_path: Path) -> None:
    from tests.registries import free_port

    done = registry.tool("install", *HERE, "--qemu", f"image:127.0.0.1:{free_port()}/qemu:1", *kept)
    assert done.returncode == 6, done.stdout + done.stderr
    assert "--qemu FILE" in done.stderr
    assert list(tmp_path.iterdir()) == []


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_archive_that_is_not_the_one_that_was_meant(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path
) -> None:
    """Nothing looks into it: not even what is wrong with it is said."""
    meant = ("--qemu-sha256", sha256_of(archives[0]))
    broken = write(tmp_path / "broken.tar", b"\x1f\x8bbroken")
    for other in (archives[1], broken):
        data = registry.json("install", *HERE, "--qemu", str(other), *meant, *kept, status=5)
        (error,) = rows(data, "errors")
        assert error["code"] == "digest-mismatch"
        assert sha256_of(other) in str(error["message"])
    assert not (tmp_path / "store").exists()
    assert registry.entries() == {}
    upper = ("--qemu-sha256", f"sha256:{sha256_of(archives[0]).upper()}")
    assert registry.json("install", *HERE, "--qemu", str(archives[0]), *upper, *kept)["changed"]


@pytest.mark.parametrize(
    "words",
    [
        ("--qemu-sha256", "0" * 64),
        ("--qemu", "/usr/bin", "--qemu-sha256", "0" * 64),
        ("--qemu", "/bin/sh", "--qemu-sha256", "0" * 63),
        ("--qemu", "/bin/sh", "--qemu-sha256", "g" * 64),
    ],
)
@pytest.mark.parametrize("command", ["install", "unit"])
def test_a_digest_that_makes_no_sense_is_a_usage_error(
    registry: Sandbox, command: str, words: tuple[str, ...]
) -> None:
    done = registry.tool(command, "arm64", *words)
    assert done.returncode == 2
    assert "--qemu-sha256" in done.stderr


@pytest.mark.parametrize(
    "source", ["/nonexistent", "image:", "image:UPPER/case", "image:a b", "image:x@sha256:12"]
)
def test_a_source_that_is_none_is_a_usage_error(registry: Sandbox, source: str) -> None:
    assert registry.tool("install", *HERE, "--qemu", source).returncode == 2
