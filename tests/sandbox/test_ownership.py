"""Whose an entry is, and that it comes back: in a namespace with files of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.binfmt_d import MARKER, REPLACED
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named

if TYPE_CHECKING:
    from pathlib import Path

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


@pytest.mark.parametrize("whose", ["by hand", "the same as ours", "the distribution's"])
def test_what_was_disabled_comes_back_disabled(system: Sandbox, whose: str) -> None:
    if whose == "the same as ours":
        system.json("install", "arm64", "--private")
        ours = system.entries()["qemu-aarch64"].registration
        system.json("uninstall", "--private")
        system.register(ours)
    else:
        by_the_package(system, flags="")
        system.sh(f"rm {PACKAGED}" if whose == "by hand" else "")
    system.sh("echo 0 > /proc/sys/fs/binfmt_misc/qemu-aarch64")
    before = system.entries()
    for options in ((), ("--no-persist",)):
        assert changes(system, *options) == [True, False, False]
        assert system.entries()["qemu-aarch64"].enabled
        system.json("uninstall", "--private")
        assert system.entries() == before
        assert system.json("uninstall", "--private")["changed"] is False


def changes(system: Sandbox, *arguments: str) -> list[object]:
    """Whether each of three installs in a row changed something."""
    command = ("install", "arm64", "--private", *arguments)
    return [system.json(*command)["changed"] for _ in range(3)]


@pytest.mark.parametrize("flags", ["OF", "POCF"])
def test_an_entry_that_no_file_keeps_becomes_ours_at_once(system: Sandbox, flags: str) -> None:
    theirs = by_the_package(system, flags=flags)
    system.sh(f"rm {PACKAGED}")
    assert changes(system) == [True, False, False]
    assert "C" not in system.entries()["qemu-aarch64"].flags
    assert REPLACED + theirs.line in system.sh(f"cat {OURS}").stdout
    system.json("uninstall", "--private")
    assert system.entries()["qemu-aarch64"].registration == theirs


def test_of_an_emulator_elsewhere_it_keeps_the_file_and_not_the_rights(
    system: Sandbox, emulators: Path
) -> None:
    """Nobody would look there for one; so what stands is all there is to take."""
    elsewhere = str(emulators / "qemu-aarch64-static")
    system.register(Registration("qemu-aarch64", elsewhere, "POCF", ARM64.magic, ARM64.mask))
    system.sh(
        "mount -t tmpfs none /usr/libexec; mount --bind /dev/null /usr/bin/qemu-aarch64-static"
    )
    assert changes(system) == [True, False, False]
    entry = system.entries()["qemu-aarch64"]
    assert (entry.interpreter, entry.flags) == (elsewhere, "POF")


def by_update_binfmts(system: Sandbox, flags: str = "POCF") -> Registration:
    """What binfmt-support registers on Debian 11 and Ubuntu 20.04: an own file, and the entry."""
    theirs = Registration(ARM64.entry_name, INTERPRETER, flags, ARM64.magic, ARM64.mask)
    switches = ("yes" if flag in flags else "no" for flag in "CPF")
    magic, mask = theirs.line.split(":")[4:6]
    lines = ("qemu-user-static", "magic", "0", magic, mask, INTERPRETER, "", *switches)
    system.sh("mkdir -p /var/lib/binfmts; mount -t tmpfs none /var/lib/binfmts")
    system.run("sh", "-c", "cat > /var/lib/binfmts/qemu-aarch64", stdin="\n".join(lines) + "\n")
    return theirs


def let_openrc_run(system: Sandbox) -> None:
    """Have OpenRC's traces: its folder in /run, its program, and its service in a runlevel."""
    over = "lowerdir=/usr/sbin,upperdir=/run/over,workdir=/run/work"
    system.sh(f"mkdir /run/openrc /run/over /run/work && touch /run/over/openrc && "
              f"mount -t overlay -o {over} none /usr/sbin && "
              "mkdir -p /etc/init.d /etc/runlevels/boot && "
              "touch /etc/init.d/binfmt /etc/runlevels/boot/binfmt")  # fmt: skip


