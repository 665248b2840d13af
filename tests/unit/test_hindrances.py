"""An errno and a host's switches become the cause, with what an administrator could allow.

The hosts are file trees: AppArmor, an old kernel and Debian's switch are not to be had on
every machine. Those that are, tests/sandbox meets for real.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.errors import ExitCode
from binfmt_setup.system.host import Host
from binfmt_setup.userns.denied import explain

if TYPE_CHECKING:
    from pathlib import Path

    from binfmt_setup.userns.denied import Step

ROOT_LINE = "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
USUAL = {
    "proc/sys/kernel/osrelease": "6.18.0-generic\n",
    "proc/sys/user/max_user_namespaces": "96363\n",
    "proc/sys/user/max_mnt_namespaces": "96363\n",
    "proc/self/mountinfo": ROOT_LINE,
    "proc/self/status": "Uid:\t7\t7\t7\t7\nGid:\t7\t7\t7\t7\nSeccomp:\t0\n",
    "proc/self/uid_map": "0 0 4294967295\n",
    "proc/self/gid_map": "0 0 4294967295\n",
}
OFF = "proc/sys/user/max_user_namespaces"
APPARMOR = {"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}
DEBIAN = {"proc/sys/kernel/unprivileged_userns_clone": "0\n"}
SECCOMP = {"proc/self/status": "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"}
NO_GROUP = {"proc/self/gid_map": ""}
OTHER_USER = {"proc/self/uid_map": "0 100000 7\n"}
CHROOT = {"proc/self/mountinfo": "30 25 0:5 / /proc rw - proc proc rw\n"}
OLD = {"proc/sys/kernel/osrelease": "6.6.12-amd64\n"}


def host(where: Path, files: dict[str, str]) -> Host:
    for path, text in {**USUAL, **files}.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text)
    return Host(where)


@pytest.mark.parametrize(
    ("step", "number", "files", "code", "remedy"),
    [
        ("unshare", errno.ENOSPC, {OFF: "0\n"}, "userns-disabled", "user.max_user_namespaces="),
        ("unshare", errno.ENOSPC, {"proc/sys/user/max_mnt_namespaces": "0\n"}, "userns-disabled",
         "user.max_mnt_namespaces="),
        ("unshare", errno.ENOSPC, {OFF: "3\n"}, "userns-limit", "user.max_user_namespaces="),
        ("unshare", errno.EUSERS, {}, "userns-limit", "user.max_user_namespaces="),
        ("unshare", errno.EINVAL, {}, "userns-disabled", "CONFIG_USER_NS"),
        ("unshare", errno.ENOSYS, {}, "userns-disabled", "CONFIG_USER_NS"),
        ("unshare", errno.EPERM, DEBIAN, "userns-disabled", "kernel.unprivileged_userns_clone=1"),
        ("unshare", errno.EPERM, APPARMOR, "userns-apparmor",
         "kernel.apparmor_restrict_unprivileged_userns=0"),
        ("map", errno.EPERM, APPARMOR, "userns-apparmor", "AppArmor profile with `userns,`"),
        ("mount", errno.EACCES, APPARMOR, "userns-apparmor", "userns,"),
        ("unshare", errno.EPERM, SECCOMP, "userns-seccomp", "seccomp=unconfined"),
        ("mount", errno.EPERM, SECCOMP, "userns-seccomp", "unshare and mount"),
        ("unshare", errno.EPERM, NO_GROUP, "userns-unmapped", "--map-group"),
        ("unshare", errno.EPERM, OTHER_USER, "userns-unmapped", "--map-user"),
        ("unshare", errno.EPERM, CHROOT, "userns-chroot", "outside"),
        ("mount", errno.EPERM, OLD, "kernel-too-old", "6.7"),
        ("mount", errno.ENODEV, {}, "binfmt-missing", "modprobe binfmt_misc"),
        ("mount", errno.ENOENT, {}, "binfmt-missing", "modprobe binfmt_misc"),
        ("unshare", errno.EPERM, {}, "userns-refused", "administrator"),
        ("mount", errno.EIO, {}, "userns-refused", "administrator"),
    ],
)  # fmt: skip
def test_cause(  # noqa: PLR0917 - the columns of the table above
    tmp_path: Path, step: Step, number: int, files: dict[str, str], code: str, remedy: str
) -> None:
    found = explain(step, OSError(number, os.strerror(number)), host(tmp_path, files))
    assert found.code == code
    assert remedy in found.hint
    assert os.strerror(number) in found.message
    assert found.exit_code is ExitCode.ENVIRONMENT


@pytest.mark.parametrize("release", ["6.7.0", "6.10-rc1", "7.0.1", "custom", ""])
def test_a_kernel_that_is_new_enough_is_not_blamed(tmp_path: Path, release: str) -> None:
    files = {"proc/sys/kernel/osrelease": release}
    assert (
        explain("mount", OSError(errno.EPERM, ""), host(tmp_path, files)).code != "kernel-too-old"
    )


def test_the_switch_that_is_off_comes_before_what_else_is_set(tmp_path: Path) -> None:
    found = explain("unshare", OSError(errno.EPERM, ""), host(tmp_path, {**DEBIAN, **SECCOMP}))
    assert found.code == "userns-disabled"
