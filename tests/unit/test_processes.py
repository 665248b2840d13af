"""Which processes execute a file: the same with psutil and without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from binfmt_setup.system.processes import executing


@pytest.mark.parametrize("there", [True, False])
def test_a_process_is_found_by_what_executes_it(
    monkeypatch: pytest.MonkeyPatch, *, there: bool
) -> None:
    if not there:
        monkeypatch.setitem(sys.modules, "psutil", None)  # importing it fails
    command = [
        sys.executable,
        "-c",
        "import sys; print(flush=True); sys.stdin.read()",
        "a word",
        "",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # until it runs, the kernel shows no words of it
        image = Path(f"/proc/{process.pid}/exe").stat()
        found = dict(executing({(image.st_dev, image.st_ino)}))
        assert process.stdin is not None
        process.stdin.close()
    assert found[process.pid][1:4] == command[1:4]
    assert executing({(0, 0)}) == []
