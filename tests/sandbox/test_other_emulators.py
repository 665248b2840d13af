"""docs/other-emulators.md: other emulators are named and kept, and a wish decides which is first.

On this machine they are stood in for by what they are to the kernel: an entry of their name and an
interpreter called as theirs, which runs programs of the platform.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from tests.own_namespace import TOP
from tests.sandbox.conftest import REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

ARM64 = target_named("aarch64")
PAGE_ROWS = {
    "box64": ("box64", "/usr/local/bin/box64"),
    "FEX-x86_64": ("fex", "/usr/bin/FEXInterpreter"),
    "rosetta": ("rosetta", "/run/rosetta/rosetta"),
}
# The line for cron.
(CRON,) = re.findall(
    r"^\* \* \* \* \* root (.+)$", (TOP / "docs/keep.md").read_text(encoding="utf-8"), re.MULTILINE
)
REGISTER = "sh /etc/binfmt-setup/register /etc/binfmt.d/*.conf"


@pytest.fixture
def other(qemu: Path, tmp_path: Path) -> Path:
    """An emulator for arm64 that is not called QEMU."""
    path = tmp_path / "FEX"
    shutil.copy(qemu / "qemu-aarch64-static", path)
    return path


def first(system: Sandbox) -> str:
    """The name of the entry that takes programs of arm64."""
    return next(n for n, e in system.entries().items() if e.registration.matches(ARM64.header))


def wish(system: Sandbox, *names: str) -> None:
    words = ", ".join(f'"{name}"' for name in names)
    text = f'platforms = ["linux/arm64"]\nprefer = [{words}]\n'
    assert system.run("sh", "-c", "cat >/etc/binfmt-setup.toml", stdin=text).returncode == 0


def test_the_commands_of_the_page(system: Sandbox, other: Path) -> None:
    """As they stand there, with another name for what this machine has not: an amd64 to emulate."""
    text = (TOP / "docs" / "other-emulators.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:console|toml)\n(.*?)```", text, re.DOTALL)
    for there, here in (("linux/amd64", "linux/arm64"), ("FEX-x86_64", "FEX-arm64"),
                        ("qemu-x86_64", "qemu-aarch64"), ("/opt/fex/FEX", str(other))):  # fmt: skip
        blocks = [block.replace(there, here) for block in blocks]
    register, prefer, *commands = blocks
    theirs(system, other)
    assert system.run("sh", "-c", "cat >/etc/binfmt-setup.toml", stdin=prefer).returncode == 0
    for line in (line for block in (register, *commands) for line in block.splitlines()):
        _, name, *words = line.split()
        assert name == "binfmt-setup"
        private = ["--private"] if words[0] in ("install", "uninstall") else []
        done = system.tool(*words, *private)
        assert done.returncode == 0, (line, done.stdout + done.stderr)
    assert first(system) == "FEX-arm64"


def theirs(system: Sandbox, path: Path, name: str = "FEX-arm64") -> Registration:
    found = Registration(name, str(path), "POF", ARM64.magic, ARM64.mask)
    system.register(found)
    return found


def rows(data: dict[str, object], key: str) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", data[key])


def test_they_are_named(system: Sandbox) -> None:
    x86 = target_named("x86_64")
    magic = Registration("x", "/bin/true", "", x86.magic, replace(ARM64, name="x").mask)
    for name, (_, path) in PAGE_ROWS.items():
        # Programs of this machine itself are left alone: another machine's number.
        window = magic.magic[:18] + b"\xfe\xfe"
        system.register(Registration(name, path, "", window, magic.mask))
    system.register(Registration("wasm32", "/usr/bin/wasmtime", "", b"\0asm\1\0\0\0"))
    found = {str(row["name"]): row["origin"] for row in rows(system.json("status"), "entries")}
    assert found == {**{name: origin for name, (origin, _) in PAGE_ROWS.items()}, "wasm32": "wasm"}
    assert system.tool("uninstall", "--private").returncode == 0
    assert set(system.entries()) == set(found)


def test_one_that_works_is_kept_and_a_wish_decides_which_is_first(
    system: Sandbox, other: Path
) -> None:
    before = theirs(system, other)
    assert system.json("install", "arm64", "--private")["changed"] is False
    wish(system, "qemu-aarch64", "FEX-arm64")
    assert system.json("install", "--private")["changed"] is True
    assert first(system) == "qemu-aarch64"
    assert system.json("install", "--private")["changed"] is False

    wish(system, "FEX-arm64")
    done = system.json("install", "--private")
    assert [row["kind"] for row in rows(done, "actions")][:2] == ["replace", "write-file"]
    assert first(system) == "FEX-arm64"
    assert system.entries()["FEX-arm64"].registration == before
    assert system.json("install", "--private")["changed"] is False
    # Naming the platform asks nothing of the list, and takes nothing of it back.
    assert system.json("install", "arm64", "--private")["changed"] is False
    entry = next(r for r in rows(system.json("status"), "entries") if r["name"] == "FEX-arm64")
    assert (entry["origin"], entry["owner"]) == ("fex", "unknown")

    # As a boot does it: all are dropped, and the files are read in their order.
    system.sh(f"echo -1 >{REGISTRY}/status; {REGISTER}")
    assert first(system) == "FEX-arm64"
    assert set(system.entries()) == {"FEX-arm64", "qemu-aarch64"}

    wish(system, "qemu-aarch64")
    assert system.json("install", "--private")["changed"] is True
    assert first(system) == "qemu-aarch64"
    assert system.sh("ls /etc/binfmt.d").stdout == "qemu-aarch64.conf\n"
    system.sh(f"echo -1 >{REGISTRY}/status; {REGISTER}")
    assert first(system) == "qemu-aarch64"


def test_what_is_registered_later_does_not_overtake_it(system: Sandbox, other: Path) -> None:
    """Another service registers QEMU again: QEMU was upgraded, or its entry was dropped."""
    theirs(system, other)
    wish(system, "qemu-aarch64")
    assert system.tool("install", "--keep", "--private").returncode == 0
    wish(system, "FEX-arm64")
    assert system.tool("install", "--private").returncode == 0
    services = "/etc/systemd/system/binfmt-setup{,-keep}.service"
    lines = system.run("bash", "-c", f"sed -n s/^ExecReload=//p {services}").stdout.splitlines()
    assert len(lines) == 2
    for line in (*lines, CRON):
        if "--missing" in line:
            system.sh(f"echo -1 >{REGISTRY}/qemu-aarch64")
        done = system.sh(line)
        assert (done.returncode, list(system.entries())) == (0, ["FEX-arm64", "qemu-aarch64"]), line
    system.sh(f"echo -1 >{REGISTRY}/status; {CRON}")
    assert list(system.entries()) == ["FEX-arm64", "qemu-aarch64"]
    system.sh(f"echo 0 >{REGISTRY}/FEX-arm64; {lines[0]}")
    assert not system.entries()["FEX-arm64"].enabled


def test_one_that_is_gone_leaves_the_place_to_the_next(system: Sandbox, other: Path) -> None:
    theirs(system, other)
    wish(system, "FEX-arm64")
    assert system.tool("install", "--private").returncode == 0
    other.unlink()  # the kernel holds it open until the next boot
    assert system.json("install", "--private")["changed"] is True
    assert first(system) == "qemu-aarch64"
    assert system.sh("ls /etc/binfmt.d").stdout == "qemu-aarch64.conf\n"
    assert system.json("install", "--private")["changed"] is False


def test_one_that_does_not_work_does_not_come_first(system: Sandbox, tmp_path: Path) -> None:
    broken = tmp_path / "box64"
    shutil.copy("/bin/busybox", broken)
    theirs(system, broken, "box64")
    assert system.tool("install", "arm64", "--private").returncode == 0
    assert first(system) == "qemu-aarch64"
    wish(system, "box64")
    done = system.tool("install", "--private")
    assert (done.returncode, "box64 does not work and was not used" in done.stdout) == (4, True)
    assert first(system) == "qemu-aarch64"
    assert system.sh("ls /etc/binfmt.d").stdout == "qemu-aarch64.conf\n"


def test_what_is_switched_off_is_told(system: Sandbox, other: Path) -> None:
    theirs(system, other)
    system.sh(f"echo 0 >{REGISTRY}/FEX-arm64")
    wish(system, "FEX-arm64")
    done = system.tool("install", "--private")
    assert (done.returncode, "is disabled" in done.stderr + done.stdout) == (4, True)


def test_uninstall_leaves_the_entry_and_takes_the_file(system: Sandbox, other: Path) -> None:
    before = theirs(system, other)
    wish(system, "FEX-arm64")
    assert system.tool("install", "--private").returncode == 0
    assert "zz-first" in system.sh("ls /etc/binfmt.d").stdout
    assert system.json("install", "--private")["changed"] is False
    assert system.tool("uninstall", "--private").returncode == 0
    assert system.sh("ls -d /etc/binfmt.d").stdout == ""  # that was made, too
    assert [e.registration for e in system.entries().values()] == [before]


def test_any_emulator_that_passes_the_probe(system: Sandbox, other: Path, tmp_path: Path) -> None:
    words = ("install", "linux/arm64", "--emulator", str(other), "--private")
    assert system.json(*words)["changed"] is True
    assert system.entries()["qemu-aarch64"].interpreter == str(other)
    # It stays the choice until another one is asked for.
    assert system.json("install", "linux/arm64", "--private")["changed"] is False
    assert system.json(*words)["changed"] is False
    broken = tmp_path / "broken"
    shutil.copy("/bin/busybox", broken)
    failed = system.tool("install", "linux/arm64", "--emulator", str(broken), "--private")
    assert failed.returncode != 0
    assert system.entries()["qemu-aarch64"].interpreter == str(other)
    back = system.json("install", "linux/arm64", "--qemu", "/usr/bin", "--private")
    assert back["changed"] is True
    assert system.entries()["qemu-aarch64"].interpreter.startswith("/usr/bin/qemu-aarch64")


def test_one_that_is_refused_is_not_mended_by_a_package_of_qemu(system: Sandbox) -> None:
    for path in ("/bin/sh", "/bin", "/etc/passwd"):
        done = system.tool("install", "arm64", "--emulator", path, "--private")
        _, _, error = done.stdout.rpartition("✗ no usable emulator for aarch64: ")
        assert (done.returncode, error.startswith(f"{path} is ")) == (5, True), done.stdout
        assert "→ name another emulator, or leave --emulator out\n" in error
        assert "qemu" not in error


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("arm64", "--emulator", "/no/such"), "no such file"),
        (("arm64", "riscv64", "--emulator", "/bin/sh"), "for one platform"),
        (("all", "--emulator", "/bin/sh"), "for one platform"),
        (("arm64", "--emulator", "/bin/sh", "--qemu", "/usr/bin"), "exclude each other"),
        (("arm64", "--emulator", "/bin/sh", "--install-qemu"), "exclude each other"),
    ],
)
def test_mistakes(system: Sandbox, more: tuple[str, ...], said: str) -> None:
    done = system.tool("install", *more, "--private")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
