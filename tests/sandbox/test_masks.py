"""Masks: what ours take beyond the distribution's, and that neither is replaced for nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import parse_line
from binfmt_setup.model.targets import target_named
from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from binfmt_setup.model.registration import Registration
    from tests.sandbox.conftest import Sandbox

STOCK = Path(__file__).parents[1] / "unit" / "data" / "stock"
ARM64 = target_named("aarch64")
OURS = "/etc/binfmt.d/qemu-aarch64.conf"
PADDED = slice(8, 16)


def stock_row(release: str, name: str, emulator: str) -> Registration:
    """A row of a release, served by this machine's emulator."""
    rows = map(parse_line, (STOCK / f"{release}.conf").read_text().splitlines())
    return replace(next(r for r in rows if r.name == name), interpreter=emulator, flags="OF")


def by_the_package(system: Sandbox, row: Registration) -> None:
    system.run("sh", "-c", f"cat > /usr/lib/binfmt.d/{row.name}.conf", stdin=row.line + "\n")
    system.register(row)


def test_an_entry_of_an_older_version_is_taken_over_once(system: Sandbox) -> None:
    """It looked at the padding: nothing was wrong with it, and the next install mends it."""
    system.json("install", "arm64", "--private")
    new = system.entries()["qemu-aarch64"].registration
    mask = bytearray(new.mask)
    mask[PADDED] = b"\xff" * 8
    old = replace(new, mask=bytes(mask))
    system.run("python3", "-c", EDIT, OURS, new.line, old.line)
    system.sh("echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64")
    system.register(old)

    checked = system.json("check", "arm64")
    codes = [f["code"] for f in rows(rows(checked, "platforms")[0], "findings")]
    assert "config-differs" not in codes
    assert "entry-differs" not in codes
    done = system.json("install", "arm64", "--private")
    kinds = [row["kind"] for row in rows(done, "actions")]
    assert kinds[:2] == ["replace", "write-file"]
    assert system.entries()["qemu-aarch64"].registration == new
    assert system.json("install", "arm64", "--private")["changed"] is False
    system.json("uninstall", "--private")
    assert system.entries() == {}


EDIT = """
import pathlib, sys
file = pathlib.Path(sys.argv[1])
text = file.read_text()
assert text.count(sys.argv[2]) == 1
file.write_text(text.replace(sys.argv[2], sys.argv[3]))
"""


def rows(data: object, key: str) -> list[dict[str, object]]:
    return cast("dict[str, list[dict[str, object]]]", data)[key]


@pytest.mark.parametrize(
    ("release", "name", "platform"),
    [
        ("debian-12", "aarch64", "linux/arm64"),
        ("debian-13", "mips", "linux/mips"),
        ("forky", "mipsn32el", "linux/mips64p32le"),
    ],
)
def test_a_row_of_the_distribution_is_seen_and_stays(
    system: Sandbox, qemu: Path, release: str, name: str, platform: str
) -> None:
    row = stock_row(release, f"qemu-{name}", str(qemu / f"qemu-{name}-static"))
    by_the_package(system, row)
    state = rows(system.json("check", platform), "platforms")[0]
    assert cast("dict[str, object]", state["handler"])["name"] == row.name
    assert system.json("install", platform, "--private")["changed"] is False
    assert system.entries()[row.name].registration == row
    assert system.tool("explain", str(PROBES / name)).returncode == 0


def test_a_type_2_appimage_runs_with_our_row_and_not_with_debians(
    system: Sandbox, qemu: Path, tmp_path: Path
) -> None:
    content = bytearray((PROBES / "aarch64").read_bytes())
    content[8:11] = b"AI\x02"
    image = tmp_path / "appimage"
    image.write_bytes(content)
    image.chmod(0o755)
    by_the_package(system, stock_row("debian-12", ARM64.entry_name, f"{qemu}/qemu-aarch64-static"))
    refused = system.tool("explain", str(image))
    assert refused.returncode == 1
    assert "binfmt-setup install --take-over --private linux/arm64" in refused.stdout
    assert system.run("python3", "-c", EXECUTE, str(image)).returncode == 8  # ENOEXEC
    system.json("install", "--take-over", "linux/arm64", "--private")
    assert system.run("python3", "-c", EXECUTE, str(image)).returncode == 0
    assert system.tool("explain", str(image)).returncode == 0


EXECUTE = """
import os, sys
try:
    os.execv(sys.argv[1], [sys.argv[1]])
except OSError as error:
    sys.exit(error.errno)
"""
