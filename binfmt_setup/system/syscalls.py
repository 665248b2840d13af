"""The few system calls that Python lacks; each raises OSError with the kernel's errno.

The module that can call them is imported when one is called: most commands never need it.
"""

from __future__ import annotations

import errno
import os
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SLAVE = 0x80000
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITIES_MOST = 64  # bits in capset's two words; Linux 6.18 knows 41
_CAPABILITY_VERSION_3 = 0x20080522
_OPENAT2 = 437  # on every architecture that numbers system calls as all new ones do
_KEYCTL_JOIN_SESSION_KEYRING = 1
_KEYCTL = {
    "x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219, "ppc64le": 271, "ppc64": 271,
    "s390x": 280,
}  # fmt: skip
"""Its number, which the C library has no function for, on what hosts there are."""
_RESOLVE_IN_ROOT = 0x10
_RESOLVE_NO_MAGICLINKS = 0x02


def unshare(flags: int) -> None:
    """unshare(2): leave the namespaces named by CLONE_NEW* flags for new ones."""
    _call("unshare", flags)


def mount(source: str, target: str, fs_type: str, flags: int = 0, data: str = "") -> None:
    """mount(2); `data` are the file system's own options."""
    own = os.fsencode(data) if data else None
    _call("mount", os.fsencode(source), os.fsencode(target), os.fsencode(fs_type), flags, own)


def unmount(target: str) -> None:
    """umount2(2): take away the uppermost mount at a path."""
    _call("umount2", os.fsencode(target), 0)


def open_in_root(directory: int, path: str, flags: int) -> int:
    """openat2(2): open a path for which a directory is the root; a descriptor."""
    import struct

    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    return _call("syscall", _OPENAT2, directory, os.fsencode(path), how, len(how))


def leave_keyring() -> None:
    """keyctl(2): have a new and empty session keyring, where that may be had.

    Whoever has a session's keyring may use its keys, whatever user he becomes (keyrings(7)).
    Containers refuse the call, and have a keyring of their own.
    """
    number = _KEYCTL.get(os.uname().machine) if sys.maxsize > 2**32 else None
    if number is not None:
        _result("syscall", number, _KEYCTL_JOIN_SESSION_KEYRING, None)


def become_subreaper(*, wanted: bool = True) -> None:
    """Let what descendants leave behind become children of this process (PR_SET_CHILD_SUBREAPER).

    Raises OSError.
    """
    _call("prctl", _PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)


def gain_no_privileges() -> None:
    """Let no program that is executed gain anything, set-user-ID or not (PR_SET_NO_NEW_PRIVS)."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def end_with_parent(number: int) -> None:
    """Have this signal sent when the parent ends; forgotten when the user id changes."""
    _call("prctl", _PR_SET_PDEATHSIG, number, 0, 0, 0)


def be_unreadable() -> None:
    """Let nobody of the same user trace this process or read its memory (PR_SET_DUMPABLE)."""
    _call("prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)


def bound_no_capability() -> None:
    """Empty the bounding set; raises OSError where this process may not (CAP_SETPCAP)."""
    _call("prctl", _PR_CAPBSET_DROP, 0, 0, 0, 0)
    for capability in range(1, _CAPABILITIES_MOST):
        if _result("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            return  # this kernel knows no more of them


def drop_capabilities() -> None:
    """Give up every capability that this process has; it always may (capset)."""
    header = _CAPABILITY_VERSION_3.to_bytes(4, sys.byteorder) + bytes(4)
    _call("capset", header, bytes(24))


def _call(name: str, *arguments: int | bytes | None) -> int:
    """Call a function of the C library; raises OSError.

    What failed is called once more by way of `ctypes`, which knows errno, and fails again.
    """
    result = _result(name, *arguments)
    return result if result >= 0 else _call_again(name, *arguments)


def _result(name: str, *arguments: int | bytes | None) -> int:
    """What a function gives; below zero, too, where it could not be called.

    Without `ctypes`, which takes three times as long to import as the module below it.
    """
    try:
        from _ctypes import call_function, dlopen, dlsym

        # None is the program itself, as in dlopen(3); typeshed does not know that.
        library = dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]
        return int(call_function(dlsym(library, name), arguments))
    except (ImportError, OSError):
        return -1


def _call_again(name: str, *arguments: int | bytes | None) -> int:
    try:
        import ctypes
    except ImportError as error:  # in a root directory without Python nothing tells why
        raise OSError(errno.EIO, os.strerror(errno.EIO)) from error
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(getattr(libc, name)(*words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
