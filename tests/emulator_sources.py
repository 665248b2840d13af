"""What the tests of --qemu share: how they ask, and how they read the answer."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, cast

from tests.packing import Item, deb, tar, write

if TYPE_CHECKING:
    from pathlib import Path

HERE = ("arm64", "--private", "--no-persist")
OLD, NEW = "7.0.1", "99.0.2"


def rows(data: dict[str, object], key: str) -> list[dict[str, object]]:
    """The rows of a table in a JSON document."""
    return cast("list[dict[str, object]]", data[key])


def kinds(data: dict[str, object]) -> list[object]:
    """The kinds of the actions in it."""
    return [row["kind"] for row in rows(data, "actions")]


def version_of(emulator: Path) -> str:
    """The version that an emulator tells, as in 7.2.22."""
    said = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+\.\d+\.\d+)", said.stdout)
    assert found is not None, said.stdout
    return found[1]


def made_archive(directory: Path) -> Path:
    """An archive with the emulator for arm64 that lies in a directory."""
    emulator = (directory / "qemu-aarch64-static").read_bytes()
    return write(directory / "qemu.deb", deb(tar(Item("./usr/bin/qemu-aarch64-static", emulator))))
