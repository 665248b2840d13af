"""The line that counts seconds: on a terminal only, and gone at the end."""

from __future__ import annotations

import io

from binfmt_setup.system.progress import Ticker


def test_a_terminal_sees_what_is_waited_for_and_then_nothing() -> None:
    stream = io.StringIO()
    with Ticker(stream, terminal=True)("docker builds linux/arm64"):
        pass
    assert "docker builds linux/arm64 … 0 s" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_a_file_sees_nothing() -> None:
    stream = io.StringIO()
    with Ticker(stream, terminal=False)("docker builds linux/arm64"):
        pass
    assert stream.getvalue() == ""
