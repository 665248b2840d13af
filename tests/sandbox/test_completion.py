"""What shells complete with: the entries that a real registry has."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_entries_are_those_of_the_kernel_and_can_be_named(registry: Sandbox, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    assert registry.tool("install", "s390x", "--private", "--no-persist").returncode == 0
    line = "binfmt-setup uninstall qemu-"
    done = registry.run(sys.executable, "-m", "tests.shells", shell, line)
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)
    # Those of the next boot are offered, too; this machine may have any.
    boot = {path.stem for path in Path("/etc/binfmt.d").glob("qemu-*.conf")}
    assert set(said.strip("<>").split("><")) - {"uninstall"} == {"qemu-s390x"} | boot
    done = registry.tool("uninstall", "qemu-s390x", "--private")
    assert done.returncode == 0, done.stderr
    assert registry.entries() == {}