def test_what_binfmt_support_keeps_is_left_alone(system: Sandbox) -> None:
    theirs = by_update_binfmts(system)
    system.register(theirs)
    assert changes(system) == [False, False, False]
    assert system.entries()["qemu-aarch64"].registration == theirs
    assert system.json("install", "arm64", "--private", "--take-over")["changed"] is True
    assert "C" not in system.entries()["qemu-aarch64"].flags
    system.json("uninstall", "--private")
    assert system.entries()["qemu-aarch64"].registration == theirs


@pytest.mark.parametrize("restarted", [True, False])
def test_what_binfmt_support_did_to_our_entry_is_seen_and_cured(
    system: Sandbox, *, restarted: bool
) -> None:
    let_openrc_run(system)
    system.json("install", "arm64", "--private")
    theirs = by_update_binfmts(system)
    system.sh("echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64")
    if restarted:
        system.register(theirs)
    checked = system.json("check", "arm64", status=0 if restarted else 1)
    rows = cast("list[dict[str, list[dict[str, object]]]]", checked["platforms"])
    told = {finding["code"] for finding in rows[0]["findings"]}
    assert ("config-differs" if restarted else "entry-missing") in told
    assert changes(system) == [True, False, False]
    assert "C" not in system.entries()["qemu-aarch64"].flags
    system.json("uninstall", "--private")
    assert system.entries()["qemu-aarch64"].registration == theirs


def test_what_is_called_otherwise_and_works_is_made_to_last_as_the_hint_says(
    system: Sandbox,
) -> None:
    let_openrc_run(system)
    system.register(Registration("foo-arm64", INTERPRETER, "OF", ARM64.magic, ARM64.mask))
    assert changes(system) == [False, False, False]
    checked = system.json("check", "arm64")
    rows = cast("list[dict[str, list[dict[str, object]]]]", checked["platforms"])
    lost = [finding for finding in rows[0]["findings"] if finding["code"] == "not-persistent"]
    command = ["binfmt-setup", "install", "--take-over", "--private", "linux/arm64"]
    assert [cast("dict[str, object]", finding["remedy"])["command"] for finding in lost] == [
        command
    ]
    assert changes(system, "--take-over") == [True, False, False]
    assert owners(system) == {"qemu-aarch64": "binfmt-setup", "foo-arm64": "unknown"}


def test_an_emulator_that_must_not_be_used_is_told_where_another_one_works(
    system: Sandbox, emulators: Path
) -> None:
    system.json("install", "arm64", "--private")
    emulators.chmod(0o777)
    refused = system.json("install", "arm64", "--private", "--qemu", str(emulators), status=5)
    codes = [error["code"] for error in cast("list[dict[str, str]]", refused["errors"])]
    assert codes == ["interpreter-writable"]
    assert refused["changed"] is False


@pytest.mark.parametrize("lost", [True, False])
def test_what_the_distribution_brought_since_is_loaded_when_ours_goes(
    system: Sandbox, *, lost: bool
) -> None:
    system.json("install", "arm64", "--private")
    theirs = Registration(ARM64.entry_name, INTERPRETER, "OCF", ARM64.magic, ARM64.mask)
    system.run("sh", "-c", f"cat > {PACKAGED}", stdin=theirs.line + "\n")
    if lost:
        system.sh("echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64")
    said = system.tool("uninstall", "--private").stdout
    assert said.endswith(" items, 1 put back\n"), said
    assert system.entries()["qemu-aarch64"].registration == theirs
    assert system.json("uninstall", "--private")["changed"] is False


def test_a_file_of_the_distribution_whose_emulator_is_gone_does_not_stop_uninstall(
    system: Sandbox,
) -> None:
    before = system.sh(TREE).stdout
    system.json("install", "arm64", "--private")
    theirs = Registration(ARM64.entry_name, "/usr/bin/gone", "OCF", ARM64.magic, ARM64.mask)
    system.run("sh", "-c", f"cat > {PACKAGED}", stdin=theirs.line + "\n")
    system.json("uninstall", "--private")
    assert system.entries() == {}
    assert system.sh(TREE).stdout == before


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
