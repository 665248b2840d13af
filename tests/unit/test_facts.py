"""The pure parsers: mounts, namespaces, binfmt.d files, systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.inspect.process import standing
from binfmt_setup.model.binfmt_d import MARKER, effective_configs, parse_config
from binfmt_setup.model.boot_facts import BootFacts
from binfmt_setup.model.facts import (
    KernelFacts,
    container_kind,
    is_initial_namespace,
    maps_outer_root,
    parse_os_release,
    version_pair,
)
from binfmt_setup.model.mountinfo import BinfmtMount, binfmt_mount, parse_mountinfo
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import parse_platform, target_named
from binfmt_setup.system.host import Host

if TYPE_CHECKING:
    from pathlib import Path

ROOT = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
PROC = "24 22 0:22 / /proc rw,nosuid shared:12 - proc proc rw\n"
AUTOFS = "30 24 0:29 / /proc/sys/fs/binfmt_misc rw shared:15 - autofs systemd-1 rw,fd=30\n"
REAL_ON_AUTOFS = "90 30 0:45 / /proc/sys/fs/binfmt_misc rw,nosuid shared:2 - binfmt_misc b rw\n"
REAL = "90 24 0:45 / /proc/sys/fs/binfmt_misc rw,nosuid - binfmt_misc binfmt_misc rw\n"
READ_ONLY = BinfmtMount("mounted", read_only=True)
SYS_RO_BIND = "95 24 0:22 /sys /proc/sys ro,nosuid - proc proc rw\n"


@pytest.mark.parametrize(
    ("mountinfo", "mount"),
    [
        (ROOT + PROC, BinfmtMount("absent")),
        (ROOT + PROC + AUTOFS, BinfmtMount("automount")),
        (ROOT + PROC + AUTOFS + REAL_ON_AUTOFS, BinfmtMount("mounted")),
        (ROOT + PROC + REAL, BinfmtMount("mounted")),
        (ROOT + PROC + REAL.replace("rw,nosuid", "ro,nosuid"), READ_ONLY),
        (ROOT + PROC + REAL.removesuffix("rw\n") + "ro\n", READ_ONLY),
        # A container's read-only /proc/sys is mounted over the host's registry.
        (ROOT + PROC + REAL + SYS_RO_BIND, BinfmtMount("absent", read_only=True)),
        # … unless the registry was mounted there afterwards.
        (ROOT + PROC + SYS_RO_BIND + REAL.replace("90 24", "97 95"), BinfmtMount("mounted")),
        ("", BinfmtMount("absent")),
        ("garbage\n1 2 3\n- - -\n", BinfmtMount("absent")),
    ],
)  # fmt: skip
def test_the_mount_is_told_from_the_automount(mountinfo: str, mount: BinfmtMount) -> None:
    assert binfmt_mount(parse_mountinfo(mountinfo)) == mount


def test_mount_points_are_unescaped() -> None:
    (mount,) = parse_mountinfo("1 0 0:1 / /a\\040b rw - tmpfs none rw\n")
    assert mount.point == "/a b"


def test_user_namespaces() -> None:
    host = "         0          0 4294967295\n"
    assert is_initial_namespace(host)
    assert is_initial_namespace("")
    assert not is_initial_namespace("0 1000 1\n")
    assert not is_initial_namespace("0 100000 65536\n")
    assert maps_outer_root(host)
    assert maps_outer_root("0 0 1\n")
    assert not maps_outer_root("0 1000 1\n1 100000 65536\n")


def test_binfmt_d_files() -> None:
    text = f"{MARKER}\n# Stood here before: :a:M::x::/old:\n\n; note\n:a:M::x::/new:F\r\nbad line\n"
    config = parse_config("/etc/binfmt.d/a.conf", text)
    assert config.owned
    assert config.registrations == (Registration("a", "/new", "F", b"x"),)
    assert config.replaced == Registration("a", "/old", "", b"x")
    assert [number for number, _ in config.problems] == [6]
    assert not parse_config("/etc/binfmt.d/a.conf", "# " + text).owned


def test_a_file_in_etc_masks_that_of_the_package() -> None:
    package = parse_config("/usr/lib/binfmt.d/a.conf", ":a:M::x::/usr/bin/a:\n")
    other = parse_config("/usr/lib/binfmt.d/b.conf", ":b:M::y::/usr/bin/b:\n")
    masked = parse_config("/etc/binfmt.d/a.conf", "")
    assert effective_configs((masked, package, other)) == (masked, other)
    facts = BootFacts("none", configs=(masked, package, other))
    assert facts.config_of("a") is None
    assert facts.config_of("b") == other


def test_the_handler_is_the_first_enabled_match() -> None:
    arm64 = target_named("aarch64")
    older = Entry(Registration("old", "/o", "F", arm64.magic, arm64.mask), enabled=True)
    newer = Entry(Registration("new", "/n", "F", arm64.magic, arm64.mask), enabled=True)
    off = Entry(Registration("off", "/x", "F", arm64.magic, arm64.mask), enabled=False)
    facts = RegistryFacts(entries=(off, newer, older))
    assert facts.handler(arm64.magic) == newer
    assert facts.handler(target_named("s390x").magic) is None


def test_x86_levels_need_what_all_lower_ones_need() -> None:
    v2 = frozenset(("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"))
    facts = KernelFacts(machine="x86_64", cpu_flags=v2)
    assert facts.cpu_lacks(parse_platform("amd64/v2")) == ()
    assert "avx2" in facts.cpu_lacks(parse_platform("amd64/v3"))
    assert "popcnt" in KernelFacts().cpu_lacks(parse_platform("amd64/v4"))
    assert facts.cpu_lacks(parse_platform("amd64")) == ()


def test_versions() -> None:
    assert version_pair("6.18.44-fc") == (6, 18)
    assert version_pair("7.2.22 (Debian 1:7.2)") == (7, 2)
    assert version_pair("") == (0, 0)


def test_os_release() -> None:
    text = 'ID=ubuntu\nID_LIKE="debian other"\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 LTS"\n'
    found = parse_os_release(text)
    assert (found.id, found.like, found.version, found.name) == (
        "ubuntu", ("debian", "other"), "24.04", "Ubuntu 24.04 LTS",
    )  # fmt: skip


def test_containers() -> None:
    assert container_kind("HOME=/\0container=lxc\0", frozenset()) == "lxc"
    assert container_kind("", frozenset(("/.dockerenv",))) == "docker"
    assert container_kind("", frozenset(("/run/.containerenv",))) == "podman"
    assert container_kind("", frozenset()) == ""


@pytest.mark.parametrize(("shows_files", "support"), [(True, "absent"), (False, "unknown")])
def test_which_modules_its_host_has_a_container_does_not_see(
    tmp_path: Path, support: str, *, shows_files: bool
) -> None:
    for name, text in (("filesystems", "nodev\tproc\n"), ("sys/kernel/osrelease", "6.1.0\n")):
        (tmp_path / "proc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc" / name).write_text(text)
    facts = standing(Host(tmp_path, shows_files=shows_files))
    assert facts.kernel.support == support
