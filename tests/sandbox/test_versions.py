"""Which QEMU runs, and which lies on disk: they differ after an upgrade."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tests.emulator_sources import version_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

NEWER = "9.9.9"


def test_status_shows_the_pinned_version_and_that_on_disk(
    registry: Sandbox, emulators: Path
) -> None:
    emulator = emulators / "qemu-aarch64-static"
    number = version_of(emulator)
    registry.json("install", "--private", "--no-persist", "--qemu", str(emulators), "arm64")
    assert handler(registry)["pinned_version"] == handler(registry)["disk_version"]
    # The same program with another number in it, put in its place as a package manager does.
    newer = NEWER.ljust(len(number), "9").encode()[: len(number)]
    emulator.with_suffix(".new").write_bytes(emulator.read_bytes().replace(number.encode(), newer))
    emulator.with_suffix(".new").chmod(0o755)
    emulator.with_suffix(".new").rename(emulator)
    seen = handler(registry)
    assert str(seen["pinned_version"]).split()[0] == number
    assert str(seen["disk_version"]).split()[0] == newer.decode()
    text = registry.tool("status").stdout
    assert f"{number} (disk: {newer.decode()})" in text
    registry.json("install", "--private", "--no-persist", "--qemu", str(emulators), "arm64")
    assert str(handler(registry)["pinned_version"]).split()[0] == newer.decode()


def handler(registry: Sandbox) -> dict[str, object]:
    rows = cast("list[dict[str, object]]", registry.json("status")["platforms"])
    found = next(row for row in rows if row["platform"] == "linux/arm64")
    return cast("dict[str, object]", found["handler"])
