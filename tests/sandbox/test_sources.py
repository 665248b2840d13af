"""`--qemu FILE` on the real kernel: versions side by side, and what is unpacked of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import registries
from tests.emulator_sources import HERE, NEW, OLD, kinds, rows
from tests.own_namespace import PROBES, TOP
from tests.packing import Item, docker_save, image, tar, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.sandbox.conftest import Sandbox


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
    # What was unpacked is gone again, too.
    assert [row["result"] for row in rows(result, "actions")] == ["rolled-back", "rolled-back"]
    assert result["changed"] is False
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


def test_only_what_is_asked_for_is_unpacked_and_the_rest_when_that_is(
    registry: Sandbox, qemu: Path, kept: tuple[str, ...], tmp_path: Path
) -> None:
    """The directory of one source grows; what is pinned of it stays the same file."""
    names = ("qemu-aarch64", "qemu-riscv64", "qemu-s390x")
    data = tar(*(Item(name, (qemu / f"{name}-static").read_bytes()) for name in names))
    archive = str(write(tmp_path / "three.tar", data))
    registry.json("install", "arm64", *HERE[1:], "--qemu", archive, *kept)
    (directory,) = (tmp_path / "store/qemu").iterdir()
    first = (directory / "qemu-aarch64").stat()
    assert files_in(directory) == {"qemu-aarch64"}
    planned = registry.json("install", "riscv64", *HERE[1:], "--qemu", archive, *kept, "--check")
    assert kinds(planned) == ["unpack", "register"]
    assert files_in(directory) == {"qemu-aarch64"}
    grown = registry.json("install", "riscv64,arm64", *HERE[1:], "--qemu", archive, *kept)
    assert kinds(grown) == ["unpack", "register"]
    assert files_in(directory) == {"qemu-aarch64", "qemu-riscv64"}
    assert (directory / "qemu-aarch64").stat().st_ino == first.st_ino
    again = registry.json("install", "riscv64,arm64", *HERE[1:], "--qemu", archive, *kept)
    assert again["changed"] is False
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]
    found = rows(registry.json("status"), "findings")
    assert "interpreter-altered" not in [finding["code"] for finding in found]
    assert registry.json("check", "arm64,riscv64")["ok"] is True
    registry.json("uninstall", "--private")
    assert not (tmp_path / "store").exists()


def files_in(directory: Path) -> set[str]:
    """The emulators there are, which must be those that are written down."""
    manifest = json.loads((directory / "binfmt-setup.json").read_text())
    there = {path.name for path in directory.iterdir()} - {"binfmt-setup.json"}
    assert set(manifest["files"]) == there
    return there


def test_a_platform_that_the_source_has_no_emulator_for(
    registry: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], tmp_path: Path
) -> None:
    data = registry.json("install", "s390x", *HERE[1:], "--qemu", str(archives[0]), *kept, status=5)
    assert "only for aarch64" in str(rows(data, "errors")[0]["message"])
    assert not (tmp_path / "store").exists()


def test_an_image_that_changes_its_emulator_in_every_layer(
    registry: Sandbox, qemu_version: Callable[[str], bytes], kept: tuple[str, ...], tmp_path: Path
) -> None:
    layers = [tar(Item("usr/bin/qemu-aarch64", qemu_version(f"9{n}.0.1"))) for n in range(4)]
    saved = str(write(tmp_path / "image.tar", docker_save(*layers)))
    assert registry.json("install", *HERE, "--qemu", saved, *kept)["changed"] is True
    (entry,) = rows(registry.json("status"), "entries")
    assert str(entry["disk_version"]).startswith("93.0.1")
    (directory,) = (tmp_path / "store/qemu").iterdir()
    assert files_in(directory) == {"qemu-aarch64"}


@pytest.mark.skipif(not registries.PROGRAM, reason="docker-registry is not installed")
def test_the_lines_of_the_page(
    registry: Sandbox, emulators: Path, archives: tuple[Path, Path],
    qemu_version: Callable[[str], bytes], tmp_path: Path,
) -> None:  # fmt: skip
    """Those of docs/emulators.md, with a registry on the loopback; each brings another QEMU."""
    page = (TOP / "docs/emulators.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    binfmt-setup (install linux/arm64 --qemu \S+)", page, re.MULTILINE)
    tagged, pinned = (image(tar(Item("usr/bin/qemu-aarch64", qemu_version(version))))
                      for version in ("98.0.1", "97.0.1"))  # fmt: skip
    with registries.running(tmp_path / "registry") as address:
        registries.push(address, "tonistiigi/binfmt", "latest", tagged)
        digest = registries.push(address, "qemu", "1", pinned)
        there = {
            "DIR": str(emulators), "qemu-user_10.0.13+ds-0+deb13u1_amd64.deb": str(archives[0]),
            "binfmt.tar": str(archives[1]),
            "image:tonistiigi/binfmt:latest": f"image:{address}/tonistiigi/binfmt:latest",
            "image:registry.lan/qemu@sha256:…": f"image:{address}/qemu@{digest}",
        }  # fmt: skip
        brought, kept = [], ("--qemu-store", str(tmp_path / "store/qemu"))
        for line in lines:
            *words, source = line.split()
            done = registry.json(*words, there.pop(source), *HERE[1:], *kept)
            assert done["changed"] is True
            (entry,) = rows(registry.json("status"), "entries")
            brought.append(str(entry["pinned_version"]).partition(" ")[0])
    assert there == {}
    assert brought[1:] == [OLD, NEW, "98.0.1", "97.0.1"]


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_what_a_killed_run_left_in_a_store_is_removed(
    system: Sandbox, archives: tuple[Path, Path], kept: tuple[str, ...], command: str
) -> None:
    """Also where nothing is unpacked: the source is known, or it is all to go."""
    install = ("install", "arm64", "--private", "--qemu", str(archives[0]), *kept)
    system.json(*install)
    left = Path(kept[1]) / ".new-0a1b2c3d"
    left.mkdir()
    (left / "0-qemu-aarch64").write_text("x")
    again = system.json(*(install if command == "install" else ("uninstall", "--private")))
    assert again["changed"] is (command == "uninstall")
    assert not left.exists()
