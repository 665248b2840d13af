"""What an install that really writes and proves imports: the cause of how long it takes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

# More than the tool's own modules for it take to import, each.
COSTLY = {
    *("typer", "rich", "jinja2", "psutil", "elftools", "hashlib"),
    *("dataclasses", "inspect", "pathlib", "subprocess", "tempfile", "json.decoder"),
}


def test_an_install_imports_nothing_that_costs(registry: Sandbox) -> None:
    tool = (sys.executable, "-X", "importtime", "-m", "binfmt_setup")
    # An empty environment: measuring coverage would load more.
    done = registry.run("env", "-i", *tool, "install", "arm64", "s390x", "--private",
                        "--no-persist")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = (line.rpartition("|") for line in done.stderr.splitlines() if "|" in line)
    order = [name.strip() for _, _, name in rows]
    assert COSTLY & set(order) == set()
    own = [name.partition(".")[2] for name in order if name.startswith("binfmt_setup.")]
    assert not {"cli.app", "engines", "explain", "sources", "userns"} & set(own)
    # What judges and prints comes after what registers: while the emulators start.
    assert max(map(own.index, ("changes.transaction", "changes.plan", "inspect.snapshot"))) < min(
        map(own.index, ("diagnosis.judge", "report.text_report", "diagnosis.verdict"))
    )
