"""What goes wrong on real hosts: full disks, files that vanish, probes that cannot be isolated."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

NATIVE = {"x86_64": "x86_64", "aarch64": "aarch64"}.get(os.uname().machine, "x86_64")
REGISTRY = "/proc/sys/fs/binfmt_misc"
REMOUNT = "--options-mode ignore -o remount"
"""Without the options that are there: an owner among them has no number in this namespace."""


def make_full_tree(sandbox: Sandbox, root: Path) -> None:
    """A system of 64 KiB on a file system of its own, filled to the last byte."""
    root.mkdir()
    made = sandbox.sh(
        f"mount -t tmpfs -o size=64k,mode=755 none {root} && cd {root} && "
        "mkdir -p bin usr/bin etc/systemd/system usr/lib/systemd && "
        f"for f in bin/sh usr/bin/qemu-s390x-static usr/lib/systemd/systemd "
        f"usr/lib/systemd/systemd-binfmt; do cp {PROBES / NATIVE} $f; done && "
        "cat /dev/zero > fill 2>/dev/null; find . | sort"
    )
    assert "./fill" in made.stdout, made.stderr


def test_a_full_disk_leaves_nothing_half_written(sandbox: Sandbox, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_full_tree(sandbox, root)
    before = sandbox.sh(f"cd {root} && find . -type f | sort").stdout
    done = sandbox.tool("install", "s390x", "--root", str(root), "--format", "json")
    assert done.returncode == 4, done.stdout
    assert {row["code"] for row in json.loads(done.stdout)["errors"]} == {"no-space"}
    assert sandbox.sh(f"cd {root} && find . -type f | sort").stdout == before


def test_a_read_only_tree(sandbox: Sandbox, tmp_path: Path) -> None:
    root = tmp_path / "root"
    make_full_tree(sandbox, root)
    sandbox.sh(f"rm {root}/fill && mount {REMOUNT},ro {root}")
    done = sandbox.tool("install", "s390x", "--root", str(root), "--format", "json")
    assert done.returncode == 4
    assert {row["code"] for row in json.loads(done.stdout)["errors"]} == {"read-only"}
    assert "Traceback" not in done.stderr


def test_a_program_in_place_of_its_directory(sandbox: Sandbox) -> None:
    kept = ("--qemu-store", "/run/store")
    for words in (("install", "--check", "--private", *kept), ("check", "--deep")):
        done = sandbox.tool(*words, "s390x", "--qemu", str(PROBES / NATIVE))
        assert done.returncode == 2, done.stdout + done.stderr
        assert f"--qemu {PROBES}\n" in done.stderr


VANISHING = """
import sys
from binfmt_setup.changes.transaction import Transaction
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.system.host import Host
from binfmt_setup.changes.steps import ChangeEntry, Plan, TargetChange
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named

def change(name, interpreter):
    target = target_named(name)
    after = Registration(target.entry_name, interpreter, "OF", target.magic, target.mask)
    return TargetChange(target, target.platforms, ChangeEntry(target.entry_name, None, after))

plan = Plan((change("aarch64", "/gone/qemu-aarch64"), change("riscv64", sys.argv[1])))
done = Transaction(Host(), plan, snapshot(Host()))
done.carry_out()
print([(o.result, int(o.error.exit_code) if o.error else 0) for o in done.outcomes])
"""


def test_an_interpreter_that_vanishes_midway_stops_its_target_alone(
    registry: Sandbox, emulators: Path
) -> None:
    done = registry.run(sys.executable, "-c", VANISHING, str(emulators / "qemu-riscv64-static"))
    assert done.stdout == "[('failed', 5), ('done', 0)]\n", done.stderr
    assert set(registry.entries()) == {"qemu-riscv64"}


def test_a_noexec_mount_is_named(registry: Sandbox, emulators: Path) -> None:
    registry.sh(f"mount -t tmpfs -o mode=755 none {emulators}")
    registry.sh(f"cp /usr/bin/qemu-aarch64-static {emulators}")
    registry.sh(f"mount {REMOUNT},noexec {emulators}")
    done = registry.tool("install", "arm64", "--private", "--no-persist", "--qemu", str(emulators))
    assert done.returncode == 4
    assert "noexec" in done.stdout
    assert registry.entries() == {}


def test_probes_that_cannot_be_isolated_are_no_answer(sandbox: Sandbox) -> None:
    """Neither root's chroot nor a user namespace: nothing is proven, and so the answer is no."""
    done = sandbox.sh(
        "echo 0 > /proc/sys/user/max_user_namespaces && "
        f"exec setpriv --bounding-set=-all --inh-caps=-all {sys.executable} "
        "-m binfmt_setup check arm64"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "user namespaces" in done.stdout


def test_a_probe_that_never_ends_is_killed_in_time(tmp_path: Path) -> None:
    """run_probes on programs of our own: one waits, one dies, one is no program."""
    import shutil
    import subprocess

    from binfmt_setup.system.probes import run_probes

    source = tmp_path / "wait.c"
    source.write_text("int pause(void); int main(void) { for (;;) pause(); }\n")
    subprocess.run(["gcc", "-static", "-o", tmp_path / "wait", source], check=True)
    source.write_text("int main(void) { __builtin_trap(); }\n")
    subprocess.run(["gcc", "-static", "-o", tmp_path / "trap", source], check=True)
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o755)
    shutil.copy(PROBES / NATIVE, tmp_path)
    # Enough for a busy machine to run the other three in.
    found = run_probes(["wait", "trap", "text", NATIVE], root=tmp_path, seconds=5)
    assert found["wait"].timed_out
    assert "SIG" in found["trap"].why()
    assert found["text"].why() == "execve: ENOEXEC"
    assert found[NATIVE].ok
    assert found[NATIVE].native
    assert not list(tmp_path.glob("core*"))


def test_a_source_that_lacks_a_platform_asked_for_by_name(
    registry: Sandbox, emulators: Path
) -> None:
    """Another emulator that works is no answer to it, but stays."""
    here = ("--private", "--no-persist")
    assert registry.tool("install", "s390x", *here).returncode == 0
    before = registry.entries()["qemu-s390x"]
    for name in emulators.glob("*s390x*"):
        name.unlink()
    done = registry.tool("install", "arm64", "s390x", *here, "--qemu", str(emulators))
    assert done.returncode == 5, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert f"no usable emulator for s390x in {emulators} → name a source that has one" in said
    assert registry.entries()["qemu-s390x"] == before
    assert registry.entries()["qemu-aarch64"].interpreter.startswith(f"{emulators}/")


LINES = (
    "check arm64", "install arm64 --private --no-persist", "uninstall --private", "status",
    "explain /bin/sh", "unit arm64", "run -- true", "check --security",
)  # fmt: skip


def test_without_proc_nothing_can_be_known(sandbox: Sandbox) -> None:
    sandbox.sh("mount -t tmpfs none /proc")
    for line in LINES:
        done = sandbox.tool(*line.split())
        assert done.returncode == 4, done.stderr
        assert "mount -t proc proc /proc" in " ".join((done.stdout + done.stderr).split())
        assert "Traceback" not in done.stderr
