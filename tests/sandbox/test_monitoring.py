"""docs/monitoring.md: each command of it, what it writes, and what it exits with."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.exposition import journal_entries, samples
from tests.own_namespace import TOP

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from tests.sandbox.conftest import Sandbox

PAGE = TOP / "docs" / "monitoring.md"
METRICS = "/var/lib/prometheus/node-exporter"
HERE = ("--private", "--no-persist")
ARM64 = (("platform", "linux/arm64"),)
NAGIOS = ("check", "linux/arm64", "--format", "nagios")
# What journald does: a socket that takes datagrams, an entry each.
JOURNAL = """
import os, socket, sys
os.makedirs("/run/systemd/journal")
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as taken:
    taken.bind("/run/systemd/journal/socket")
    if not os.fork():
        os.execvp(sys.executable, [sys.executable, "-m", "binfmt_setup", *sys.argv[1:]])
    print("status", os.waitstatus_to_exitcode(os.wait()[1]))
    taken.setblocking(False)
    try:
        while True:
            print(taken.recv(65536).decode())
    except BlockingIOError:
        pass
"""


def commands() -> list[str]:
    """The commands of the page that need no systemd."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line[:2] in ("# ", "$ ")]


def done(system: Sandbox, command: str) -> CompletedProcess[str]:
    name, *words = command.split()
    assert name == "binfmt-setup"
    return system.tool(*words)


def metrics(system: Sandbox) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return samples(system.run("cat", f"{METRICS}/binfmt.prom").stdout)


@pytest.fixture
def fleet(system: Sandbox) -> Sandbox:
    """A host that shall run arm64, and does, with node_exporter's folder."""
    system.run("sh", "-c", "cat >/etc/binfmt-setup.toml", stdin='platforms = ["linux/arm64"]\n')
    system.sh(f"mount -t tmpfs -o mode=755 none /var/lib && mkdir -p {METRICS}")
    assert system.tool("install", *HERE).returncode == 0
    return system


def test_the_commands_of_the_page_and_what_they_tell_of_a_lost_platform(fleet: Sandbox) -> None:
    write, ask = commands()
    assert (done(fleet, write).returncode, done(fleet, write).stdout) == (0, "")
    assert fleet.sh(f"stat -c '%a %n' {METRICS}/*").stdout == f"644 {METRICS}/binfmt.prom\n"
    first = metrics(fleet)
    assert first["binfmt_platform_ok", ARM64] == first["binfmt_check_success", ()] == 1
    assert first["binfmt_entry_enabled", (("entry", "qemu-aarch64"),)] == 1
    table = set(re.findall(r"^\| `(binfmt_\w+)`", PAGE.read_text(), re.MULTILINE))
    named = table | {"binfmt_registry_enabled"}
    assert {name for name, _ in first} <= named

    said = done(fleet, ask)
    numbers = "| 'linux/arm64'=1;;1:;0;1 errors=0;;;0 warnings=0;;;0"
    assert (said.returncode, said.stdout) == (0, f"BINFMT OK - works: linux/arm64 {numbers}\n")
    fleet.tool("install", "--credentials", *HERE)
    said = done(fleet, ask)
    assert (said.returncode, said.stdout.partition(" - ")[0]) == (1, "BINFMT WARNING")
    assert said.stdout.endswith(f"{numbers[:-5]}1;;;0\n")

    fleet.sh("echo -1 >/proc/sys/fs/binfmt_misc/qemu-aarch64")
    assert done(fleet, write).returncode == 0
    second = metrics(fleet)
    assert second["binfmt_platform_ok", ARM64] == 0
    missing = (("code", "entry-missing"), ("severity", "error"), ("platform", "linux/arm64"))
    assert second["binfmt_findings", missing] == 1
    said = done(fleet, ask)
    assert (said.returncode, said.stdout.partition(" - ")[0]) == (2, "BINFMT CRITICAL")
    assert said.stdout.count("\n") == 1


def test_what_cannot_be_asked_is_unknown_and_the_file_never_stays_as_it_was(
    fleet: Sandbox,
) -> None:
    write, _ = commands()
    done(fleet, write)
    fleet.run("sh", "-c", "cat >/etc/binfmt-setup.toml", stdin="platforms = 1\n")
    assert done(fleet, write).returncode == 2
    assert {name for name, _ in metrics(fleet)} == {
        "binfmt_check_success", "binfmt_check_timestamp_seconds", "binfmt_setup_info"
    }  # fmt: skip
    assert metrics(fleet)["binfmt_check_success", ()] == 0
    for words in (("check", "--format", "nagios"), (*NAGIOS, "--no-such-option")):
        said = fleet.tool(*words)
        assert (said.returncode, said.stdout.partition(" - ")[0]) == (3, "BINFMT UNKNOWN")


def test_the_journal_gets_an_entry_for_each_platform_and_finding(system: Sandbox) -> None:
    system.tool("install", "arm64", *HERE)
    words = ("check", "arm64", "riscv64", "--format", "journal")
    printed = journal_entries(system.tool(*words).stdout)
    status, _, sent = system.run(sys.executable, "-c", JOURNAL, *words).stdout.partition("\n")
    assert status == "status 1"
    assert journal_entries(sent.replace("\n\n\n", "\n\n")) == printed
    platforms = [(e["BINFMT_PLATFORM"], e["PRIORITY"]) for e in printed if "BINFMT_OK" in e]
    assert platforms == [("linux/arm64", "6"), ("linux/riscv64", "3")]
    assert {e["BINFMT_CODE"] for e in printed if "BINFMT_SEVERITY" in e} >= {"entry-missing"}
    assert printed[-1]["BINFMT_EXIT_CODE"] == "1"


def test_a_file_is_replaced_whole(registry: Sandbox, tmp_path: Path) -> None:
    target, link = tmp_path / "other", tmp_path / "metrics.prom"
    target.write_text("mine")
    link.symlink_to(target)
    words = ("status", "--format", "prometheus", "--output", str(link))
    assert registry.tool(*words).returncode == 0
    assert (target.read_text(), link.is_symlink()) == ("mine", False)
    with link.open() as before:
        assert registry.tool(*words).returncode == 0
        assert samples(before.read())
    assert samples(link.read_text())
    assert {path.name for path in tmp_path.iterdir()} == {"other", "metrics.prom"}
    for place in (tmp_path, tmp_path / "none" / "x", target / "x"):
        refused = registry.tool(*words[:-1], str(place))
        assert refused.returncode == 2
        assert "--output" in refused.stderr


def test_a_device_stays_one(registry: Sandbox, tmp_path: Path) -> None:
    """Under the same name a file would serve everybody, as what was /dev/null."""
    pipe, device = tmp_path / "pipe", Path("/dev/full")
    os.mkfifo(pipe)
    before = (pipe.stat().st_ino, device.stat().st_ino)
    for place in (pipe, device, "/dev/stdout"):
        refused = registry.tool("status", "--output", str(place))
        assert (refused.returncode, refused.stdout) == (2, ""), place
    assert (pipe.stat().st_ino, device.stat().st_ino) == before
