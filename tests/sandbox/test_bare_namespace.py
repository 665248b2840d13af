"""A bare user namespace owns its registry and none of the files it sees: those are the host's."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

REGISTRY = "/proc/sys/fs/binfmt_misc"
ARM64 = target_named("aarch64")
INTERPRETER = "/usr/bin/qemu-aarch64-static"
TREE = "find /etc /run /usr/local/lib/binfmt-setup -mindepth 1 | sort | xargs -d '\\n' ls -ldi"
STORE = "/usr/local/lib/binfmt-setup/qemu"
# What the host has: an installation of this tool's, planted where only this namespace looks.
PLANT = f"""
mkdir -p /etc/binfmt.d /etc/systemd/system/multi-user.target.wants /etc/binfmt-setup
for unit in binfmt-setup.service binfmt-setup.path; do
    printf '%s\\n' "$MARKER" > /etc/systemd/system/$unit
done
ln -s /etc/systemd/system/binfmt-setup.service /etc/systemd/system/multi-user.target.wants/
printf '%s\\n' '#!/bin/sh' "$MARKER" > /etc/binfmt-setup/register
mount -t tmpfs none /usr/local/lib
mkdir -p {STORE}/7.2-aaaaaaaaaaaa
echo x > {STORE}/7.2-aaaaaaaaaaaa/qemu-aarch64
cat > {STORE}/7.2-aaaaaaaaaaaa/binfmt-setup.json
"""
MANIFEST = """{"schema_version": 1, "source": "x", "digest": "sha256:a", "version": "7.2",
"files": {"qemu-aarch64": "aa"}, "made": []}
"""
# As somebody types it: a user namespace and a mount namespace, and all that is outside shows.
BARE = ("unshare", "-Urm")


@pytest.fixture
def host(system: Sandbox) -> Sandbox:
    """A host that this tool was installed on."""
    from binfmt_setup.model.binfmt_d import MARKER

    assert system.json("install", "arm64", "riscv64", "--private")["changed"] is True
    done = system.run("env", f"MARKER={MARKER}", "sh", "-c", PLANT, stdin=MANIFEST)
    assert done.returncode == 0, done.stderr
    return system


def in_bare(host: Sandbox, script: str) -> tuple[str, str]:
    """What a script prints in a bare namespace below, and the host's files after it."""
    mount = f"mount -t binfmt_misc none {REGISTRY} && "
    done = host.run(*BARE, "sh", "-ec", mount + script)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, host.sh(TREE).stdout


def tool(words: str) -> str:
    import sys

    return f"{sys.executable} -m binfmt_setup {words} --private"


def test_uninstall_leaves_the_hosts_files_and_entries_alone(host: Sandbox) -> None:
    files, entries = host.sh(TREE).stdout, host.entries()
    assert "7.2-aaaaaaaaaaaa" in files
    said, after = in_bare(host, tool("uninstall"))
    assert "nothing" in said
    assert after == files
    assert host.entries() == entries


def test_uninstall_leaves_the_hosts_registry_alone_where_there_is_no_other(host: Sandbox) -> None:
    entries = host.entries()
    done = host.run(*BARE, "sh", "-c", tool("uninstall"))
    assert done.returncode == 0, done.stderr
    assert host.entries() == entries


def test_no_command_writes_the_hosts_files(host: Sandbox, emulators: Path) -> None:
    files = host.sh(TREE).stdout
    commands = (
        "install arm64 --no-persist", "install --no-persist", "install s390x --no-persist",
        f"install arm64 --no-persist --qemu {emulators}",
        "install arm64 --no-persist --credentials",
        "uninstall arm64", "uninstall",
    )  # fmt: skip
    _, after = in_bare(host, "\n".join(map(tool, commands)))
    assert after == files
    refused = host.run(*BARE, "sh", "-c", tool("install arm64"))
    assert refused.returncode == 4, refused.stdout
    assert host.sh(TREE).stdout == files


def test_no_remedy_would_move_the_hosts_files_away(host: Sandbox) -> None:
    """They are in nobody's way here, and whoever is root here may be root there."""
    host.sh("printf ':qemu-aarch64:E::x::/bin/true:\n' >/etc/binfmt.d/qemu-aarch64.conf")
    check = tool("check arm64").removesuffix(" --private")
    said, _ = in_bare(host, f"{check} || echo $?")
    assert said.endswith("1\n")
    assert "→ run: binfmt-setup install --private --no-persist linux/arm64" in said


@pytest.mark.parametrize("given", [False, True])
def test_what_was_made_there_goes_and_nothing_else(
    host: Sandbox, emulators: Path, *, given: bool
) -> None:
    source = f"--qemu {emulators}" if given else ""
    theirs = Registration("qemu-s390x", INTERPRETER, "F", b"\x7fELF\x02\x02")
    script = (
        f"printf '%s' '{theirs.line}' > {REGISTRY}/register\n"
        f"{tool(f'install arm64 --no-persist {source}')}\n"
        f"{tool(f'install arm64 --no-persist --credentials {source}')}\n"
        f"{tool('uninstall')}\n"
        f"echo left; ls {REGISTRY}"
    )
    said, _ = in_bare(host, script)
    assert said.partition("left\n")[2].split() == ["qemu-s390x", "register", "status"]


@pytest.mark.parametrize("flags", ["F", "OF", "POF"])
def test_an_entry_that_looks_like_ours_and_was_never_made_by_us_stays(
    host: Sandbox, flags: str
) -> None:
    """The same name and pattern, and the line of the host's own file as well: podman loads it."""
    theirs = Registration(ARM64.entry_name, INTERPRETER, flags, ARM64.magic, ARM64.mask)
    script = (
        f"printf '%s' '{theirs.line}' > {REGISTRY}/register\n"
        f"{tool('install arm64 --no-persist')}\n{tool('uninstall')}\necho left; ls {REGISTRY}"
    )
    said, _ = in_bare(host, script)
    assert "qemu-aarch64" in said.partition("left\n")[2].split()


def test_nothing_is_unpacked_to_the_hosts_store(host: Sandbox, archives: tuple[Path, Path]) -> None:
    files = host.sh(TREE).stdout
    install = f"install arm64 --no-persist --qemu {archives[0]}"
    said, after = in_bare(host, f"{tool(install)} --format json || echo $?")
    assert said.endswith("4\n")
    assert "--qemu-store DIR" in said
    assert after == files


def test_what_ends_with_its_namespace_is_not_lost_at_a_reboot(host: Sandbox) -> None:
    """Also where the host, whose files show, has a systemd that runs."""
    host.sh("mkdir -p /run/systemd/system")
    said, _ = in_bare(host, f"{tool('install arm64 --no-persist')} --format json")
    assert "not-persistent" not in said
    assert "private-namespace" in said


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("unshare", "-Ur"), "the mounts here belong to another user namespace"),
        ((*BARE, "setpriv", "--bounding-set=-all", "--inh-caps=-all"), "root has no CAP_SYS_ADMIN"),
    ],
    ids=["no mount namespace", "no capabilities"],
)
def test_a_mount_that_is_sure_to_be_refused_is_not_planned(
    sandbox: Sandbox, words: tuple[str, ...], cause: str
) -> None:
    tool = (*words, sys.executable, "-m", "binfmt_setup", "install", "arm64")
    runs = [sandbox.run(*tool, "--private", "--no-persist", *more) for more in ((), ("--check",))]
    assert [run.returncode for run in runs] == [4, 4], runs
    assert runs[0].stderr == runs[1].stderr
    assert cause in " ".join(runs[0].stderr.split())
