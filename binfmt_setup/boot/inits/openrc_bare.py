"""OpenRC without its service `binfmt`, as Debian and Devuan have it: sysvinit's rc.local does it.

Source: Debian's openrc 0.45 leaves the service out, 0.64 its script, too; /etc/init.d/rc.local of
initscripts is in the runlevel `default`.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import UPDATE_BINFMTS_SERVICE, InitSystem
from binfmt_setup.boot.inits.openrc import in_openrc_runlevel

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


class OpenrcBare(InitSystem):
    """OpenRC, beside what Debian has for sysvinit."""

    name, words, in_json = "openrc_bare", "Debian's OpenRC", "openrc"
    startup = "/etc/rc.local"

    def runs_update_binfmts(self, host: Host) -> bool:
        """Debian's service is one among others."""
        return in_openrc_runlevel(host, UPDATE_BINFMTS_SERVICE)


INIT = OpenrcBare()
