"""install, check, status and uninstall on the real kernel, in a private registry."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.changes.registrations import wished_registration
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.registry_facts import SWAP_PREFIX
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import TARGETS, container_platforms, parse_platform, target_named
from tests.foreign_starts import starting
from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

REGISTRY = "/proc/sys/fs/binfmt_misc"
ARM64 = target_named("aarch64")
HERE = ("--private", "--no-persist")
FOREIGN = Registration("python3.11", "/usr/bin/python3.11", "", b"\xa7\x0d\x0d\x0a")
WSL = Registration("WSLInterop", "/init", "PF", b"MZ")


def rows(data: dict[str, object], key: str) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", data[key])


def codes(data: dict[str, object]) -> list[object]:
    """The codes of the first platform's findings."""
    return [finding["code"] for finding in rows(rows(data, "platforms")[0], "findings")]


def running_programs() -> set[tuple[int, int]]:
    """Device and inode of each: in a namespace that is gone a path lacks its beginning."""
    found = set()
    for link in Path("/proc").glob("[0-9]*/exe"):
        with suppress(OSError):
            found.add(identity(link))
    return found


def identity(path: Path) -> tuple[int, int]:
    image = path.stat()
    return image.st_dev, image.st_ino


def hand_made(interpreter: str, flags: str = "F", *, mask: bytes = ARM64.mask) -> Registration:
    return Registration(ARM64.entry_name, interpreter, flags, ARM64.magic, mask)


def test_from_an_empty_registry_to_a_proven_one_and_back(sandbox: Sandbox) -> None:
    first = sandbox.json("install", "arm64", "riscv64", *HERE)
    assert first["changed"] is True
    assert [row["ok"] for row in rows(first, "platforms")] == [True, True]
    assert [row["kind"] for row in rows(first, "actions")] == ["mount", "register", "register"]
    assert set(sandbox.entries()) == {"qemu-aarch64", "qemu-riscv64"}

    again = sandbox.json("install", "arm64", "riscv64", *HERE)
    assert again["changed"] is False
    assert sandbox.json("check", "arm64", "riscv64")["ok"] is True
    owners = {row["name"]: row["owner"] for row in rows(sandbox.json("status"), "entries")}
    assert owners == {"qemu-aarch64": "binfmt-setup", "qemu-riscv64": "binfmt-setup"}

    gone = sandbox.json("uninstall", "riscv64", "--private")
    assert [row["target"] for row in rows(gone, "actions")] == ["qemu-riscv64"]
    assert set(sandbox.entries()) == {"qemu-aarch64"}
    sandbox.json("uninstall", "--private")
    assert sandbox.entries() == {}
    assert sandbox.json("uninstall", "--private")["changed"] is False


def test_entries_read_back_with_f_and_without_c(registry: Sandbox) -> None:
    assert registry.tool("install", "arm64", *HERE).returncode == 0
    entry = registry.entries()["qemu-aarch64"]
    assert "F" in entry.flags
    assert "C" not in entry.flags
    assert (entry.registration.magic, entry.registration.mask) == (ARM64.magic, ARM64.mask)
    assert registry.tool("install", "arm64", *HERE, "--credentials").returncode == 0
    assert "C" in registry.entries()["qemu-aarch64"].flags
    # Without the wish for it, C goes again.
    assert registry.tool("install", "arm64", *HERE).returncode == 0
    assert "C" not in registry.entries()["qemu-aarch64"].flags


def test_every_container_platform_is_ok_and_arch_test_agrees(registry: Sandbox) -> None:
    if shutil.which("arch-test") is None:
        pytest.skip("arch-test is not installed")
    data = registry.json("install", *HERE)
    good = {row["platform"] for row in rows(data, "platforms") if row["ok"]}
    assert "linux/arm64" in good
    judged = set()
    for platform in container_platforms():
        for debian in platform.variant.debian:
            verdict = registry.run("arch-test", debian)
            if platform.name in good and verdict.returncode != 2:  # 2: not known to it
                assert verdict.returncode == 0, verdict.stdout + verdict.stderr
                judged.add(debian)
    assert {"arm64", "armel", "armhf", "riscv64", "s390x", "ppc64el", "mips64el"} <= judged


def test_every_target_with_an_emulator_and_a_probe_runs(registry: Sandbox, qemu: Path) -> None:
    data = registry.json("install", "all", *HERE)
    expected = {
        platform.name
        for target in TARGETS
        if (qemu / f"qemu-{target.name}-static").exists()
        for platform in target.platforms
        if (PROBES / platform.probe).exists() and platform.variant.suffix not in ("v2", "v3", "v4")
    }
    ran = {row["platform"] for row in rows(data, "platforms") if row["ok"]}
    native = {"linux/amd64", "linux/386"} if os.uname().machine == "x86_64" else set()
    assert expected - native == ran
    assert len(ran) > 28


