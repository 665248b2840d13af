"""`--qemu FILE` on the real kernel: versions side by side, and whatever may go wrong."""

from __future__ import annotations

import json
import lzma
import os
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from tests.own_namespace import PROBES
from tests.packing import Item, deb, docker_save, image, program, tar, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Sandbox

HERE = ("arm64", "--private", "--no-persist")
OLD, NEW = "7.0.1", "99.0.2"


def rows(data: dict[str, object], key: str) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", data[key])


def kinds(data: dict[str, object]) -> list[object]:
    return [row["kind"] for row in rows(data, "actions")]


@pytest.fixture
def qemu_version(qemu: Path) -> Callable[[str], bytes]:
    """A QEMU for arm64 that says it is another version: the real one with its word changed."""
    data = (qemu / "qemu-aarch64-static").read_bytes()
    start = data.index(b"qemu-aarch64 version ") + len(b"qemu-aarch64 version ")
    end = data.index(b"\n", start)

    def make(version: str) -> bytes:
        said = f"{version} (a test)".encode().ljust(end - start)
        return data[:start] + said + data[end:]

    return make


@pytest.fixture
def archives(qemu_version: Callable[[str], bytes], tmp_path: Path) -> tuple[Path, Path]:
    """Two versions, one as a .deb and one as docker saves it."""
    old = deb(tar(Item("./usr/bin/qemu-aarch64-static", qemu_version(OLD))))
    new = docker_save(tar(Item("usr/bin/qemu-aarch64", qemu_version(NEW))))
    return write(tmp_path / "old.deb", old), write(tmp_path / "new.tar", new)


@pytest.fixture
def kept(tmp_path: Path) -> tuple[str, ...]:
    """Where this test's emulators are kept."""
    return ("--qemu-store", str(tmp_path / "store" / "qemu"))


def test_two_versions_side_by_side_there_and_back(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path
) -> None:
    """An arm64 program starts at every moment, while they are exchanged."""
    old, new = map(str, archives)
    store = tmp_path / "store/qemu"
    first = registry.json("install", *HERE, "--qemu", old, *kept)
    assert kinds(first) == ["unpack", "register"]
    assert kinds(registry.json("install", *HERE, "--qemu", old, *kept)) == []
    with starting(registry, tmp_path) as count:
        assert kinds(registry.json("install", *HERE, "--qemu", new, *kept)) == ["unpack", "replace"]
        assert kinds(registry.json("install", *HERE, "--qemu", old, *kept)) == ["replace"]
        assert kinds(registry.json("install", *HERE, "--qemu", new, *kept)) == ["replace"]
    assert count() > 20
    assert sorted(path.name.partition("-")[0] for path in store.iterdir()) == [OLD, NEW]
    (entry,) = rows(registry.json("status"), "entries")
    assert str(entry["disk_version"]).startswith(NEW)
    assert str(entry["pinned_version"]).startswith(NEW)
    assert entry["source"] == new
    manifest = json.loads(
        (Path(str(entry["interpreter"])).parent / "binfmt-setup.json").read_text()
    )
    assert entry["sha256"] == manifest["files"]["qemu-aarch64"]
    text = registry.tool("status").stdout
    assert f"from {new}" in text
    assert f"sha256 {entry['sha256']}" in text
    # A later run that names no source stays with the one that was chosen.
    assert registry.json("install", *HERE)["changed"] is False
    gone = registry.json("uninstall", "--private")
    assert kinds(gone) == ["remove-entry", "remove-emulators", "remove-emulators"]
    assert not (tmp_path / "store").exists()


class starting:  # noqa: N801 - reads as a word
    """Starts arm64 programs without a pause; on leaving none of them may have failed."""

    def __init__(self, registry: Sandbox, folder: Path) -> None:
        self._stop = folder / "stop"
        code = (
            "import os\n"
            "done = 0\n"
            "null = [(os.POSIX_SPAWN_OPEN, n, '/dev/null', os.O_RDWR, 0) for n in (0, 1, 2)]\n"
            f"while not os.path.exists({str(self._stop)!r}):\n"
            f"    probe = {str(PROBES / 'aarch64')!r}\n"
            "    pid = os.posix_spawn(probe, ['x'], {}, file_actions=null)\n"
            "    assert os.waitpid(pid, 0)[1] == 0\n"
            "    done += 1\n"
            "print(done)\n"
        )
        self._command = [*registry.inside, sys.executable, "-c", code]
        self._output = ""

    def __enter__(self) -> Callable[[], int]:
        self._starter = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        return lambda: int(self._output)

    def __exit__(self, *_: object) -> None:
        self._stop.touch()
        self._output, _errors = self._starter.communicate(timeout=60)
        assert self._starter.returncode == 0


