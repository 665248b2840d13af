"""A registry that may not be read is unknown, not empty: the probe decides what is said."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from tests.own_namespace import CLI, PROBES, as_user
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

ARM64 = target_named("aarch64")
REGISTRY = "/proc/sys/fs/binfmt_misc"


def hidden(registry: Sandbox, qemu: Path) -> None:
    """Register arm64 alone, and let nobody look: a user without capabilities cannot."""
    emulator = f"{qemu}/qemu-aarch64-static"
    registry.register(Registration(ARM64.entry_name, emulator, "OF", ARM64.magic, ARM64.mask))
    assert registry.sh(f"chmod 0 {REGISTRY}").returncode == 0


def asked(registry: Sandbox, *words: str) -> tuple[int, dict[str, object], str]:
    """What a command says to an ordinary user: its exit code, document and text."""
    done = registry.run(*as_user([*CLI, *words, "--format", "json"]))
    document = json.loads(done.stdout)
    assert_fits(document)
    return done.returncode, document, registry.run(*as_user([*CLI, *words])).stdout


def codes(document: dict[str, object]) -> list[str]:
    findings = document["findings"]
    assert isinstance(findings, list)
    return sorted({f["code"] for f in findings} - {"private-namespace"})


def test_check_lets_the_probe_decide(registry: Sandbox, qemu: Path) -> None:
    hidden(registry, qemu)
    code, document, text = asked(registry, "check", "arm64")
    assert (code, codes(document)) == (0, ["access-denied"])
    assert "entry     not known, as the entries could not be read" in text
    code, document, text = asked(registry, "check", "riscv64")
    assert (code, codes(document)) == (1, ["access-denied"])
    assert "no entry matches" not in text
    _, _, text = asked(registry, "status")
    assert "entries not known" in text
    assert "0 entries" not in text


def test_of_one_entry_that_cannot_be_read_nothing_is_concluded(
    registry: Sandbox, qemu: Path
) -> None:
    hidden(registry, qemu)
    name = f"{REGISTRY}/{ARM64.entry_name}"
    assert registry.sh(f"chmod 755 {REGISTRY} && chmod 0 {name}").returncode == 0
    code, document, text = asked(registry, "check", "arm64")
    assert (code, codes(document)) == (0, ["entry-unreadable"])
    assert "0 entries, and 1 that could not be read" in " ".join(text.split())
    assert "no entry matches" not in text
    assert "emulator  not known, as its entry could not be read" in text
    assert "0 entries and 1 not read" in asked(registry, "status")[2]


def test_explain_lets_the_probe_decide(registry: Sandbox, qemu: Path) -> None:
    hidden(registry, qemu)
    code, _, text = asked(registry, "explain", str(PROBES / "aarch64"))
    assert code == 0
    assert "an entry not visible from here runs aarch64: a probe did" in text
    code, _, text = asked(registry, "explain", str(PROBES / "riscv64"))
    assert code == 1
    assert "no entry takes RISC-V programs" in text
