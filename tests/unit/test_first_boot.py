"""What the first boot of a tree will do, as `install`, `check` and `status` tell it with --root."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.offline_tree import made_tree, tool
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return made_tree(tmp_path)


def test_what_is_prepared_is_told_and_what_is_not(tree: Path) -> None:
    """The next boot, played through: install, check; then the emulator goes."""
    lost = json.loads(tool(tree, "check", "s390x", "--format", "json").stdout)
    assert_fits(lost)
    assert (lost["exit_code"], lost["platforms"][0]["prepared"]) == (1, False)
    assert lost["findings"][0]["code"] == "entry-missing"
    command = lost["findings"][0]["remedy"]["command"]
    assert command == ["binfmt-setup", "install", "--root", str(tree), "linux/s390x"]
    assert tool(tree, *command[1:2], command[-1]).returncode == 0
    done = tool(tree, "check", "s390x")
    assert done.returncode == 0
    assert done.stdout.endswith("prepared: linux/s390x\n")
    data = json.loads(tool(tree, "check", "s390x", "--format", "json").stdout)
    assert_fits(data)
    assert (data["exit_code"], data["platforms"][0]["prepared"]) == (0, True)
    (tree / "usr/bin/qemu-s390x-static").unlink()
    assert tool(tree, "check", "s390x").returncode == 1


def test_install_says_of_the_first_boot_what_check_says(tree: Path) -> None:
    switch = tree / "etc/sysctl.d/99-off.conf"
    switch.parent.mkdir(parents=True)
    switch.write_text("fs.binfmt_misc.status = 0\n")
    done = tool(tree, "install", "s390x")
    assert (done.returncode, tool(tree, "check", "s390x").returncode) == (1, 1)
    assert done.stdout.endswith("does not work: linux/s390x; changed\n")
    switch.unlink()
    assert tool(tree, "install", "s390x").returncode == 0


@pytest.mark.parametrize(
    ("unit", "without"),
    [("binfmt-setup-keep.path", "--no-keep"), ("binfmt-setup.service", "--no-persist")],
)
def test_a_masked_unit_says_what_goes_without_it(tree: Path, unit: str, without: str) -> None:
    mask = tree / "etc/systemd/system" / unit
    mask.parent.mkdir(parents=True, exist_ok=True)
    mask.symlink_to("/dev/null")
    done = tool(tree, "install", "s390x", "--keep")
    assert done.returncode == 4
    said = " ".join((done.stdout + done.stderr).split())
    assert f"{unit} is masked" in said
    assert f"systemctl --root={tree} unmask {unit} (or use {without})" in said


def test_status_lists_what_the_first_boot_registers(tree: Path) -> None:
    assert tool(tree, "status").stdout.endswith("\n0 entries at the first boot\n")
    tool(tree, "install", "s390x")
    text = tool(tree, "status").stdout
    assert "qemu-s390x  OF     binfmt-setup  /etc/binfmt.d/qemu-s390x.conf:3\n" in text, text
    data = json.loads(tool(tree, "status", "--format", "json").stdout)
    assert_fits(data)
    (row,) = data["next_boot"]
    assert (row["file"], row["line"]) == ("/etc/binfmt.d/qemu-s390x.conf", 3)
    line = (tree / row["file"][1:]).read_text().splitlines()[row["line"] - 1]
    assert line.startswith(":qemu-s390x:M:")


def test_a_masked_mount_is_unmasked_in_the_tree(tree: Path) -> None:
    """The files are written, and the first boot will have nothing of them all the same."""
    mount = tree / "etc/systemd/system/proc-sys-fs-binfmt_misc.mount"
    mount.write_text("")
    for command in ("install", "check"):
        done = tool(tree, command, "linux/s390x")
        assert done.returncode == 1, done.stdout
        assert f"run: chroot {tree} systemctl unmask {mount.name}" in done.stdout
    mount.unlink()
    assert tool(tree, "check", "linux/s390x").returncode == 0
