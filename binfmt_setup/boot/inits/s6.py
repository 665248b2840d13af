"""s6-linux-init: nothing reads binfmt.d; what it runs at boot is the administrator's rc.init.

Source: s6-linux-init-maker's documentation: `scripts/rc.init` is run once the supervision tree
is up, and is to be changed by whoever makes the system.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import InitSystem


class S6(InitSystem):
    """s6-svscan as process 1."""

    name, words = "s6", "s6"
    startup = "/etc/s6-linux-init/current/scripts/rc.init"


INIT = S6()
