"""The few system calls that Python lacks; each raises OSError with the kernel's errno.

ctypes is imported when one of them is called: most commands never need it.
"""

from __future__ import annotations

import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REC = 0x4000
MS_SLAVE = 0x80000


def unshare(flags: int) -> None:
    """unshare(2): leave the namespaces named by CLONE_NEW* flags for new ones."""
    _call("unshare", flags)


def mount(source: str, target: str, fs_type: str, flags: int = 0) -> None:
    """mount(2), without data."""
    _call("mount", os.fsencode(source), os.fsencode(target), os.fsencode(fs_type), flags, None)


def unmount(target: str) -> None:
    """umount2(2): take away the uppermost mount at a path."""
    _call("umount2", os.fsencode(target), 0)


def _call(name: str, *arguments: object) -> None:
    import ctypes

    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*words):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