def test_the_native_platform_is_proven_and_never_registered(registry: Sandbox) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("written for an amd64 machine")
    data = registry.json("install", "amd64", "386", *HERE)
    assert [row["how"] for row in rows(data, "platforms")] == ["native", "native"]
    assert registry.entries() == {}


def test_without_f_is_named_and_replaced(registry: Sandbox) -> None:
    registry.register(hand_made("/usr/bin/qemu-aarch64-static", flags=""))
    checked = registry.json("check", "arm64", status=1)
    assert codes(checked) == ["flag-f-missing"]
    done = registry.json("install", "arm64", *HERE)
    assert [row["kind"] for row in rows(done, "actions")] == ["replace"]
    assert "F" in registry.entries()["qemu-aarch64"].flags


def test_another_mask_is_replaced(registry: Sandbox) -> None:
    narrow = ARM64.mask[:7] + b"\xff" + ARM64.mask[8:16] + b"\xff" + ARM64.mask[17:]
    registry.register(hand_made("/usr/bin/qemu-aarch64-static", mask=narrow))
    registry.json("install", "arm64", *HERE)
    assert registry.entries()["qemu-aarch64"].registration.mask != b""


def test_a_disabled_entry_is_named_and_replaced(registry: Sandbox) -> None:
    registry.register(hand_made("/usr/bin/qemu-aarch64-static", flags="OF"))
    registry.sh(f"echo 0 > {REGISTRY}/qemu-aarch64")
    checked = registry.json("check", "arm64", status=1)
    assert codes(checked) == ["entry-disabled"]
    registry.json("install", "arm64", *HERE)
    assert registry.entries()["qemu-aarch64"].enabled


def test_entries_of_others_are_never_touched(registry: Sandbox) -> None:
    if not Path(FOREIGN.interpreter).exists():
        pytest.skip("no python3.11")
    registry.register(FOREIGN)
    registry.register(WSL) if Path(WSL.interpreter).exists() else None
    before = registry.entries()
    registry.json("install", *HERE)
    registry.json("uninstall", "--private")
    assert registry.entries() == before


def test_a_bad_emulator_is_taken_back(registry: Sandbox, emulators: Path) -> None:
    """Busybox is a static program of this host, and no emulator."""
    registry.json("install", "arm64", *HERE)
    before = registry.entries()
    shutil.copy("/bin/busybox", emulators / "qemu-aarch64-static")
    done = registry.json("install", "arm64", *HERE, "--qemu", str(emulators), status=4)
    assert [row["result"] for row in rows(done, "actions")] == ["rolled-back"]
    assert [row["ok"] for row in rows(done, "platforms")] == [True]
    assert done["changed"] is False
    assert registry.entries() == before
    # The same with nothing there before: nothing is left.
    registry.json("uninstall", "--private")
    registry.json("install", "arm64", *HERE, "--qemu", str(emulators), status=4)
    assert registry.entries() == {}


@pytest.mark.parametrize("fault", ["dynamic", "wrong-architecture", "writable", "empty", "missing"])
def test_an_unfit_interpreter_is_refused(registry: Sandbox, emulators: Path, fault: str) -> None:
    file = emulators / "qemu-aarch64-static"
    code = "interpreter-wrong-architecture" if fault == "empty" else f"interpreter-{fault}"
    if fault == "dynamic":
        shutil.copy("/bin/sleep", file)
    elif fault == "wrong-architecture":
        shutil.copy(PROBES / "s390x", file)
    elif fault == "writable":
        file.chmod(0o777)
    elif fault == "empty":
        file.write_bytes(b"")
    else:
        file.unlink()
    done = registry.json("install", "arm64", *HERE, "--qemu", str(emulators), status=5)
    assert rows(done, "errors")[0]["code"] == code
    assert registry.entries() == {}


def test_check_and_diff_write_nothing(registry: Sandbox) -> None:
    registry.register(hand_made("/usr/bin/qemu-aarch64-static", flags=""))
    before = registry.entries()
    for switch in ("--check", "--diff"):
        done = registry.tool("install", "arm64", "riscv64", *HERE, switch)
        assert done.returncode == 0, done.stderr
        assert "would make " in done.stdout
        assert registry.entries() == before
    planned = registry.json("install", "arm64", "riscv64", *HERE, "--check")
    assert planned["changed"] is True
    assert {row["result"] for row in rows(planned, "actions")} == {"planned"}


