"""Places for the next boot that cannot be written to: NixOS's units, a read-only /etc."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

UNITS, FILES, SCRIPT = "/etc/systemd/system", "/etc/binfmt.d", "/etc/binfmt-setup"
ASKED = ("install", "arm64", "s390x", "--private")


def read_only(system: Sandbox, place: str) -> None:
    """Of a systemd that nobody can talk to, a directory nobody can write to."""
    mount = f"mount --bind {place} {place} && mount -o remount,bind,ro {place}"
    done = system.sh(f"mkdir -p {place} /run/systemd/system && {mount}")
    assert done.returncode == 0, done.stderr


def rows(data: dict[str, object], key: str) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", data[key])


def steps(data: dict[str, object]) -> list[tuple[str, str]]:
    return sorted((str(row["kind"]), str(row["target"])) for row in rows(data, "actions"))


@pytest.mark.parametrize("place", [UNITS, SCRIPT])
def test_without_units_the_files_for_systemd_binfmt_do(system: Sandbox, place: str) -> None:
    read_only(system, place)
    foreseen = steps(system.json(*ASKED, "--check"))
    done = system.json(*ASKED)
    names = ("qemu-aarch64", "qemu-s390x")
    assert steps(done) == foreseen
    assert foreseen == [
        *(("register", name) for name in names),
        *(("write-file", f"{FILES}/{name}.conf") for name in names),
    ]
    assert [row["code"] for row in rows(done, "findings")] == [
        "private-namespace", "units-read-only",
    ]  # fmt: skip
    assert all(row["persistent"] for row in rows(done, "platforms"))
    assert system.json(*ASKED)["changed"] is False
    (refused,) = rows(system.json(*ASKED, "--keep", status=4), "errors")
    assert refused["code"] == "units-read-only"
    assert place in str(refused["message"])


@pytest.mark.parametrize("place", ["/etc", FILES])
def test_what_cannot_last_is_told_once_and_before(system: Sandbox, place: str) -> None:
    system.sh(f"mkdir -p {FILES}")
    read_only(system, place)
    for command in (ASKED, (*ASKED, "--check")):
        done = system.json(*command, status=4)
        assert [row["code"] for row in rows(done, "errors")] == ["config-unwritable"]
        assert "--no-persist" in str(rows(done, "errors")[0]["hint"])
        assert done["changed"] is False
        assert system.entries() == {}
    # There is no systemd to be told of a drop-in.
    done = system.json(*ASKED, "--no-persist")
    assert [row["result"] for row in rows(done, "actions")] == [*["done"] * 4, "rolled-back"]
    assert system.sh("ls /run/systemd/system").stdout == ""


@pytest.mark.parametrize("place", [UNITS, "/etc"])
def test_what_cannot_be_removed_is_told_once_and_before(system: Sandbox, place: str) -> None:
    assert system.json(*ASKED)["changed"] is True
    before = system.entries()
    read_only(system, place)
    for options in ((), ("--check",)):
        done = system.json("uninstall", "--private", *options, status=4)
        (refused,) = rows(done, "errors")
        assert refused["code"] == "config-unwritable"
        assert place in str(refused["message"])
        assert (done["actions"], system.entries()) == ([], before)
