"""`--qemu FILE` with other commands than `install`, and for an offline tree."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

from tests.emulator_sources import NEW
from tests.own_namespace import PROBES
from tests.packing import program, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox


def test_unit_names_the_file_that_install_would_unpack(
    registry: Sandbox, archives: tuple[Path, Path], tmp_path: Path
) -> None:
    done = registry.tool("unit", "arm64", "--qemu", str(archives[1]))
    assert done.returncode == 0, done.stderr
    assert f"/usr/local/lib/binfmt-setup/qemu/{NEW}-" in done.stdout
    assert not (tmp_path / "store").exists()


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
        tar.add((qemu / "qemu-aarch64-static").resolve(), "usr/bin/qemu-aarch64")
    home = {**os.environ, "HOME": str(tmp_path)}
    for cache in (str(tmp_path / ".cache"), "relative"):  # which is to be ignored
        done = subprocess.run(
            [sys.executable, "-m", "binfmt_setup", "run", "--qemu", archive, "--",
             PROBES / "aarch64", "one"],
            env={**home, "XDG_CACHE_HOME": cache},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.stdout.startswith("binfmt-probe target=aarch64"), done.stderr
    assert len(list((tmp_path / ".cache/binfmt-setup/qemu").iterdir())) == 1


def test_runs_that_start_together_unpack_an_archive_once(tmp_path: Path, qemu: Path) -> None:
    archive = tmp_path / "qemu.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add((qemu / "qemu-aarch64-static").resolve(), "usr/bin/qemu-aarch64")
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
