"""Which QEMU runs, and which lies on disk: they differ after an upgrade."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

NEWER = "9.9.9"


def test_status_shows_the_pinned_version_and_that_on_disk(
    registry: Sandbox, emulators: Path
) -> None:
    emulator = emulators / "qemu-aarch64-static"
    said = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True)
    number = re.search(r"version (\S+)", said.stdout)
    assert number
    registry.json("install", "--private", "--no-persist", "--qemu", str(emulators), "arm64")
    assert handler(registry)["pinned_version"] == handler(registry)["disk_version"]
    # The same program with another number in it, put in its place as a package manager does.
    newer = NEWER.ljust(len(number[1]), "9").encode()[: len(number[1])]
    emulator.with_suffix(".new").write_bytes(
        emulator.read_bytes().replace(number[1].encode(), newer)
    )
    emulator.with_suffix(".new").chmod(0o755)
    emulator.with_suffix(".new").rename(emulator)
    seen = handler(registry)
    assert str(seen["pinned_version"]).split()[0] == number[1]
    assert str(seen["disk_version"]).split()[0] == newer.decode()
    text = registry.tool("status").stdout
    assert f"{number[1]} (disk: {newer.decode()})" in text
    registry.json("install", "--private", "--no-persist", "--qemu", str(emulators), "arm64")
    assert str(handler(registry)["pinned_version"]).split()[0] == newer.decode()


def handler(registry: Sandbox) -> dict[str, object]:
    rows = cast("list[dict[str, object]]", registry.json("status")["platforms"])
    found = next(row for row in rows if row["platform"] == "linux/arm64")
    return cast("dict[str, object]", found["handler"])
