"""The container image as a runtime starts it: also where tonistiigi/binfmt's fails."""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import image_tree
from tests.emulator_sources import version_of
from tests.image_host import REGISTRY, ImageHost, image_host
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(
    bool(image_tree.why_not()) or os.geteuid() != 0,
    reason=image_tree.why_not() or "all users are mapped by root alone",
)
QEMU = Path("/usr/bin/qemu-aarch64-static")
BOUND = f"{REGISTRY}:/run/binfmt_misc"
# An entry of the same name as it is left behind by a QEMU package that is gone: without F.
BROKEN = (
    r":qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/gone/qemu:"
)
THEIRS = ":qemu-theirs:E::theirs::/bin/true:"


@pytest.fixture
def bare() -> Iterator[ImageHost]:
    """A host that has not mounted its registry."""
    with image_host(image_tree.image_tree()) as made:
        yield made


@pytest.fixture
def host(bare: ImageHost) -> ImageHost:
    """A host with its registry."""
    bare.mount()
    return bare


def works(answer: str) -> list[str]:
    """The platforms that are told to work, but for the machine's own."""
    state = json.loads(answer)
    assert list(state) == ["supported", "emulators"]
    return [p for p in state["supported"] if not p.startswith(("linux/amd64", "linux/386"))]


def test_the_line_of_tonistiigi_installs_what_its_image_has(host: ImageHost) -> None:
    before = host.container()
    assert (before.returncode, works(before.stdout), before.stderr) == (0, [], "")
    done = host.container("--install", "all")
    assert done.stderr == "installing: arm64 OK\ninstalling: riscv64 OK\n"
    assert works(done.stdout) == ["linux/arm64", "linux/riscv64"]
    assert json.loads(done.stdout)["emulators"] == ["qemu-aarch64", "qemu-riscv64"]
    assert sorted(host.entries()) == ["qemu-aarch64", "qemu-riscv64"]
    assert "flags: POF\n" in host.entries()["qemu-aarch64"]
    version = host.container("-version").stderr
    assert version.startswith("binfmt/binfmt-setup-")
    assert f" qemu/v{version_of(QEMU)} " in f"{version} "


def test_least_privileges_and_a_registry_that_is_bound_elsewhere(host: ImageHost) -> None:
    host.register(BROKEN)
    host.register(THEIRS)
    done = host.container("--install=arm64", least=True, binds=BOUND)
    assert done.stderr == "installing: arm64 OK\n"
    assert works(done.stdout) == ["linux/arm64"]
    assert "/gone/qemu" not in host.entries()["qemu-aarch64"]
    # Another container has the image through another overlay, and finds nothing to do.
    again = host.container("install", "arm64", "--format=json", least=True, binds=BOUND)
    answer = json.loads(again.stdout)
    assert_fits(answer)
    assert (again.returncode, answer["changed"], answer["actions"]) == (0, False, [])
    # Its own files are not those that the host's next boot reads: nothing is said of that.
    assert [platform["persistent"] for platform in answer["platforms"]] == [None]
    assert answer["findings"] == []
    privileged = host.container("install", "arm64", "--format=json")
    assert json.loads(privileged.stdout)["changed"] is False
    named = ("--registry", "/run/binfmt_misc")
    seen = host.container(*named, "check", "arm64", "--strict", least=True, binds=BOUND)
    assert seen.returncode == 0
    assert (
        "reboot    not known, as this container does not see the files of its host" in seen.stdout
    )
    assert "  unknown  " in host.container(*named, "status", least=True, binds=BOUND).stdout
    # So it is with an entry of the host's distribution, whose program is not in the image.
    line = BROKEN.replace("aarch64", "riscv64").replace(r"\xb7", r"\xf3")
    host.register(line.replace(":/gone/qemu:", ":/usr/bin/qemu-riscv64-static:POF"))
    theirs = host.container(*named, "check", "riscv64", "--strict", least=True, binds=BOUND)
    assert theirs.returncode == 0, theirs.stdout
    host.run("sh", "-c", f"echo -1 >{REGISTRY}/qemu-riscv64")
    wrong = host.container("--registry=/run", "check", "arm64", least=True, binds=BOUND)
    assert wrong.returncode == 4
    assert "rslave" in wrong.stderr
    gone = host.container("--uninstall", "qemu-*", least=True, binds=BOUND)
    assert gone.returncode == 0
    assert gone.stderr.splitlines()[0] == "uninstalling: qemu-aarch64 OK"
    assert gone.stderr.splitlines()[1].startswith("uninstalling: qemu-theirs left alone: ")
    assert host.container("--uninstall", "qemu-theirs", least=True, binds=BOUND).returncode == 1
    assert list(host.entries()) == ["qemu-theirs"]


def test_an_automount_that_nobody_has_touched_is_triggered() -> None:
    with image_host(image_tree.image_tree(), automount=True) as host:
        # It is not what a container's own /proc has.
        refused = host.container("--install", "arm64")
        assert refused.returncode == 4
        assert "in this container alone" in refused.stderr
        done = host.container("--install", "arm64", least=True, binds=BOUND)
        assert (done.returncode, done.stderr) == (0, "installing: arm64 OK\n")
        assert list(host.entries()) == ["qemu-aarch64"]
        assert works(host.container().stdout) == ["linux/arm64"]


@pytest.mark.parametrize(
    "line", ["--install arm64", "-install=arm64", "--uninstall qemu-* --install=arm64"]
)
def test_what_would_go_with_its_container_is_refused(bare: ImageHost, line: str) -> None:
    done = bare.container(*line.split())
    assert done.returncode == 4
    last = done.stderr.splitlines()[-1]
    assert last.startswith("installing: arm64 binfmt_misc is mounted in this container alone")
    assert works(done.stdout) == []
    powerless = bare.container(*line.split(), least=True)
    assert powerless.returncode == 4
    assert "binfmt_misc" in powerless.stderr


