"""`--install-qemu` with the real apt, in a namespace where nothing is installed yet.

apt's and dpkg's databases are empty ones in memory, this machine's emulators are covered, and
a repository of two packages is all that apt knows; the packages bring their emulators to
/usr/local/bin, which lies in memory as well. The registry is the namespace's own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_FRESH = r"""
set -e
for place in /var/lib/dpkg /var/lib/apt /var/cache/apt /etc/apt /usr/local/bin /run; do
    mount -t tmpfs -o mode=755 none "$place"
done
for place in /usr/bin/qemu-*; do mount --bind /dev/null "$place"; done
test ! -d /usr/libexec/qemu-binfmt || mount -t tmpfs -o mode=755 none /usr/libexec/qemu-binfmt
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/apt/lists/partial
mkdir -p /var/cache/apt/archives/partial /etc/apt/apt.conf.d
touch /var/lib/dpkg/status
echo "deb [trusted=yes] file:$1 ./" > /etc/apt/sources.list
echo 'APT::Sandbox::User "root"; Dpkg::Options { "--force-bad-path"; };' > /etc/apt/apt.conf
exec /bin/sh -ec "$2" sh "$3"
"""


def release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A flat repository with this release's package of QEMU, holding two of its emulators."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        pytest.skip("needs root on a system with apt")
    folder = tmp_path_factory.mktemp("repository")
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    place = tree / "usr/local/bin"
    place.mkdir(parents=True)
    for target in ("aarch64", "riscv64"):
        found = shutil.which(f"qemu-{target}-static") or shutil.which(f"qemu-{target}")
        assert found, "no QEMU on this machine"
        shutil.copy(found, place)
    new = release().get("ID") == "debian" and int(release().get("VERSION_ID", "99")) >= 13
    extra = "qemu-user-binfmt" if new else "recommended-extra"
    arch = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    name = "qemu-user" if new else "qemu-user-static"
    fields = f"Version: 99\nArchitecture: {arch}\nMaintainer: t <t@example.org>\nDescription: t\n"
    _pack(tree, f"Package: {name}\n{fields}Recommends: recommended-extra\n", folder / "q.deb")
    for path in place.iterdir():
        path.unlink()
    _pack(tree, f"Package: {extra}\n{fields}", folder / "x.deb")
    if new:
        _pack(tree, f"Package: recommended-extra\n{fields}", folder / "y.deb")
    shutil.rmtree(tree)
    index = ""
    for deb in sorted(folder.glob("*.deb")):
        control = subprocess.check_output(["dpkg-deb", "--field", str(deb)], text=True)
        digest = subprocess.check_output(["sha256sum", str(deb)], text=True).split()[0]
        index += (
            f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n\n"
        )
    (folder / "Packages").write_text(index)
    return folder


def _pack(tree: Path, control: str, deb: Path) -> None:
    (tree / "DEBIAN/control").write_text(control)
    command = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree), str(deb)]
    subprocess.run(command, check=True, capture_output=True)


def inside(repository: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script where no package is installed; $1 is the Python of these tests."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "--propagation=private"]
    command += ["sh", "-c", _FRESH, "sh", str(repository), script, sys.executable]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )  # fmt: skip


TOOL = '"$1" -m binfmt_setup install arm64 --private --no-persist'


def test_apt_installs_what_is_missing_and_nothing_more(repository: Path) -> None:
    done = inside(
        repository,
        f"""
        {TOOL} && exit 99 || test $? = 5
        {TOOL} --install-qemu --check >&2
        ls -A /usr/local/bin >&2
        {TOOL} --install-qemu
        echo ---
        {TOOL} --install-qemu
        dpkg --list recommended-extra 2>/dev/null | grep -q ^ii && echo extras || echo none
        "$1" -m binfmt_setup uninstall --private
        """,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    first, _, second = done.stdout.partition("---")
    assert "install package apt-get update -q && apt-get install -y" in first
    assert "works: linux/arm64; changed" in first
    assert "works: linux/arm64; nothing changed" in second
    assert "none" in second
    # Without the flag: the exact command.
    assert "run: apt-get install -y -q --no-install-recommends" in first
    assert "installing QEMU: apt-get update -q && apt-get install" in done.stderr


def test_apt_that_fails_is_exit_code_6(repository: Path) -> None:
    done = inside(
        repository,
        f"""
        mount -t tmpfs -o mode=755,ro none /usr/local/bin
        {TOOL} --install-qemu && exit 99 || test $? = 6
        ls /proc/sys/fs/binfmt_misc
        """,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split()[-2:] == ["register", "status"]
    assert "failed with status 100" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_lost_file_is_brought_back_and_a_run_without_effect_changes_nothing(
    repository: Path,
) -> None:
    done = inside(
        repository,
        f"""
        {TOOL} --install-qemu >&2
        "$1" -m binfmt_setup uninstall --private >&2
        rm /usr/local/bin/qemu-aarch64*
        {TOOL} --install-qemu
        echo ---
        "$1" -m binfmt_setup install arm64 s390x --private --no-persist --install-qemu \
            --format json || true
        """,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lost, _, lacking = done.stdout.partition("---")
    assert "--reinstall qemu-user" in lost
    assert "works: linux/arm64; changed" in lost
    document = json.loads(lacking)
    assert document["changed"] is False
    assert [(row["kind"], row["result"]) for row in document["actions"]] == [
        ("install-package", "unchanged")
    ]
    (error,) = document["errors"]
    assert error["hint"].startswith("`apt-get update -q && apt-get install -y")
    assert "brought none: run it by hand" in error["hint"]