def test_the_pinned_version_is_asked_when_the_file_is_another_one(
    registry: Sandbox, emulators: Path, qemu_version: Callable[[str], bytes]
) -> None:
    registry.json("install", *HERE, "--qemu", str(emulators))
    (before,) = rows(registry.json("status"), "entries")
    new = write(emulators / "new", qemu_version(NEW))
    new.chmod(0o755)
    new.rename(emulators / "qemu-aarch64-static")
    (after,) = rows(registry.json("status"), "entries")
    assert str(after["disk_version"]).startswith(NEW)
    assert after["pinned_version"] == before["disk_version"]
    assert f"(disk: {NEW})" in registry.tool("status").stdout


def test_a_target_without_a_probe_is_registered_and_said_to_be_unproven(
    registry: Sandbox, qemu: Path
) -> None:
    data = registry.json("install", "microblaze", "--private", "--no-persist", status=1)
    assert list(registry.entries()) == ["qemu-microblaze"]
    findings = rows(rows(data, "platforms")[0], "findings")
    assert [finding["code"] for finding in findings] == ["not-probed"]
    said = registry.tool("status").stdout
    assert "registered, not probed: qemu-microblaze\n" in said
    assert str(qemu) in said or "/usr/libexec" in said


def test_a_version_that_fails_its_probe_is_not_switched_to(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path
) -> None:
    registry.json("install", *HERE, "--qemu", str(archives[0]), *kept)
    before = registry.entries()
    native = (PROBES / "x86_64").read_bytes()  # a static program that is no QEMU
    bad = write(tmp_path / "bad.tar", tar(Item("usr/bin/qemu-aarch64", native)))
    result = registry.json("install", *HERE, "--qemu", str(bad), *kept, status=4)
    assert rows(result, "platforms")[0]["ok"] is True
    assert [row["result"] for row in rows(result, "actions")] == ["done", "rolled-back"]
    assert registry.entries() == before
    assert len(list((tmp_path / "store/qemu").iterdir())) == 1


def test_progress_on_a_terminal(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...]
) -> None:
    """It stands in the last line while unpacking, and is gone at the end."""
    ours, theirs = os.openpty()
    command = (sys.executable, "-m", "binfmt_setup", "install", *HERE, *kept)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        subprocess.run(
            [*registry.inside, *command, "--qemu", str(archives[0])],
            stdout=subprocess.DEVNULL, stderr=theirs, check=True, timeout=60,
        )  # fmt: skip
        os.close(theirs)
        said = terminal.read(65536)
    assert b"\r\x1b[Kunpacking usr/bin/qemu-aarch64-static\r\x1b[K" in said


def test_check_reads_the_archive_and_writes_nothing(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path
) -> None:
    planned = registry.json("install", *HERE, "--qemu", str(archives[1]), *kept, "--check")
    assert kinds(planned)[-2:] == ["unpack", "register"]
    assert not (tmp_path / "store").exists()
    assert registry.entries() == {}
    done = registry.json("install", *HERE, "--qemu", str(archives[1]), *kept)
    last = (rows(data, "actions")[-2:] for data in (planned, done))
    for plan, deed in zip(*last, strict=True):
        assert {**plan, "result": "done"} == deed


def test_a_damaged_emulator_is_named_and_unpacked_again(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...]
) -> None:
    command = ("install", *HERE, "--qemu", str(archives[0]), *kept)
    registry.json(*command)
    path = Path(str(rows(registry.json("status"), "entries")[0]["interpreter"]))
    other = write(path.parent / "other", path.read_bytes() + b"more")
    other.chmod(0o755)
    other.rename(path)
    found = rows(registry.json("status"), "findings")
    assert "interpreter-altered" in [finding["code"] for finding in found]
    assert kinds(registry.json(*command)) == ["unpack", "replace"]
    found = rows(registry.json("status"), "findings")
    assert "interpreter-altered" not in [finding["code"] for finding in found]


