"""WSL without systemd: its own init runs one command of /etc/wsl.conf as root.

Source: Microsoft's documentation of wsl.conf, [boot] command; with `systemd=true` there it is
systemd that runs, and reads binfmt.d.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import REGISTER, InitSystem
from binfmt_setup.model.boot_facts import SCRIPT_PATH

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


class Wsl(InitSystem):
    """Microsoft's init."""

    name, words = "wsl", "WSL's init"
    startup = "/etc/wsl.conf"
    line = f"command = {REGISTER}"
    section = "[boot]"

    def loader(self, host: Host) -> str:
        """The file, once its one command runs our script; in another section it is nobody's."""
        section = ""
        for line in map(str.strip, host.text(self.startup).splitlines()):
            key, _, value = line.partition("=")
            if line.startswith("["):
                section = line.strip("[] ").lower()
            elif (section, key.strip().lower()) == ("boot", "command") and SCRIPT_PATH in value:
                return self.startup
        return ""

    def enabled(self, host: Host) -> bool:
        """What stands there is run; the file is no script."""
        del host
        return True


INIT = Wsl()
