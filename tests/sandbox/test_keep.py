"""`install --keep`, and what its units run, where no systemd runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.own_namespace import TOP
from tests.sandbox.conftest import REGISTRY

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

RETURNED = "/run/binfmt-setup-keep/returned"
PAGE = (TOP / "docs" / "keep.md").read_text(encoding="utf-8")
# The line for cron.
(LOOK,) = re.findall(r"^\* \* \* \* \* root (.+)$", PAGE, re.MULTILINE)
UNITS = "ls /etc/systemd/system /etc/systemd/system/*.wants"


def test_only_what_is_missing_comes_back_and_not_for_ever(system: Sandbox) -> None:
    assert system.tool("install", "arm64", "riscv64", "--private").returncode == 0
    before = system.entries()
    assert system.sh(f"{LOOK}; ls {RETURNED}").returncode != 0
    for number in range(5):
        system.sh(f"echo -1 >{REGISTRY}/qemu-riscv64; echo 0 >{REGISTRY}/qemu-aarch64")
        done = system.sh(f"umask 077; {LOOK}")
        assert (done.returncode, "to be brought back: qemu-riscv64" in done.stderr) == (0, True)
        assert system.entries()["qemu-riscv64"] == before["qemu-riscv64"]
        assert not system.entries()["qemu-aarch64"].enabled
        assert system.sh(f"grep -c '^[0-9]' {RETURNED}").stdout == f"{number + 1}\n"
    modes = system.sh(f"stat -c %a {RETURNED} {RETURNED.rpartition('/')[0]}")
    assert modes.stdout == "644\n755\n"
    for _ in range(2):
        system.sh(f"echo -1 >{REGISTRY}/qemu-riscv64")
        done = system.sh(LOOK)
        assert (done.returncode, "stay away now" in done.stderr) == (1, True)
        assert set(system.entries()) == {"qemu-aarch64"}
    assert "dropped-again" in system.tool("check", "arm64").stdout
    assert system.tool("uninstall", "--private").returncode == 0
    assert system.sh(f"ls {RETURNED.rpartition('/')[0]}").returncode != 0


def test_what_was_switched_off_does_not_come_back_on(system: Sandbox) -> None:
    """Somebody meant it, and somebody else drops all entries."""
    assert system.tool("install", "arm64", "riscv64", "--keep", "--private").returncode == 0
    system.sh(f"echo 0 >{REGISTRY}/qemu-aarch64; {LOOK}; {LOOK}")
    for _ in range(2):
        done = system.sh(f"echo -1 >{REGISTRY}/status; {LOOK}")
        assert (done.returncode, set(system.entries())) == (0, {"qemu-riscv64"})
    assert system.tool("install", "arm64", "--private").returncode == 0
    system.sh(f"{LOOK}; echo -1 >{REGISTRY}/status; {LOOK}")
    assert set(system.entries()) == {"qemu-aarch64", "qemu-riscv64"}
    assert system.sh(f"grep ^off {RETURNED}").stdout == "off qemu-aarch64 \noff \n"


def test_what_cannot_be_counted_is_not_brought_back_and_told(system: Sandbox) -> None:
    assert system.tool("install", "arm64", "--private").returncode == 0
    system.sh(f"echo -1 >{REGISTRY}/qemu-aarch64; ln -s /dev/full {RETURNED.rpartition('/')[0]}")
    done = system.sh(LOOK)
    assert (done.returncode, "returned cannot be written" in done.stderr) == (1, True)
    assert system.entries() == {}


def test_what_is_refused_is_not_tried_for_ever_either(system: Sandbox, emulators: object) -> None:
    words = ("install", "arm64", "--qemu", str(emulators), "--private")
    assert system.tool(*words).returncode == 0
    system.sh(f"echo -1 >{REGISTRY}/qemu-aarch64; chmod a-x {emulators}/qemu-aarch64-static")
    said = [system.sh(LOOK) for _ in range(6)]
    assert [done.returncode for done in said] == [1] * 6
    assert ["refuses" in done.stderr for done in said] == [True] * 5 + [False]
    system.sh(f"rm {emulators}/qemu-aarch64-static")
    done = system.sh(LOOK)
    assert (done.returncode, "is missing" in done.stderr) == (1, True)


def test_keep_is_remembered_and_taken_back(system: Sandbox) -> None:
    assert system.json("install", "arm64", "--keep", "--private")["changed"] is True
    units = system.sh(UNITS).stdout
    assert units.count("binfmt-setup-keep.path") == 2
    assert system.json("install", "arm64", "--private")["changed"] is False
    assert system.json("install", "riscv64", "--private")["changed"] is True
    assert system.sh(UNITS).stdout == units
    # As `systemctl disable` does it: what is off stays off.
    system.sh("rm /etc/systemd/system/binfmt-setup.service.wants/binfmt-setup-keep.path")
    assert system.tool("install", "arm64", "--private").returncode == 0
    assert "keep" not in system.sh(UNITS).stdout
    system.json("install", "arm64", "--keep", "--private")
    system.json("install", "arm64", "--no-keep", "--private")
    assert "keep" not in system.sh(UNITS).stdout
    assert system.json("install", "arm64", "--no-keep", "--private")["changed"] is False


@pytest.mark.parametrize("other", ["--no-keep", "--no-persist"])
def test_what_contradicts_keep_is_a_mistake(system: Sandbox, other: str) -> None:
    done = system.tool("install", "arm64", "--keep", other, "--private")
    assert (done.returncode, "contradict" in done.stderr) == (2, True)


def test_a_bare_namespace_has_no_unit(registry: Sandbox) -> None:
    done = registry.tool("install", "arm64", "--keep", "--private")
    assert (done.returncode, "another install" in done.stderr) == (4, True)
    assert registry.entries() == {}
