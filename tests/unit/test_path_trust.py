"""Who could change a path: the judgement of one name, and of file systems that users mount."""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.culprit import Culprit, Fault
from binfmt_setup.system.path_trust import PathJudge, faults_of, unfit_mounts

if TYPE_CHECKING:
    from pathlib import Path

DIRECTORY = stat.S_IFDIR
MINE = 1000


def status(mode: int, uid: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, 0, 0, 0, 0, 0))


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Entries of tag, permissions and id, as the kernel packs them (posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NAMED_USER = acl((1, 7, 2**32 - 1), (2, 7, 4242), (4, 5, 2**32 - 1), (16, 7, 2**32 - 1))


@pytest.mark.parametrize(
    ("mode", "uid", "list_", "fault"),
    [
        (DIRECTORY | 0o755, 0, b"", None),
        (DIRECTORY | 0o755, MINE, b"", None),
        (DIRECTORY | 0o755, 4242, b"", Fault.OWNER),
        (DIRECTORY | 0o775, 0, b"", Fault.GROUP),
        (DIRECTORY | 0o1775, 0, b"", Fault.SHARED_GROUP),
        (DIRECTORY | 0o757, 0, b"", Fault.OTHERS),
        (DIRECTORY | 0o1777, 0, b"", Fault.SHARED),
        (stat.S_IFREG | 0o1777, 0, b"", Fault.OTHERS),
        (stat.S_IFREG | 0o4755, 0, b"", None),
        (stat.S_IFREG | 0o664, 0, b"", Fault.GROUP),
        (stat.S_IFLNK | 0o777, 0, b"", None),
        (stat.S_IFLNK | 0o777, 4242, b"", Fault.OWNER),
        (DIRECTORY | 0o775, 0, NAMED_USER, Fault.ACL),
        # A file system that keeps the list apart from the mode, as some in the network do.
        (DIRECTORY | 0o755, 0, NAMED_USER, Fault.ACL),
        (DIRECTORY | 0o755, 0, acl((2, 7, 4242), (16, 5, 0)), None),
        (DIRECTORY | 0o755, 0, acl((2, 7, MINE), (16, 7, 0)), None),
        (DIRECTORY | 0o755, 0, acl((8, 2, 4242), (16, 7, 0)), Fault.ACL),
        (DIRECTORY | 0o755, 0, acl((32, 2, 0)), Fault.ACL),
        (DIRECTORY | 0o755, 0, b"\2\0\0\0garbage", None),
        (DIRECTORY | 0o755, 0, b"\2", None),
    ],
)
def test_one_name(mode: int, uid: int, list_: bytes, fault: str | None) -> None:
    assert tuple(faults_of(status(mode, uid), list_, {0, MINE})) == tuple(filter(None, [fault]))


def test_one_name_may_have_several_faults() -> None:
    found = faults_of(status(DIRECTORY | 0o777, 4242), NAMED_USER)
    assert tuple(found) == (Fault.OWNER, Fault.OTHERS, Fault.ACL)


def test_file_systems_that_prove_nothing() -> None:
    text = (
        "29 1 0:5 / /proc rw - proc proc rw\n"
        "30 1 8:1 / / rw - ext4 /dev/vda rw\n"
        "31 30 0:40 / /home/eve rw - fuse.bindfs x rw,user_id=4242,group_id=4242,allow_other\n"
        "32 30 0:41 / /lxcfs rw - fuse.lxcfs lxcfs rw,user_id=0,group_id=0,allow_other\n"
        "33 30 0:42 / /home/me rw - fuse.sshfs x rw,user_id=1000\n"
    )
    assert unfit_mounts(text, {0, MINE}) == {
        "0:5": Culprit("/proc", Fault.PROCESS),
        "0:40": Culprit("/home/eve", Fault.MOUNT, 4242),
    }


@pytest.mark.parametrize("fault", [f for name, f in vars(Fault).items() if name.isupper()])
def test_each_fault_has_words_that_name_the_path(fault: str) -> None:
    culprit = Culprit("/a b", fault, 13)
    assert "/a b" in culprit.reason
    assert not culprit.command or "/a b" in culprit.command[-1]


def test_commands_for_several_faults_come_in_the_order_that_mends() -> None:
    """Without its list the group has again what the list gave it by its name."""
    others = (Culprit("/b", Fault.ACL), Culprit("/c d", Fault.OWNER, 7), Culprit("/c d", Fault.ACL))
    assert Culprit("/a", Fault.GROUP, others=others).command == (
        "sh", "-c",
        "chown -h root '/c d' && setfacl -b /b '/c d' && chmod go-w /a /b '/c d'",
    )  # fmt: skip
    assert Culprit("/a", Fault.GROUP, others=(Culprit("/tmp", Fault.SHARED),)).command == ()


def test_all_on_a_path_are_told_and_mended_at_once(tmp_path: Path) -> None:
    """A path as others may have made it: many directories, each of them open to all."""
    inner = tmp_path
    for _ in range(40):
        inner /= "d"
        inner.mkdir()
        inner.chmod(0o777)
    tmp_path.chmod(0o775)
    judge = PathJudge({os.getuid()}, root=tmp_path.parent)
    path = f"/{tmp_path.name}/d/d/new"
    found = judge.culprit(path, whole=True)
    assert found is not None
    assert [(c.path.count("/"), c.fault) for c in found.all] == [
        (1, Fault.GROUP), (2, Fault.OTHERS), (3, Fault.OTHERS),
    ]  # fmt: skip
    assert found.command == ("chmod", "go-w", *(one.path for one in found.all))
    assert judge.culprit(path) == Culprit(found.path, Fault.GROUP)
    deep = judge.culprit("/".join(("", tmp_path.name, *"d" * 40)), whole=True)
    assert deep is not None
    assert len(deep.all) == 24
    assert deep.reason.endswith("; 21 more like that")


def test_what_a_login_makes_is_its_users(tmp_path: Path) -> None:
    """Nothing is there yet: whoever logs in can put it there."""
    (tmp_path / "run/user").mkdir(parents=True)
    judge = PathJudge({os.getuid()}, root=tmp_path)
    found = judge.culprit("/run/user/4711/qemu", whole=True)
    assert found == Culprit("/run/user/4711", Fault.LOGIN, 4711)
    assert "user 4711" in found.reason
    assert found.command == ()
    for harmless in (f"/run/user/{os.getuid()}/qemu", "/run/user/x/qemu", "/run/4711/qemu"):
        assert judge.culprit(harmless) is None
