"""Which file systems the boot waits for, and how their units are called."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binfmt_setup.model.mount_order import late_mount, mount_point_of, parse_fstab, unit_escape

FSTAB = r"""
# a comment
UUID=1 /            ext4 errors=remount-ro 0 1
UUID=2 none         swap sw
UUID=3 /opt         ext4 nofail 0 2
UUID=4 /srv         ext4 defaults 0 2
UUID=5 /srv/later   ext4 noauto
host:/x /net        nfs  defaults
UUID=6 /with\040space/ xfs x-systemd.automount
UUID=7 /usr         ext4 ro
garbage
"""


def test_fstab() -> None:
    lines = {line.point: line for line in parse_fstab(FSTAB)}
    assert set(lines) == {"/", "/opt", "/srv", "/srv/later", "/net", "/with space", "/usr"}
    awaited = {point for point, line in lines.items() if line.awaited}
    assert awaited == {"/", "/srv", "/usr"}
    assert [point for point, line in lines.items() if not line.automatic] == ["/srv/later"]


@pytest.mark.parametrize(
    ("path", "mount"),
    [
        ("/usr/bin/qemu", ""),
        ("/opt/qemu/qemu", "/opt"),
        ("/optional/qemu", ""),
        ("/srv/qemu", ""),
        ("/srv/later/qemu", "/srv/later"),
        ("/net/qemu", "/net"),
        ("/with space/qemu", "/with space"),
        ("/media/stick/qemu", "/media/stick"),
    ],
)
def test_late_mounts(path: str, mount: str) -> None:
    mounted = ("/", "/usr", "/proc", "/srv", "/media/stick")
    assert late_mount(path, parse_fstab(FSTAB), mounted) == mount


def test_a_host_with_one_file_system_waits_for_nothing() -> None:
    assert late_mount("/opt/qemu", (), ("/", "/proc", "/sys", "/dev")) == ""
    assert mount_point_of("/opt/qemu", ()) == "/"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_escaped_names_hold_no_other_letters(text: str) -> None:
    assert not set(unit_escape("/" + text)) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.-\\"
    )


@pytest.mark.parametrize("path", ["/", "/opt", "/opt//my qemu/", "/.hidden/a-b", "/ä/x.y", "/a\\b"])
def test_names_are_those_that_systemd_gives(path: str) -> None:
    if shutil.which("systemd-escape") is None:
        pytest.skip("systemd-escape is not installed")
    done = subprocess.run(
        ["systemd-escape", "--path", path], capture_output=True, text=True, check=True
    )
    assert unit_escape(path) == done.stdout.strip()
