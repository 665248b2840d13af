"""What is foretold of the next boot is what systemd's own programs make of the same files.

Bounded; `scripts/kernel-agrees` has the full form.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.boot_driver import SYSTEMD

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

pytestmark = pytest.mark.one_python

DRIVER = (sys.executable, "-m", "tests.sandbox.boot_driver")
OWN = "for d in /usr/lib/sysctl.d /usr/local/lib; do mount -t tmpfs -o mode=755 none $d; done"


def differing(system: Sandbox, count: int, seed: int) -> list[object]:
    """The trees that came out otherwise, in a namespace that owns its files."""
    assert system.sh(OWN).returncode == 0
    done = system.run(*DRIVER, str(count), str(seed))
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


def test_systemd_does_what_was_foretold(system: Sandbox) -> None:
    if not all(Path(SYSTEMD, name).exists() for name in ("systemd-binfmt", "systemd-sysctl")):
        pytest.skip("systemd is not installed")
    assert differing(system, 25, 1) == []
