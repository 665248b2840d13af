"""Where --qemu keeps emulators, prepared by an unprivileged user for root, on the real kernel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.own_namespace import CLI
from tests.packing import AMD64, emulators, write
from tests.planted import done_in_own_tree

if TYPE_CHECKING:
    from pathlib import Path

BRING = """
import sys
from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.model.facts import HostFacts, KernelFacts
from binfmt_setup.sources.qemu_source import bring, parse_source
from binfmt_setup.system.host import Host

facts = HostFacts(root="/", kernel=KernelFacts(machine="x86_64"))
try:
    brought = bring(Host(), facts, parse_source(sys.argv[1], sys.argv[2]), write=True)
    print("brought", brought.directory, brought.new)
except BinfmtSetupError as error:
    print("refused", error.message, "| hint:", error.hint)
"""
VICTIM = "mkdir -m 755 /mnt/victim && echo precious >/mnt/victim/file\n"
STORE = "mkdir /mnt/store && chown 65534 /mnt/store\n"
MANIFEST = (
    '{"schema_version": 1, "source": "x", "digest": "sha256:%s", "version": "9.9.9", '
    '"files": {"qemu-arm": "%s"}, "made": []}'
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write(tmp_path / "qemu.tar", emulators("arm", "aarch64"))


def brought(prepare: str, archive: Path, store: str) -> str:
    """What root gets in a store that was prepared so, and then what is there."""
    listing = "; echo; find /mnt -printf '%p %u %y\\n' | sort; cat /mnt/victim/file 2>/dev/null"
    command = f'"$1" -c "$2" "$3" "$4" 2>&1{listing}'
    argv = ["sh", "-c", command, "sh", sys.executable, BRING, str(archive), store]
    done = done_in_own_tree(prepare, argv)
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


def test_a_link_with_the_name_of_a_leftover(archive: Path) -> None:
    """Followed, it would lead to another user's files, which would be removed."""
    prepare = VICTIM + STORE + "nobody ln -s /mnt/victim /mnt/store/.new-abcdefgh"
    said = brought(prepare, archive, "/mnt/store")
    assert "refused no emulators are kept in /mnt/store: /mnt/store belongs to user 65534" in said
    assert "chown -h root /mnt/store" in said
    assert said.endswith("precious\n")
    # The same link, planted while the directory was open to all and that was mended since.
    said = brought(prepare + "\nchown root /mnt/store", archive, "/mnt/store")
    assert "brought /mnt/store/9.9.9-" in said
    assert said.endswith("precious\n")


def planted_version(archive: Path) -> str:
    """A directory that claims to be what the archive unpacks to, with a program of nobody's."""
    from binfmt_setup.emulators.store import content_digest, directory_name

    with archive.open("rb") as file:
        digest = content_digest(file)
    where = f"/mnt/store/{directory_name('9.9.9', f'sha256:{digest}')}"
    evil = AMD64.magic.hex()
    return (
        f"nobody mkdir -m 755 {where}\n"
        f"echo {evil} | nobody tee {where}/qemu-arm >/dev/null\n"
        f"nobody chmod 755 {where}/qemu-arm\n"
        f"sum=$(sha256sum <{where}/qemu-arm | cut -d' ' -f1)\n"
        f"printf '{MANIFEST}' {digest} $sum | nobody tee {where}/binfmt-setup.json >/dev/null"
    )


def test_a_version_directory_with_a_manifest_that_somebody_else_wrote(archive: Path) -> None:
    prepare = STORE + planted_version(archive)
    assert "refused no emulators are kept" in brought(prepare, archive, "/mnt/store")
    # Planted while that was possible: now the store is root's alone, what lies in it is not.
    said = brought(prepare + "\nchown root /mnt/store", archive, "/mnt/store")
    assert "brought /mnt/store/9.9.9-" in said
    assert "True" in said
    rows = [line.split() for line in said.splitlines() if line.startswith("/mnt/store/9")]
    assert [user for _, user, _ in rows] == ["root"] * 4  # the directory, and what is in it


@pytest.mark.parametrize(
    ("prepare", "store", "culprit"),
    [
        ("mkdir -m 777 /mnt/open", "/mnt/open/store", "every user can write to /mnt/open"),
        ("mkdir -m 775 /mnt/group", "/mnt/group/a/b", "group can write to /mnt/group"),
        (STORE + "mkdir /mnt/store/sub", "/mnt/store/sub", "/mnt/store belongs to user 65534"),
        (STORE + "ln -s store /mnt/link", "/mnt/link/x", "/mnt/store belongs to user 65534"),
    ],
)  # fmt: skip
def test_the_culprit_is_named_wherever_it_is(
    archive: Path, prepare: str, store: str, culprit: str
) -> None:
    said = brought(prepare, archive, store)
    assert f"refused no emulators are kept in {store}: " in said
    assert f"{culprit} | hint: run: ch" in said
    assert "qemu-arm" not in said


def test_nobody_is_told_to_close_what_is_for_all(archive: Path) -> None:
    """As /tmp is."""
    said = brought("mkdir -m 1777 /mnt/open", archive, "/mnt/open/store")
    assert "every user can write to /mnt/open" in said
    assert "chmod" not in said


def test_a_store_of_roots_own_is_used(archive: Path) -> None:
    said = brought("mkdir -m 755 /mnt/own", archive, "/mnt/own/qemu")
    assert "brought /mnt/own/qemu/9.9.9-" in said


def test_run_by_root_with_the_cache_of_another_user(archive: Path) -> None:
    """Sudo may leave HOME as it was."""
    command = [*CLI, "run", "--qemu", str(archive), "--", "true"]
    done = done_in_own_tree(STORE, ["env", "XDG_CACHE_HOME=/mnt/store", *command])
    assert done.returncode == 5, done.stderr
    assert "/mnt/store belongs to user 65534" in " ".join(done.stderr.split())
    assert "XDG_CACHE_HOME" in done.stderr