def test_uninstall_of_one_platform_leaves_what_others_use(
    registry: Sandbox, qemu: Path, kept: tuple[str, ...], tmp_path: Path
) -> None:
    names = ("qemu-aarch64", "qemu-riscv64")
    data = tar(*(Item(name, (qemu / f"{name}-static").read_bytes()) for name in names))
    archive = str(write(tmp_path / "two.tar", data))
    registry.json("install", "arm64,riscv64", *HERE[1:], "--qemu", archive, *kept)
    assert kinds(registry.json("uninstall", "arm64", "--private")) == ["remove-entry"]
    last = registry.json("uninstall", "riscv64", "--private")
    assert kinds(last) == ["remove-entry", "remove-emulators"]
    assert not (tmp_path / "store").exists()


def test_a_file_of_someone_elses_stays(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path
) -> None:
    registry.json("install", *HERE, "--qemu", str(archives[0]), *kept)
    (directory,) = (tmp_path / "store/qemu").iterdir()
    (directory / "notes").write_text("mine")
    registry.json("uninstall", "--private")
    assert [path.name for path in directory.iterdir()] == ["notes"]


# --- what goes wrong: exit code 5, nothing left behind, the old registration works -------------


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


@pytest.mark.parametrize(
    ("mounted", "code"), [("tmpfs -o size=4M", "no-space"), ("tmpfs -o ro", "read-only")]
)
def test_no_room_or_no_right_to_write(  # noqa: PLR0917 - fixtures
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path,
    mounted: str, code: str,
) -> None:  # fmt: skip
    registry.json("install", *HERE, "--qemu", str(archives[0]), *kept)
    full = tmp_path / "full"
    full.mkdir()
    assert registry.sh(f"mount -t {mounted} none {full}").returncode == 0
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
    command = (sys.executable, "-m", "binfmt_setup", "install", *HERE, *kept)
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


def test_unit_names_the_file_that_install_would_unpack(
    registry: Sandbox, archives: tuple[Path, Path], tmp_path: Path
) -> None:
    done = registry.tool("unit", "arm64", "--qemu", str(archives[1]))
    assert done.returncode == 0, done.stderr
    assert f"/usr/local/lib/binfmt-setup/qemu/{NEW}-" in done.stdout
    assert not (tmp_path / "store").exists()


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


@pytest.mark.parametrize(
    "source", ["/nonexistent", "image:", "image:UPPER/case", "image:a b", "image:x@sha256:12"]
)
def test_a_source_that_is_none_is_a_usage_error(registry: Sandbox, source: str) -> None:
    assert registry.tool("install", *HERE, "--qemu", source).returncode == 2


def test_an_offline_tree_gets_them_too(
    registry: Sandbox, archives: tuple[Path, Path], tmp_path: Path
) -> None:
    """Files below the root alone; the kernel is not touched."""
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    write(root / "bin/sh", program())
    done = registry.tool("install", "arm64", "--root", str(root), "--qemu", str(archives[0]))
    assert done.returncode in (0, 1), done.stdout + done.stderr
    (config,) = (root / "etc/binfmt.d").iterdir()
    (directory,) = (root / "usr/local/lib/binfmt-setup/qemu").iterdir()
    assert f"/usr/local/lib/binfmt-setup/qemu/{directory.name}/qemu-aarch64" in config.read_text()
    assert registry.entries() == {}
    done = registry.tool("uninstall", "--root", str(root))
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (root / "usr/local/lib/binfmt-setup").exists()


def test_run_unpacks_an_archive_where_its_caller_may_write(tmp_path: Path, qemu: Path) -> None:
    archive = tmp_path / "qemu.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(qemu / "qemu-aarch64-static", "usr/bin/qemu-aarch64")
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "binfmt_setup", "run", "--qemu", archive, "--",
             PROBES / "aarch64", "one"],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.startswith("binfmt-probe target=aarch64"), done.stderr
    assert len(list((tmp_path / "cache/binfmt-setup/qemu").iterdir())) == 1


def test_runs_that_start_together_unpack_an_archive_once(tmp_path: Path, qemu: Path) -> None:
    archive = tmp_path / "qemu.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(qemu / "qemu-aarch64-static", "usr/bin/qemu-aarch64")
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "binfmt_setup", "run", "-P", "arm64", "--qemu", archive, "--",
             PROBES / "aarch64"],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(6)
    ]  # fmt: skip
    ended = [(*child.communicate(timeout=120), child.returncode) for child in running]
    assert all(status == 0 and "target=aarch64" in out for out, _, status in ended), ended
    (unpacked,) = (tmp_path / "cache" / "binfmt-setup" / "qemu").iterdir()
    assert sorted(file.name for file in unpacked.iterdir()) == ["binfmt-setup.json", "qemu-aarch64"]
