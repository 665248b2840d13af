"""An automount at the registry's place, as systemd has it: asked for, it mounts a host's registry.

    python automount.py COMMAND…      as root, in a mount namespace of its own that is shared

An autofs takes root of the machine, and the registry that is mounted then would be the machine's
own. So it is made in the user namespace of whoever asks, and given to the automount as a file
descriptor (fsopen(2), fsmount(2), move_mount(2)).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading

REGISTRY = "/proc/sys/fs/binfmt_misc"
_READY, _FAIL = 0x9360, 0x9361  # AUTOFS_IOC_READY, AUTOFS_IOC_FAIL (linux/auto_fs.h)
_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
_CREATE = 6  # FSCONFIG_CMD_CREATE
_EMPTY_PATH = 4  # MOVE_MOUNT_F_EMPTY_PATH
_HERE = -100  # AT_FDCWD
_USERS, _MOUNTS = 0x10000000, 0x00020000  # CLONE_NEWUSER, CLONE_NEWNS
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _made_by(process: int, answer: socket.socket) -> None:
    """In the namespaces of a process make a registry, and send it."""
    users, mounts = (os.open(f"/proc/{process}/ns/{n}", os.O_RDONLY) for n in ("user", "mnt"))
    _checked(_libc.setns(users, _USERS))
    _checked(_libc.setns(mounts, _MOUNTS))
    made = _checked(_libc.syscall(_FSOPEN, b"binfmt_misc", 0))
    _checked(_libc.syscall(_FSCONFIG, made, _CREATE, None, None, 0))
    mount = _checked(_libc.syscall(_FSMOUNT, made, 0, 0))
    socket.send_fds(answer, [b"it"], [mount])


def _mount_for(process: int) -> None:
    here, there = socket.socketpair()
    child = os.fork()
    if not child:
        try:
            _made_by(process, there)
        except OSError as error:
            sys.stderr.write(f"automount: {error}\n")
        finally:
            os._exit(0)
    there.close()
    _, descriptors, _, _ = socket.recv_fds(here, 16, 1)
    os.waitpid(child, 0)
    (mount,) = descriptors
    _checked(_libc.syscall(_MOVE_MOUNT, mount, b"", _HERE, REGISTRY.encode(), _EMPTY_PATH))


def _serve(pipe: int, control: int) -> None:
    while packet := os.read(pipe, 512):
        token = struct.unpack_from("=iiI", packet)[2]
        (process,) = struct.unpack_from("=I", packet, 36)
        try:
            _mount_for(process)
            fcntl.ioctl(control, _READY, token)
        except (OSError, ValueError) as error:
            sys.stderr.write(f"automount: {error}\n")
            fcntl.ioctl(control, _FAIL, token)


def main() -> int:
    """Make the automount, serve it, and run the command below it."""
    pipe, kernels_end = os.pipe()
    os.setpgrp()  # its own processes do not wait for it
    options = f"fd={kernels_end},pgrp={os.getpgrp()},minproto=5,maxproto=5,direct".encode()
    _checked(_libc.mount(b"autofs", REGISTRY.encode(), b"autofs", 0, options))
    control = os.open(REGISTRY, os.O_RDONLY | os.O_DIRECTORY)
    os.close(kernels_end)
    threading.Thread(target=_serve, args=(pipe, control), daemon=True).start()
    return subprocess.run(sys.argv[1:], check=False, start_new_session=True).returncode


if __name__ == "__main__":
    sys.exit(main())
