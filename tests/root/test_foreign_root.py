"""A Debian arm64 root file system: its own programs run in a chroot, through F alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGISTRY = "/proc/sys/fs/binfmt_misc"


def _source() -> str:
    """This machine's own main archive as one line of apt.

    Further suites may be in the middle of a mirror's update, and nothing here needs them.
    """
    rows = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)",
         "Created-By: Packages"], capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split()  # fmt: skip
    for row in rows:
        _, uri, release, component = row.split("|")
        if component == "main" and "-" not in release and "security" not in uri:
            return f"deb {uri} {release} main"
    pytest.skip("this machine's apt knows no Debian archive")


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small arm64 Debian: extracted, not configured, so that nothing has run of it yet."""
    if shutil.which("mmdebstrap") is None:
        pytest.skip("mmdebstrap is not installed")
    root = tmp_path_factory.mktemp("arm64") / "root"
    source = _source()
    subprocess.run(
        ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64",
         "--include=busybox-static,dash,coreutils,dpkg,tar,libc6", source.split()[2], root, source],
        check=True, timeout=300,
    )  # fmt: skip
    yield root
    shutil.rmtree(root)


def in_namespace(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script where this registry's own instance is mounted and the tool is at hand."""
    tool = f'binfmt_setup() {{ {sys.executable} -m binfmt_setup "$@"; }}\n'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", tool + script],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_nothing_of_it_runs_before(arm64: Path) -> None:
    done = in_namespace(f"mount -t binfmt_misc none {REGISTRY}; chroot {arm64} /bin/dash -c true")
    assert done.returncode == 126, done.stderr


def test_dynamic_and_static_programs_run_after_install(arm64: Path) -> None:
    done = in_namespace(
        "binfmt_setup install arm64 --private --no-persist >&2 || exit 99\n"
        f"chroot {arm64} /bin/busybox uname -m\n"
        f"chroot {arm64} /usr/bin/dpkg --print-architecture\n"
        f"chroot {arm64} /bin/dash -c '/bin/uname -m; echo $0 \"$@\"' first second third\n"
        f"chroot {arm64} /usr/bin/env -i /bin/ls -d /etc\n"
    )
    assert done.stdout.splitlines() == [
        "aarch64", "arm64", "aarch64", "first second third", "/etc"
    ], done.stderr  # fmt: skip


def test_arch_test_agrees_in_the_chroot(arm64: Path) -> None:
    if shutil.which("arch-test") is None:
        pytest.skip("arch-test is not installed")
    done = in_namespace(
        "binfmt_setup install arm64 --private --no-persist >&2\n"
        f"arch-test -c {arm64} arm64 && ! arch-test -c {arm64} riscv64\n"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arm64: ok" in done.stdout


def test_without_f_the_chroot_finds_no_interpreter_and_install_repairs_it(arm64: Path) -> None:
    done = in_namespace(
        f"mount -t binfmt_misc none {REGISTRY}\n"
        "sed 's/:[POCF]*$/:/; s/-binfmt-P:/-static:/; s|libexec/qemu-binfmt/|bin/qemu-|' "
        f"/usr/lib/binfmt.d/qemu-aarch64.conf > {REGISTRY}/register\n"
        f"chroot {arm64} /bin/busybox true; echo $?\n"
        "binfmt_setup check arm64 >&2; echo $?\n"
        "binfmt_setup install arm64 --private --no-persist >&2; echo $?\n"
        f"chroot {arm64} /bin/busybox true; echo $?\n"
    )
    assert done.stdout.split() == ["127", "1", "0", "0"], done.stderr
    assert "no F flag" in done.stderr