def test_a_container_that_stays_holds_the_only_mount(bare: ImageHost) -> None:
    probe = str(image_tree.TOP / "binfmt_setup/data/probes/aarch64")

    def runs() -> bool:
        return "target=aarch64" in bare.run("sh", "-c", '"$0" one', probe).stdout

    with bare.started("install", "all", "--hold", privileges="") as held:
        assert held.stdout is not None
        assert any(line.startswith("works: ") for line in held.stdout)
        assert runs()
        bare.end("--hold")
        assert held.wait(20) == 0
    assert not runs()


# A host's root as it is without systemd, and a registry where that root has it.
ROOT = """
cd "$0" && mkdir -p etc usr/local/lib proc run var/tmp && mount --bind . . && cd "$0"
mount -t proc proc proc && mount -t tmpfs run run
mount -t binfmt_misc none proc/sys/fs/binfmt_misc
"""


def test_a_host_without_systemd_is_told_what_will_not_last(host: ImageHost, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir(mode=0o755)
    made = host.run("sh", "-ec", ROOT, str(tmp_path / "root"))
    assert made.returncode == 0, made.stderr
    done = host.persisting(tmp_path / "root", "install", "arm64", "--format=json")
    answer = json.loads(done.stdout)
    assert (done.returncode, [f["code"] for f in answer["findings"]]) == (0, ["not-persistent"])
    assert host.entries()["qemu-aarch64"].count("/usr/local/lib/binfmt-setup/qemu/") == 1
    found = {str(p.relative_to(tmp_path / "root")) for p in tmp_path.rglob("*") if p.is_file()}
    assert "etc/binfmt.d/qemu-aarch64.conf" in found
    gone = host.persisting(tmp_path / "root", "--uninstall", "qemu-*")
    assert gone.stderr == "uninstalling: qemu-aarch64 OK\n"
    # Where nothing is mounted nothing is registered; the files go all the same.
    assert host.persisting(tmp_path / "root", "install", "arm64").returncode == 0
    host.run("umount", str(tmp_path / "root" / REGISTRY.lstrip("/")))
    gone = host.persisting(tmp_path / "root", "uninstall", "arm64")
    assert gone.returncode == 0, gone.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_last_line_is_a_reason_where_something_failed(host: ImageHost) -> None:
    """It is what docker/setup-qemu-action shows."""
    host.register(THEIRS)
    done = host.container("--install", "nonsense,arm64,sparkle")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["installing: arm64 OK"] + [
        f"installing: {name} unsupported architecture: {name}" for name in ("nonsense", "sparkle")
    ]
    # In the order of Go's program, whatever stands first: what was there goes, and is made anew.
    done = host.container("--install=arm64", "--uninstall", "qemu-theirs,qemu-aarch64")
    assert done.returncode == 1
    first, second, third = done.stderr.splitlines()
    assert first == "uninstalling: qemu-aarch64 OK"
    assert second.startswith("uninstalling: qemu-theirs left alone: ")
    assert third == "installing: arm64 OK"
    # Elsewhere than where it usually is; where it cannot be, that place is named.
    assert works(host.container("--mount", "/tmp").stdout) == ["linux/arm64"]
    done = host.container("--mount", "/nowhere", "--install", "arm64")
    assert (done.returncode, "binfmt_misc on /nowhere: " in done.stderr) == (4, True)


def test_nothing_to_remove_is_not_said_of_a_registry_that_is_not_seen(host: ImageHost) -> None:
    assert host.container("install", "arm64").returncode == 0
    for line in (("--uninstall", "qemu-*"), ("uninstall", "arm64")):
        done = host.container(*line, least=True)
        assert (done.returncode, done.stdout) == (4, "")
        assert "not known what is registered" in done.stderr
    assert list(host.entries()) == ["qemu-aarch64"]


def test_lines_that_cannot_be_meant(bare: ImageHost) -> None:
    for words in (("--instal", "all"), ("instal", "arm64"), ("--install",)):
        assert bare.container(*words).returncode == 2, words
    assert "no root of a host" in bare.container("--persist-to", "/sys", "install").stderr
    # Its own process numbers are not those of the host's /proc.
    host = bare.container("--persist-to", "/host", "install", binds="/:/host")
    assert host.returncode == 4
    assert "--pid=host" in host.stderr
    assert bare.container("--version", QEMU_BINARY_PREFIX="x-").returncode == 0
    assert bare.container("--install", "all", QEMU_BINARY_PREFIX="x-").returncode == 2


def test_every_container_of_its_page_does_what_it_says(host: ImageHost) -> None:
    page = (image_tree.TOP / "docs/image.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ docker run (.+)$", page, re.MULTILINE)
    parser = argparse.ArgumentParser()
    for name in ("--rm", "--privileged", "--read-only"):
        parser.add_argument(name, action="store_true")
    for name in ("--pid", "--cap-drop", "--cap-add", "--security-opt", "-v"):
        parser.add_argument(name, default="")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    assert len(lines) == 7
    for line in lines:
        given = parser.parse_args(line.split())
        image, *words = given.words
        assert image == "IMAGE"
        # What a host's root is bound for is tried on a machine that boots (tests/boot).
        if given.pid == "host":
            assert words == ["--persist-to", "/host", "install", "arm64"]
            continue
        assert given.privileged or (given.cap_drop, given.cap_add) == ("ALL", "SYS_CHROOT")
        binds = given.v.removesuffix(":rw,rslave")
        done = host.container(*words, least=not given.privileged, binds=binds)
        assert done.returncode == 0, line + done.stdout + done.stderr
