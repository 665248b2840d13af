"""docs/security.md lists what lies on a host: each file, its mode, and who made it, as they are."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from tests.own_namespace import TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

PAGE = TOP / "docs" / "security.md"
FIND = "find /etc /run /usr/local/lib ! -type l -printf '%p %m %U\\n' 2>/dev/null | sort"
LINKS = "find /etc/systemd/system -type l -printf '%p %l\\n' | sort"
# The lock of whoever writes to the host's own registry; a private one is locked by its own file.
LOCKED = """
from binfmt_setup.system import locks
from binfmt_setup.system.host import Host
with locks.locked(Host(), private=False):
    pass
"""
DROPPED = """
echo -1 >/proc/sys/fs/binfmt_misc/qemu-aarch64
sh /etc/binfmt-setup/register --missing /etc/binfmt.d/qemu-aarch64.conf
"""
_STANDS_FOR = {
    "TARGET": "[a-z0-9_]+",
    re.escape("VERSION-DIGEST"): "[0-9.]+-[0-9a-f]+",
    re.escape("*"): "[^/]*",
}


def listed() -> dict[re.Pattern[str], str]:
    """The modes that the page lists, by patterns of paths."""
    table = PAGE.read_text(encoding="utf-8").partition("## Files")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`/.*?) \| 0(\d{3}) \|", table, re.MULTILINE)
    return {re.compile(pattern): mode for paths, mode in rows for pattern in patterns(paths)}


def patterns(paths: str) -> list[str]:
    """`/a/b*.service`, `.path`: the second is the first with another ending."""
    first, *more = re.findall(r"`([^`]+)`", paths)
    stem = first.rpartition(".")[0]
    whole = [
        re.escape(path)
        for path in (first, *(path if path.startswith("/") else stem + path for path in more))
    ]
    for word, stands_for in _STANDS_FOR.items():
        whole = [path.replace(word, stands_for) for path in whole]
    return whole


def test_what_is_made_is_what_is_listed_and_goes_again(system: Sandbox, emulators: Path) -> None:
    system.sh("mount -t tmpfs -o mode=755 none /usr/local/lib")
    before, pages = set(system.sh(FIND).stdout.splitlines()), listed()
    tar = f"tar -C {emulators} -cf /mnt/q.tar qemu-aarch64-static"
    assert system.sh(f"mount -t tmpfs -o mode=755 none /mnt; {tar}").returncode == 0
    for words in (("arm64", "--qemu", "/mnt/q.tar", "--keep"), ("riscv64", "--no-persist")):
        done = system.tool("install", *words, "--private")
        assert done.returncode == 0, done.stdout + done.stderr
    assert system.run(sys.executable, "-c", LOCKED).returncode == 0
    assert system.sh(DROPPED).returncode == 0
    made = sorted(set(system.sh(FIND).stdout.splitlines()) - before)
    seen: set[re.Pattern[str]] = set()
    for path, mode, owner in (line.split() for line in made):
        matching = [pattern for pattern in pages if pattern.fullmatch(path)]
        assert owner == "0", path
        assert matching, f"{path} is not listed"
        assert mode == pages[matching[0]], path
        seen |= set(matching)
    assert seen == set(pages)
    _judge_units(system)
    links = [line.split() for line in system.sh(LINKS).stdout.splitlines()]
    assert links
    assert all("binfmt-setup" in target for _, target in links)
    assert system.tool("uninstall", "--private").returncode == 0
    left = set(system.sh(FIND).stdout.splitlines()) - before
    assert {line.split()[0] for line in left} <= {"/run/binfmt-setup", "/run/binfmt-setup/lock"}
    assert system.sh(LINKS).stdout == ""


def _judge_units(system: Sandbox) -> None:
    """What the page says of both services: that it names them, the capabilities, the sockets."""
    text = PAGE.read_text(encoding="utf-8")
    assert "`binfmt-setup.service`" in text
    assert "`binfmt-setup-changed.service`" in text
    units = system.sh("ls /etc/systemd/system/binfmt-setup*.service").stdout.split()
    assert len(units) % 2 == 0
    assert units
    for unit in units:
        lines = system.run("cat", unit).stdout.splitlines()
        assert "CapabilityBoundingSet=" in lines
        assert "RestrictAddressFamilies=AF_UNIX" in lines
        asks_systemd = unit.endswith(("-changed.service", "-lost.service"))
        assert ("TemporaryFileSystem=/run:ro" in lines) is not asks_systemd
