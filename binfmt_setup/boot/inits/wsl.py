"""WSL without systemd: its own init runs one command of /etc/wsl.conf as root.

Source: Microsoft's documentation of wsl.conf, [boot] command; with `systemd=true` there it is
systemd that runs, and reads binfmt.d.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import REGISTER, InitSystem

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


class Wsl(InitSystem):
    """Microsoft's init."""

    name, words = "wsl", "WSL's init"
    startup = "/etc/wsl.conf"
    line = f"[boot] command = {REGISTER}"

    def enabled(self, host: Host) -> bool:
        """What stands there is run; the file is no script."""
        del host
        return True


INIT = Wsl()
