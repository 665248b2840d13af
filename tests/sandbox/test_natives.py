"""What the kernel runs itself, with entries in the way: the real kernel, amd64 with IA32."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from binfmt_setup.system.probes import prove_past_entries, run_probes
from tests.own_namespace import PROBES, python_in_namespace

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

I386 = target_named("i386")
HERE = ("--private", "--no-persist")
CONFIG = "/etc/binfmt.d/stray.conf"

pytestmark = pytest.mark.skipif(
    os.uname().machine != "x86_64" or not run_probes(["i386"])["i386"].native,
    reason="written for a kernel that runs i386 programs itself",
)


def told(data: dict[str, object]) -> list[tuple[object, object]]:
    """The findings of the one platform: code, and the remedy's command."""
    (state,) = cast("list[dict[str, list[dict[str, dict[str, object]]]]]", data["platforms"])
    return [(f["code"], f["remedy"]["command"]) for f in state["findings"]]


def kinds(data: dict[str, object]) -> list[object]:
    return [row["kind"] for row in cast("list[dict[str, object]]", data["actions"])]


def removal(name: str) -> list[str]:
    return ["sh", "-c", f"echo -1 > /proc/sys/fs/binfmt_misc/{name}"]


def test_an_entry_for_what_the_kernel_runs_is_an_error_and_install_removes_it(
    registry: Sandbox, qemu: Path
) -> None:
    rule = Registration("qemu-i386", f"{qemu}/qemu-i386-static", "F", I386.magic, I386.mask)
    registry.register(rule)
    assert told(registry.json("check", "386", status=1)) == [
        ("native-caught", removal("qemu-i386"))
    ]
    told_of = registry.tool("explain", str(PROBES / "i386")).stdout
    assert "entry qemu-i386 is in the way" in " ".join(told_of.split())
    assert "echo -1 > /proc/sys/fs/binfmt_misc/qemu-i386" in told_of
    assert kinds(registry.json("install", "386", *HERE)) == ["remove-entry"]
    assert registry.entries() == {}
    assert registry.json("install", "386", *HERE)["changed"] is False
    assert registry.json("check", "386")["ok"] is True


def test_the_remedy_for_a_stray_entry_removes_it(registry: Sandbox) -> None:
    """Its emulator is gone, so the probe fails: nobody is told to register QEMU instead."""
    registry.register(Registration("arm", "/data/bin/qemu-arm-missing", "", I386.magic, I386.mask))
    ((code, command),) = told(registry.json("check", "386", status=1))
    assert (code, command) == ("native-caught", removal("arm"))
    assert registry.tool("install", "386", *HERE).returncode != 0
    assert list(registry.entries()) == ["arm"]
    registry.run(*cast("list[str]", command))
    assert registry.json("check", "386")["ok"] is True


def test_probes_get_past_entries_without_a_registry_of_their_own() -> None:
    """As on Linux before 6.7: a copy with another ELF version is no entry's and any loader's."""
    found = prove_past_entries(["i386", "x86_64", "aarch64"])
    assert {name: (r.native, r.ok) for name, r in found.items()} == {
        "i386": (True, True), "x86_64": (True, True), "aarch64": (False, False),
    }  # fmt: skip
    said = python_in_namespace(PAST_ENTRIES)
    assert said.split() == ["False", "True"]


PAST_ENTRIES = """
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from binfmt_setup.system.host import Host
from binfmt_setup.system.probes import prove_past_entries, run_probes
from binfmt_setup.system.registry import Registry
target = target_named("i386")
rule = Registration("x", "/usr/bin/qemu-i386-static", "F", target.magic, target.mask)
Registry(Host()).register(rule)
print(run_probes(["i386"])["i386"].native, prove_past_entries(["i386"])["i386"].native)
"""


def test_another_machines_name_does_not_make_the_host_another(registry: Sandbox) -> None:
    """`setarch` tells uname(2) another machine, as an emulator does; the kernel stays the same."""
    if not Path("/proc/sys/kernel/arch").exists():
        pytest.skip("Linux 6.1 and newer say what they are")
    for command in (["check", "amd64"], ["install", "amd64", "--check", *HERE]):
        done = registry.run("setarch", "i686", sys.executable, "-m", "binfmt_setup", *command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "on x86_64" in done.stdout or done.stdout == "nothing would change\n"


@pytest.mark.parametrize(
    "line",
    [
        f":i:M::{''.join(f'{chr(92)}x{b:02x}' for b in I386.magic[:20])}::/bin/true:",
        r":pie:M:16:\x03\x00\x3e\x00::/bin/true:",
        r":gnu:M:7:\x03::/bin/true:",
    ],
)
def test_a_line_for_what_the_kernel_runs_is_an_error_before_it_is_loaded(
    system: Sandbox, line: str
) -> None:
    """Programs of this machine: of 32 bits, position-independent, and those that GNU marks."""
    made = system.sh("mkdir -p /run/systemd/system /etc/binfmt.d")
    assert made.returncode == 0, made.stderr
    system.run("tee", CONFIG, stdin=line + "\n")
    data = system.json("check", "amd64", status=1)
    found = cast("list[dict[str, object]]", data["findings"])
    assert [f["code"] for f in found if CONFIG in str(f["message"])] == ["native-registered"]


def test_an_entry_for_some_of_what_the_kernel_runs_is_an_error_too(registry: Sandbox) -> None:
    """Its probe is none of those: they are position-independent."""
    magic = I386.headers[1][16:20]
    registry.register(Registration("pie", "/bin/true", "", magic=magic, offset=16))
    assert told(registry.json("check", "386", status=1)) == [("native-caught", removal("pie"))]
    assert registry.tool("install", "386", *HERE).returncode == 4
    registry.run(*removal("pie"))
    assert registry.json("check", "386")["ok"] is True
