"""What the Ansible modules make of the answers of the real tool, in a registry of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from tests.collection import NOTHING, tool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

TOOL = tool()


def asked(inside: Sandbox, words: Sequence[str]) -> dict[str, object]:
    """The document that a module's command line is answered with, in a namespace."""
    private = [] if words[0] == "check" else ["--private"]
    done = inside.run(sys.executable, "-m", "binfmt_setup", words[0], *private, *words[1:])
    found: dict[str, object] = TOOL.document(done.returncode, done.stdout, done.stderr)
    return found


def test_what_is_predicted_is_done_and_then_nothing(registry: Sandbox, emulators: Path) -> None:
    wish = NOTHING | {"platforms": ["linux/arm64"], "persist": False, "qemu": str(emulators)}
    predicted = asked(registry, TOOL.install_words(wish, check=True))
    assert (predicted["changed"], registry.entries()) == (True, {})
    done = asked(registry, TOOL.install_words(wish, check=False))
    shown = TOOL.differences(done["actions"])
    assert TOOL.differences(predicted["actions"]) == shown
    assert [difference["before_header"] for difference in shown] == ["qemu-aarch64 (register)"]
    assert shown[0]["before"] == ""
    assert shown[0]["after"].startswith(":qemu-aarch64:M:")
    again = asked(registry, TOOL.install_words(wish, check=False))
    assert (done["changed"], again["changed"], again["actions"]) == (True, False, [])
    asking = asked(registry, TOOL.check_words(NOTHING | {"platforms": ["linux/arm64"]}))
    assert (asking["ok"], TOOL.reason(asking)) == (True, "")
    removed = asked(registry, TOOL.uninstall_words(NOTHING, check=False))
    assert (removed["changed"], registry.entries()) == (True, {})


def test_a_failure_tells_each_cause_and_each_remedy_once(registry: Sandbox, tmp_path: Path) -> None:
    wish = NOTHING | {"platforms": ["linux/arm64", "linux/riscv64"], "qemu": str(tmp_path)}
    found = asked(registry, TOOL.install_words(wish | {"persist": False}, check=False))
    said = TOOL.failure(found).splitlines()
    assert (found["exit_code"], found["changed"]) == (5, False)
    # The findings say the same once more; their words are not repeated.
    assert [line.partition(" in ")[0] for line in said] == [
        "no usable emulator for aarch64", "no usable emulator for riscv64",
    ]  # fmt: skip
    assert [line.count(" -> ") for line in said] == [1, 1]


def test_an_answer_that_is_no(registry: Sandbox) -> None:
    found = asked(registry, TOOL.check_words(NOTHING | {"platforms": ["linux/arm64"]}))
    assert found["exit_code"] == 1
    assert TOOL.reason(found).startswith("linux/arm64: no entry for its programs -> run: ")


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"platforms": ["linux/arn64"]}, "unknown platform 'linux/arn64' -> did you mean"),
        # A variable that is empty by mistake: no other emulator, and none that nobody verified.
        ({"qemu": ""}, "--qemu is empty -> "),
        ({"qemu": "/usr/bin", "qemu_sha256": ""}, "--qemu-sha256 is empty -> "),
        ({"config": ""}, "--config is empty -> "),
    ],
)
def test_a_mistake_is_an_answer_too(registry: Sandbox, wish: dict[str, object], said: str) -> None:
    found = asked(registry, TOOL.install_words(NOTHING | wish, check=True))
    assert found["exit_code"] == 2
    assert TOOL.failure(found).startswith(said)


def test_what_is_no_tool(registry: Sandbox) -> None:
    done = registry.run("true", *TOOL.check_words(NOTHING))
    with pytest.raises(TOOL.NoAnswer, match="no answer in JSON, and ended with status 0"):
        TOOL.document(done.returncode, done.stdout, done.stderr)
