"""runit, as Void and Debian have it: nothing reads binfmt.d; both run rc.local.

Source: void-runit (stage 2 runs /etc/rc.local; no core service knows binfmt_misc), and Debian's
runit 2.1.2 (stage 2 runs the scripts of /etc/rc2.d, rc.local among them).
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import InitSystem, in_runlevel

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


class Runit(InitSystem):
    """runit as process 1."""

    name, words = "runit", "runit"
    startup = "/etc/rc.local"

    def runs_update_binfmts(self, host: Host) -> bool:
        """Debian's stage 2 runs the links of System V."""
        return in_runlevel(host)


INIT = Runit()