def test_check_mounts_nothing(sandbox: Sandbox) -> None:
    done = sandbox.tool("install", "arm64", *HERE, "--check")
    assert "mount /proc/sys/fs/binfmt_misc" in done.stdout
    assert sandbox.sh(f"ls {REGISTRY}").stdout == ""


def test_a_foreign_program_starts_at_every_moment_of_a_replacement(
    registry: Sandbox, emulators: Path, tmp_path: Path
) -> None:
    """Two directories of emulators in turn, while another process starts arm64 programs."""
    registry.json("install", "arm64", *HERE)
    other = tmp_path / "other"
    shutil.copytree(emulators, other)
    with starting(registry) as starts:
        for directory in (emulators, other) * 4:
            data = registry.json("install", "arm64", *HERE, "--qemu", str(directory))
            assert [row["kind"] for row in rows(data, "actions")] == ["replace"]
    assert starts.done > 100
    assert starts.failed == 0


def test_an_upgraded_emulator_is_pinned_anew(registry: Sandbox, emulators: Path) -> None:
    """The file is replaced as dpkg does it: the kernel goes on running the old one."""
    arguments = ("install", "arm64", *HERE, "--qemu", str(emulators))
    registry.json(*arguments)
    new = emulators / "new"
    shutil.copy(emulators / "qemu-aarch64-static", new)
    new.rename(emulators / "qemu-aarch64-static")
    checked = registry.json("check", "arm64")
    assert "interpreter-stale" in codes(checked)
    assert registry.json(*arguments)["changed"] is True
    assert registry.json(*arguments)["changed"] is False


def test_a_killed_replacement_leaves_a_working_entry_that_the_next_run_cleans_up(
    registry: Sandbox, emulators: Path
) -> None:
    registry.json("install", "arm64", *HERE)
    swap = hand_made(str(emulators / "qemu-aarch64-static"), "OF")
    # What is registered at the moment between the old entry and the new one.
    registry.sh(f"echo -1 > {REGISTRY}/qemu-aarch64")
    name = SWAP_PREFIX + ARM64.name
    registry.register(Registration(name, swap.interpreter, "OF", swap.magic, swap.mask))
    assert registry.tool("check", "arm64").returncode == 0
    registry.json("install", "arm64", *HERE, "--qemu", str(emulators))
    assert set(registry.entries()) == {"qemu-aarch64"}


