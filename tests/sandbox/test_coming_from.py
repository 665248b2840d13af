"""Entries that container images leave: pinned from a root that is gone, then taken over."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

REGISTRY = "/proc/sys/fs/binfmt_misc"
ARM64 = target_named("aarch64")
HERE = ("--private", "--no-persist")
LEFT = {
    "tonistiigi-binfmt": ("/usr/bin/qemu-aarch64", "OCF"),
    "qus": ("/qus/bin/qemu-aarch64-static", "F"),
    "hypriot": ("/qemu-aarch64", "OCF"),
}
# As an engine does it: the interpreter's path is looked up in the image's own root file
# system, when the line is written; the registration outlives that root.
IN_AN_IMAGE = """
import os, sys
image, register = sys.argv[1:]
descriptor = os.open(register, os.O_WRONLY)
os.chroot(image)
os.write(descriptor, sys.stdin.buffer.read())
"""


def finding(data: dict[str, object], code: str) -> dict[str, object]:
    platforms = cast("list[dict[str, list[dict[str, object]]]]", data["platforms"])
    return next(f for f in platforms[0]["findings"] if f["code"] == code)


@pytest.mark.parametrize("name", LEFT)
def test_left_by_an_image(name: str, registry: Sandbox, qemu: Path, tmp_path: Path) -> None:
    interpreter, flags = LEFT[name]
    if Path(interpreter).exists():
        pytest.skip(f"this host has {interpreter}")
    left = Registration("qemu-aarch64", interpreter, flags, ARM64.magic, ARM64.mask)
    pinned = tmp_path / interpreter[1:]
    pinned.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(qemu / "qemu-aarch64-static", pinned)
    done = registry.run(
        sys.executable, "-c", IN_AN_IMAGE, str(tmp_path), f"{REGISTRY}/register", stdin=left.line
    )
    assert done.returncode == 0, done.stderr
    pinned.unlink()
    entry = cast("list[dict[str, object]]", registry.json("status")["entries"])[0]
    assert entry["origin"] == name
    warned = finding(registry.json("check", "arm64"), "interpreter-missing")
    assert warned["severity"] == "warning"
    assert f"{interpreter} does not exist here (left by " in str(warned["message"])
    taken = registry.json("install", "arm64", "--take-over", *HERE)
    assert taken["changed"] is True
    assert registry.entries()["qemu-aarch64"].interpreter != interpreter
    again = registry.json("install", "arm64", "--take-over", *HERE)
    assert again["changed"] is False


def test_explain_says_who_left_an_entry_whose_file_is_gone(
    registry: Sandbox, qemu: Path, tmp_path: Path
) -> None:
    interpreter = tmp_path / "qemu-aarch64-static"
    interpreter.write_bytes((qemu / "qemu-aarch64-static").read_bytes())
    interpreter.chmod(0o755)
    registry.register(Registration("qemu-aarch64", str(interpreter), "F", ARM64.magic, ARM64.mask))
    interpreter.unlink()
    program = tmp_path / "program"
    program.write_bytes(
        (Path(__file__).parents[2] / "binfmt_setup/data/probes/aarch64").read_bytes()
    )
    program.chmod(0o755)
    done = registry.tool("explain", str(program))
    assert done.returncode == 0
    assert "what F pinned runs until the next reboot" in " ".join(done.stdout.split())
    # Nothing lasts in a namespace of one's own.
    assert "run: binfmt-setup install --private --no-persist linux/arm64\n" in done.stdout
    assert "reboot)" not in done.stdout
    assert done.stdout.endswith("runs: by entry qemu-aarch64\n")
    assert registry.run(str(program)).returncode == 0


GUIDE = Path(__file__).parents[2] / "docs" / "coming-from.md"


def commands_of_the_guide() -> list[str]:
    """Every command of ours on the page, without sudo, each once."""
    found = re.findall(
        r"(?:`|^    )(?:sudo )?binfmt-setup ([^`\n]+)", GUIDE.read_text(), re.MULTILINE
    )
    return list(dict.fromkeys(found))


def test_every_command_of_the_guide_runs(
    registry: Sandbox, emulators: Path, tmp_path: Path
) -> None:
    commands = commands_of_the_guide()
    assert len(commands) > 20
    root = tmp_path / "root"
    for path in ("bin/sh", "usr/bin/qemu-aarch64-static", "usr/lib/systemd/systemd-binfmt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROBES / (platform.machine()), root / path)
    program = shutil.copy(PROBES / "aarch64", root / "program")
    words = {"DIR": str(emulators), "ROOT": str(root), "FILE": str(program)}
    assert registry.tool("install", "arm64", "riscv64", *HERE).returncode == 0
    for command in commands:
        arguments = [words.get(word, word) for word in command.split()]
        if "--root" in arguments:
            arguments[arguments.index("--root") + 1] = str(root)
        elif arguments[0] == "install":
            arguments += [option for option in HERE if option not in arguments]
        elif arguments[0] == "uninstall":
            arguments.append("--private")
        done = registry.tool(*arguments)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if arguments[0] == "uninstall":
            assert registry.tool("install", "arm64", "riscv64", *HERE).returncode == 0
