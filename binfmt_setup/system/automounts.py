"""The automount that systemd puts where the registry belongs: asked, and not for ever.

Who waits for an automount can do nothing but be killed, so other processes ask.
"""

from __future__ import annotations

import os
from contextlib import suppress

from binfmt_setup.model.errors import BinfmtSetupError, TookTooLong
from binfmt_setup.system.pipes import readable
from binfmt_setup.system.signals import signal

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host_access import HostAccess

SECONDS = 10.0
"""systemd answers in milliseconds, and at boot within a few seconds."""


def brings_registry(host: HostAccess) -> bool:
    """Whether looking into the directory brings the registry."""
    try:
        looked = host.run(("ls", host.path(host.registry)), SECONDS)
    except BinfmtSetupError:
        return False
    return looked.status == 0 and "register" in looked.output.split()


def require_passable(place: str) -> None:
    """See that one can mount over it; raises TookTooLong, or OSError where none can be asked.

    While somebody waits for an automount, the kernel lets nobody else to the place: who looks at
    it or mounts there waits, too.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(OSError):
            os.lstat(place)
        os._exit(0)
    os.close(writer)
    try:
        passed = readable(reader, SECONDS)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        with suppress(ChildProcessError):  # whose parent wants to hear of no child
            os.waitpid(child, 0)
    if not passed:
        raise TookTooLong(
            f"the automount at {place} does not answer, and another program waits for it",
            hint="end what waits: see who it is with ps -eo pid,wchan:20,args, at autofs_wait; "
            "or restart the automount: systemctl restart proc-sys-fs-binfmt_misc.automount",
        )