def test_terminated_midway_it_takes_back_what_it_did(registry: Sandbox, emulators: Path) -> None:
    """An emulator that never ends holds its trial open until SIGTERM comes."""
    registry.json("install", "arm64", *HERE)
    before = registry.entries()
    source = emulators / "forever.c"
    source.write_text("int main(void) { for (;;) __builtin_ia32_pause(); }\n")
    # Under this name nobody asks it for its version.
    image = emulators / "aarch64-binfmt-P"
    subprocess.run(["gcc", "-static", "-o", image, source], check=True)
    argv = [*registry.inside, sys.executable, "-m", "binfmt_setup", "install", "arm64", *HERE]
    with subprocess.Popen(
        [*argv, "--qemu", str(emulators)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as install:
        while identity(image) not in running_programs():
            assert install.poll() is None
        install.send_signal(signal.SIGTERM)
        assert install.wait(120) == 128 + signal.SIGTERM
    assert registry.entries() == before
    # Nothing that was started for the proof runs on.
    assert identity(image) not in running_programs()


def test_uninstall_names_programs_that_still_run_under_emulation(registry: Sandbox) -> None:
    registry.json("install", "arm64", *HERE)
    with subprocess.Popen(
        [*registry.inside, str(PROBES / "aarch64")], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        assert program.stdout.readline().startswith("binfmt-probe target=aarch64")
        refused = registry.tool("uninstall", "--private")
        assert refused.returncode == 4
        assert re.search(rf"\b{program.pid}\b", refused.stderr)
        assert "qemu-aarch64" in registry.entries()
        assert registry.tool("uninstall", "--private", "--force").returncode == 0
        program.communicate("x")
    assert registry.entries() == {}


def test_two_installs_at_once_wait_for_each_other(registry: Sandbox) -> None:
    argv = [*registry.inside, sys.executable, "-m", "binfmt_setup", "install", "arm64", *HERE]
    running = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, said
    assert sum("; changed" in out for out, _ in said) == 1
    assert set(registry.entries()) == {"qemu-aarch64"}


def test_a_read_only_registry(registry: Sandbox) -> None:
    registry.sh(f"mount -o remount,ro,bind {REGISTRY}")
    # As in a container the tool may not mount over it either.
    done = registry.tool("install", "arm64", "--no-persist", "--private")
    assert done.returncode == 4, done.stdout
    assert "read-only" in done.stderr
    assert "Traceback" not in done.stderr


def test_globally_disabled_is_left_to_who_decided_it(registry: Sandbox) -> None:
    registry.json("install", "arm64", *HERE)
    registry.sh(f"echo 0 > {REGISTRY}/status")
    checked = registry.json("check", "arm64", status=1)
    assert rows(checked, "findings")[0]["code"] == "globally-disabled"
    done = registry.tool("install", "arm64", *HERE)
    assert done.returncode == 4
    assert f"echo 1 > {REGISTRY}/status" in done.stderr
    assert registry.sh(f"cat {REGISTRY}/status").stdout == "disabled\n"


def test_writing_needs_private_here_and_files_belong_to_the_host(sandbox: Sandbox) -> None:
    refused = sandbox.tool("install", "arm64")
    assert refused.returncode == 4
    assert "--private" in refused.stderr
    persist = sandbox.json("install", "arm64", "--private", status=4)
    assert [row["code"] for row in rows(persist, "errors")] == ["private-namespace"]
    assert not Path("/etc/binfmt.d/qemu-aarch64.conf").exists()
    sandbox.json("install", "arm64", *HERE)
    foreseen = sandbox.json("install", "arm64", "--private", "--check", status=4)
    assert (foreseen["changed"], foreseen["actions"]) == (False, [])
    assert sandbox.json("install", "arm64", "--private", status=4)["changed"] is False
    assert sandbox.json("install", "arm64", *HERE, "--check")["changed"] is False


def test_another_tools_handler_that_works_is_left_alone(registry: Sandbox, qemu: Path) -> None:
    """Rosetta, for one, registers under a name of its own."""
    theirs = Registration(
        "rosetta", str(qemu / "qemu-aarch64-static"), "OCF", ARM64.magic, ARM64.mask
    )
    registry.register(theirs)
    data = registry.json("install", "arm64", *HERE)
    assert data["changed"] is False
    assert set(registry.entries()) == {"rosetta"}
    assert "credentials-flag" in codes(data)


def test_a_handler_in_front_that_does_not_work_is_overtaken(registry: Sandbox) -> None:
    registry.json("install", "arm64", *HERE)
    bad = Registration("broken", "/bin/false", "", ARM64.magic, ARM64.mask)
    registry.register(bad)
    checked = registry.json("check", "arm64", status=1)
    assert codes(checked) == ["entry-shadowed"]
    registry.json("install", "arm64", *HERE)
    assert list(registry.entries()) == ["qemu-aarch64", "broken"]


def test_the_planned_registration_is_what_the_kernel_reads_back(registry: Sandbox) -> None:
    """With P only where kernel and QEMU agree on it: the probe sees its argv[0]."""
    from binfmt_setup.inspect.snapshot import snapshot, with_versions
    from binfmt_setup.system.host import Host

    platform = parse_platform("arm64")
    facts = snapshot(Host(), [platform])
    path = facts.emulators.candidates["aarch64"][0]
    facts = with_versions(Host(), facts, [path])
    found = facts.emulators.file_at(path)
    assert found is not None
    wished = wished_registration(facts, ARM64, found, Request())
    registry.json("install", "arm64", *HERE)
    assert registry.entries()["qemu-aarch64"].registration == wished
    assert "P" in wished.flags


def test_variants_with_one_problem_are_one_line(registry: Sandbox) -> None:
    text = registry.tool("check", "arm/v5", "arm/v6", "arm/v7").stdout
    assert "✗ linux/arm/v5, v6, v7  does not run" in text
    assert "✗ linux/arm/v5, v6, v7: no entry for its programs" in " ".join(text.split())
    annotations = registry.tool("check", "arm/v5,arm/v6,arm/v7", "--format", "github").stdout
    assert annotations.count("::error ") == 1
    assert "install --private --no-persist linux/arm/v5 linux/arm/v6 linux/arm/v7" in annotations


def test_the_name_that_status_shows_uninstalls(registry: Sandbox) -> None:
    assert registry.tool("install", "arm/v7", "arm64", *HERE).returncode == 0
    assert registry.tool("uninstall", "qemu-arm", "--private").stdout == (
        "✓ remove entry qemu-arm\nremoved 1 item\n"
    )
    assert set(registry.entries()) == {"qemu-aarch64"}
