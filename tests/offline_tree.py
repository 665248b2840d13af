"""A file tree of a small host, for what --root does with one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from pathlib import Path

NATIVE = {"x86_64": "x86_64", "aarch64": "aarch64"}.get(os.uname().machine, "x86_64")


def made_tree(folder: Path) -> Path:
    """A small system of this machine's kind: a shell, systemd, and a static s390x emulator.

    Any static program will do for an emulator here, as nothing in the tree is run.
    """
    root = folder / "root"
    for path in ("bin/sh", "usr/bin/qemu-s390x-static", "usr/lib/systemd/systemd",
                 "usr/lib/systemd/systemd-binfmt"):  # fmt: skip
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROBES / NATIVE, root / path)
    (root / "etc/systemd/system/multi-user.target.wants").mkdir(parents=True)
    (root / "etc/systemd/system/multi-user.target.wants/keep.service").symlink_to("../keep")
    (root / "etc/os-release").write_text("ID=debian\nVERSION_ID=12\nPRETTY_NAME='A tree'\n")
    return root


def tool(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command, *rest = arguments
    return subprocess.run(
        [sys.executable, "-m", "binfmt_setup", command, "--root", str(root), *rest],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
