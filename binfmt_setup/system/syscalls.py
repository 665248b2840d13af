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
_OPENAT2 = 437  # on every architecture that numbers system calls as all new ones do
_RESOLVE_IN_ROOT = 0x10
_RESOLVE_NO_MAGICLINKS = 0x02


def unshare(flags: int) -> None:
    """unshare(2): leave the namespaces named by CLONE_NEW* flags for new ones."""
    _call("unshare", flags)


def mount(source: str, target: str, fs_type: str, flags: int = 0) -> None:
    """mount(2), without data."""
    _call("mount", os.fsencode(source), os.fsencode(target), os.fsencode(fs_type), flags, None)


def unmount(target: str) -> None:
    """umount2(2): take away the uppermost mount at a path."""
    _call("umount2", os.fsencode(target), 0)


def open_in_root(directory: int, path: str, flags: int) -> int:
    """openat2(2): open a path for which a directory is the root; a descriptor."""
    import struct

    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    return _call("syscall", _OPENAT2, directory, os.fsencode(path), how, len(how))


def _call(name: str, *arguments: object) -> int:
    import ctypes

    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(getattr(libc, name)(*words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
