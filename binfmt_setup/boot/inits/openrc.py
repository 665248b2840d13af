"""OpenRC: its service `binfmt` reads binfmt.d, where it is in a runlevel.

Source: sh/binfmt.sh and init.d/binfmt of OpenRC 0.45 and newer. It replaces entries of the same
name, flushes none, skips files named systemd*.conf, and looks in /usr/local/lib since 0.63 only:
that folder is left out here.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import UPDATE_BINFMTS_SERVICE, InitSystem
from binfmt_setup.boot.lost import OpenrcDisabled

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from typing import ClassVar

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.system.host import Host

_LEVELS = ("boot", "default", "sysinit")


class Openrc(InitSystem):
    """OpenRC; Alpine's, Gentoo's and Artix's."""

    name, words, in_json = "openrc", "OpenRC", "openrc"
    folders: ClassVar[tuple[str, ...]] = ("/etc/binfmt.d", "/run/binfmt.d", "/usr/lib/binfmt.d")
    writes = "nothing"

    def loader(self, host: Host) -> str:
        """The service's script; without it, it is `openrc_bare`."""
        del host
        return "/etc/init.d/binfmt"

    def enabled(self, host: Host) -> bool:
        """Whether the service is in a runlevel that every boot enters."""
        return in_openrc_runlevel(host, "binfmt")

    def runs_update_binfmts(self, host: Host) -> bool:
        """Debian's service is one among others."""
        return in_openrc_runlevel(host, UPDATE_BINFMTS_SERVICE)

    def takes(self, config: ConfigFile, line: int) -> bool:
        """A shell reads it: no CR is cut off, a last line wants its newline, a name no blank."""
        lines, name = config.text.split("\n"), config.file_name
        ended = line < len(lines) and not lines[line - 1].endswith("\r")
        skipped = name == "systemd.conf" or name.startswith("systemd-") or len(name.split()) > 1
        return ended and not skipped

    def obstacle(self, facts: HostFacts) -> Lost | None:
        """The service is in no runlevel."""
        return None if facts.boot.loader_enabled else OpenrcDisabled()

    def cure(self, lost: Lost) -> tuple[str, ...]:
        """The service can be put into one."""
        return ("rc-update", "add", "binfmt", "boot") if isinstance(lost, OpenrcDisabled) else ()


def in_openrc_runlevel(host: Host, service: str) -> bool:
    """Whether a service is in a runlevel that every boot enters."""
    return any(host.exists(f"/etc/runlevels/{level}/{service}") for level in _LEVELS)


INIT = Openrc()
