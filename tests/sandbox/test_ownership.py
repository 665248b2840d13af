"""Whose an entry is, and that it comes back: in a namespace with files of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.binfmt_d import MARKER, REPLACED
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

ARM64 = target_named("aarch64")
PACKAGED = "/usr/lib/binfmt.d/qemu-aarch64.conf"
OURS = "/etc/binfmt.d/qemu-aarch64.conf"
VOLATILE = "/run/binfmt.d/qemu-aarch64.conf"
INTERPRETER = "/usr/bin/qemu-aarch64-static"
TREE = (
    "find /etc /run/binfmt.d -mindepth 1 2>/dev/null | sort | xargs -d '\\n' ls -ld --time-style=+"
)


def by_the_package(system: Sandbox, flags: str) -> Registration:
    """What a distribution's package registers at boot: a file, and the entry."""
    theirs = Registration(ARM64.entry_name, INTERPRETER, flags, ARM64.magic, ARM64.mask)
    system.run("sh", "-c", f"cat > {PACKAGED}", stdin=theirs.line + "\n")
    system.register(theirs)
    return theirs


def owners(system: Sandbox) -> dict[object, object]:
    rows = cast("list[dict[str, object]]", system.json("status")["entries"])
    return {row["name"]: row["owner"] for row in rows}


def test_install_writes_what_a_boot_needs_and_uninstall_removes_it(system: Sandbox) -> None:
    before = system.sh(TREE).stdout
    assert system.tool("install", "arm64", "--private").returncode == 0
    assert system.sh(f"head -n 1 {OURS}").stdout == MARKER + "\n"
    assert owners(system) == {"qemu-aarch64": "binfmt-setup"}
    if shutil.which("systemd-analyze"):
        verified = system.run(
            "systemd-analyze", "verify", "--man=no", "--recursive-errors=yes",
            "/etc/systemd/system/binfmt-setup.service",
        )  # fmt: skip
        assert (verified.returncode, verified.stderr) == (0, "")
    assert system.json("install", "arm64", "--private")["changed"] is False
    assert system.tool("uninstall", "--private").returncode == 0
    assert system.sh(TREE).stdout == before
    assert system.entries() == {}


def test_the_distributions_entry_comes_back_where_it_was_masked(system: Sandbox) -> None:
    theirs = by_the_package(system, flags="")
    before = system.sh(TREE).stdout
    assert system.tool("install", "arm64", "--private").returncode == 0
    assert "F" in system.entries()["qemu-aarch64"].flags
    assert REPLACED + theirs.line in system.sh(f"cat {OURS}").stdout
    # What stood there first is remembered through later changes.
    assert system.tool("install", "arm64", "--private", "--credentials").returncode == 0
    assert system.tool("uninstall", "--private").returncode == 0
    assert system.entries()["qemu-aarch64"].registration == theirs
    assert system.sh(TREE).stdout == before


def test_an_equivalent_entry_of_the_distribution_is_left_alone(system: Sandbox) -> None:
    theirs = by_the_package(system, flags="POF")
    before = system.sh(TREE).stdout
    assert system.json("install", "arm64", "--private")["changed"] is False
    assert owners(system) == {"qemu-aarch64": "distribution"}
    assert system.json("uninstall", "--private")["changed"] is False
    assert system.entries()["qemu-aarch64"].registration == theirs
    assert system.sh(TREE).stdout == before


def test_an_entry_that_no_file_keeps_gets_one_and_stays_as_it_is(system: Sandbox) -> None:
    theirs = by_the_package(system, flags="OF")
    system.sh(f"rm {PACKAGED}")
    done = system.json("install", "arm64", "--private")
    kinds = {row["kind"] for row in cast("list[dict[str, object]]", done["actions"])}
    assert kinds <= {"write-file", "link"}
    assert theirs.line in system.sh(f"cat {OURS}").stdout
    system.json("uninstall", "--private")
    assert system.entries()["qemu-aarch64"].registration == theirs


def test_without_persistence_the_record_is_gone_at_the_next_boot(system: Sandbox) -> None:
    before = system.sh(TREE).stdout
    system.json("install", "arm64", "--private", "--no-persist")
    assert system.sh(f"cat {OURS}").returncode != 0
    assert MARKER in system.sh(f"cat {VOLATILE}").stdout
    assert owners(system) == {"qemu-aarch64": "binfmt-setup"}
    assert system.json("install", "arm64", "--private", "--no-persist")["changed"] is False
    # Made lasting, one file takes the place of the other.
    system.json("install", "arm64", "--private")
    assert system.sh(f"cat {VOLATILE}").returncode != 0
    assert system.json("install", "arm64", "--private", "--no-persist")["changed"] is False
    system.json("uninstall", "--private")
    assert system.sh(TREE).stdout == before
    assert system.entries() == {}


@pytest.mark.parametrize("first", ["riscv64", "arm64"])
def test_one_platform_goes_and_the_other_stays(system: Sandbox, first: str) -> None:
    system.json("install", "arm64", "riscv64", "--private")
    system.json("uninstall", first, "--private")
    other = {"riscv64": "arm64", "arm64": "riscv64"}[first]
    assert system.json("check", other)["ok"] is True
    assert system.json("install", other, "--private")["changed"] is False
