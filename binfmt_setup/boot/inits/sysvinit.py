"""sysvinit, as Devuan has it: nothing reads binfmt.d; the last script of a runlevel runs rc.local.

Source: initscripts 3.06 (etc/init.d/rc.local; no script mounts binfmt_misc). With the package
binfmt-support, /etc/init.d/binfmt-support registers what update-binfmts(8) keeps.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import InitSystem, in_runlevel

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


class Sysvinit(InitSystem):
    """sysvinit, and other inits that are called `init` and run rc.local."""

    name, words = "sysvinit", "sysvinit"
    startup = "/etc/rc.local"

    def runs_update_binfmts(self, host: Host) -> bool:
        """Debian and Devuan start it by its link."""
        return in_runlevel(host)


INIT = Sysvinit()
