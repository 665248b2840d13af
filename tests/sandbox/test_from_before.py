"""A host that an earlier version has provisioned is taken over: check, install, uninstall."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.binfmt_d import BY_UNIT
from binfmt_setup.model.records import replace
from tests.own_namespace import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

BEFORE = "66a20f9"
"""The last commit that wrote plain lines into /etc/binfmt.d where systemd reads them, too."""
TREE = (
    "find /etc /run/binfmt.d -mindepth 1 2>/dev/null | sort | xargs -d '\n' ls -ld --time-style=+"
)
ASKED = ("arm64", "riscv64", "--private")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it was, out of this repository's history."""
    there = subprocess.run(
        ["git", "archive", BEFORE, "binfmt_setup", "systemd"],
        cwd=TOP, capture_output=True, check=False,
    )  # fmt: skip
    if there.returncode:
        pytest.skip("this copy of the repository has no history to take an earlier version from")
    where = tmp_path_factory.mktemp("before")
    subprocess.run(["tar", "-x", "-C", str(where)], input=there.stdout, check=True)
    return where


@pytest.fixture
def provisioned(system: Sandbox, before: Path) -> Sandbox:
    """A host on which the earlier version has installed two platforms."""
    tool = (sys.executable, "-m", "binfmt_setup")
    done = system.run("env", f"PYTHONPATH={before}", *tool, "install", *ASKED)
    assert done.returncode == 0, done.stdout + done.stderr
    text = system.sh("cat /etc/binfmt.d/qemu-aarch64.conf").stdout
    assert BY_UNIT not in text
    assert "\n:qemu-aarch64:M:" in text
    return system


def test_check_finds_it_as_good_as_ever(provisioned: Sandbox) -> None:
    data = provisioned.json("check", "arm64", "riscv64")
    platforms = cast("list[dict[str, object]]", data["platforms"])
    assert [row["ok"] for row in platforms] == [True, True]
    entries = cast("list[dict[str, object]]", provisioned.json("status")["entries"])
    assert {row["owner"] for row in entries} == {"binfmt-setup"}


def test_install_renews_files_and_masks_once(provisioned: Sandbox) -> None:
    entries = provisioned.entries()
    done = provisioned.json("install", *ASKED)
    kinds = {row["kind"] for row in cast("list[dict[str, object]]", done["actions"])}
    assert kinds == {"write-file", "replace"}
    assert BY_UNIT not in provisioned.sh("cat /etc/binfmt.d/qemu-aarch64.conf").stdout
    assert provisioned.json("install", *ASKED)["changed"] is False
    renewed = provisioned.entries()
    assert renewed.keys() == entries.keys()
    for name, entry in renewed.items():  # the new masks leave padding free, and all else stays
        mask = entry.registration.mask
        assert entry.registration == replace(entries[name].registration, mask=mask)
        assert mask[8:16] == bytes(8)


@pytest.mark.parametrize("renewed", [False, True])
def test_uninstall_leaves_nothing(system: Sandbox, before: Path, *, renewed: bool) -> None:
    tree = system.sh(TREE).stdout
    tool = (sys.executable, "-m", "binfmt_setup", "install", *ASKED)
    assert system.run("env", f"PYTHONPATH={before}", *tool).returncode == 0
    if renewed:
        system.json("install", *ASKED)
    system.json("uninstall", "--private")
    assert system.entries() == {}
    assert system.sh(TREE).stdout == tree
