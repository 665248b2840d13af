"""What every init says of itself, which inits there are, and which one a host has.

To add one: write `inits/NAME.py` with a class and `INIT`, an instance of it; give it its line in
INITS, the strongest sign first. Its row goes to docs/persistence.md, a host that has it to
tests/cases/hosts. The test tests/unit/test_init_contract.py runs over all and names what is
missing.
"""

from __future__ import annotations

from abc import ABC

from binfmt_setup.boot.lost import NoInit, NotByHand, StartupNotRun
from binfmt_setup.model.binfmt_d import OWN_DIRECTORY
from binfmt_setup.model.boot_facts import SCRIPT_PATH
from binfmt_setup.model.modules import module_named
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar, Literal

    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.boot_facts import BootFacts
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.system.host import Host

    Writes = Literal["units", "script", "nothing"]
    """What is written beside the binfmt.d file: units with their script, or the script alone, for
    a file of the administrator's to run."""


REGISTER = f"sh {SCRIPT_PATH} {OWN_DIRECTORY}/qemu-*.conf"
"""The command that registers what this tool's files name."""
UPDATE_BINFMTS_SERVICE = "binfmt-support"
"""Debian's service that runs `update-binfmts --enable`, under whatever init."""
_RUNLEVELS = ("/etc/rcS.d", "/etc/rc2.d")
"""Debian's runlevels that each boot passes."""


class Row(Record):
    """An init, and how it is known.

    `running` are files that are there only while it runs, `processes` what it is called as
    process 1, `programs` where it is installed. Of two that are known alike, one has a file
    that it `needs`, which the other is `without`.
    """

    name: str
    running: tuple[str, ...] = ()
    processes: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    needs: str = ""
    without: str = ""


_OPENRC = (("/run/openrc",), (), ("/sbin/openrc", "/usr/bin/openrc"))
_OPENRC_SERVICE = "/etc/init.d/binfmt"
INITS = (
    Row(
        "systemd", ("/run/systemd/system",),
        programs=("/usr/lib/systemd/systemd", "/lib/systemd/systemd",
                  "/usr/lib/systemd/systemd-binfmt", "/lib/systemd/systemd-binfmt"),
    ),
    # Before OpenRC, whose service leaves itself out there since 0.63.
    Row("wsl", ("/run/WSL",)),
    Row("openrc", *_OPENRC, needs=_OPENRC_SERVICE),
    Row("openrc_bare", *_OPENRC, without=_OPENRC_SERVICE),
    Row("runit", processes=("runit",), programs=("/sbin/runit", "/usr/bin/runit")),
    Row("s6", processes=("s6-svscan",), programs=("/etc/s6-linux-init/current/bin/init",)),
    Row("sysvinit", processes=("init",), programs=("/etc/inittab",)),
    Row("none"),
)  # fmt: skip
"""All inits, in the order in which they are looked for: OpenRC may run under sysvinit, and every
one of them beside programs of another. Each is the module of its name here."""


class InitSystem(ABC):
    """One init: what it reads at boot, and what is written for it.

    `words` is what people call it, `in_json` its word in JSON's `host.init`. `folders` are those
    binfmt.d folders that it reads, the strongest first; none where it reads none. `startup` is a
    file of the administrator's that it runs at boot, and `line` what has to stand there,
    in which `section`, if nothing else registers.
    """

    name: ClassVar[str]
    words: ClassVar[str]
    in_json: ClassVar[Literal["systemd", "openrc", "other", "none"]] = "other"
    folders: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[Writes] = "script"
    startup: ClassVar[str] = ""
    line: ClassVar[str] = REGISTER
    section: ClassVar[str] = ""

    def loader(self, host: Host) -> str:
        """What registers at boot: here the startup file, once it runs our script."""
        text = host.text(self.startup) if self.startup else ""
        lines = (line.strip() for line in text.splitlines())
        runs = any(SCRIPT_PATH in line and not line.startswith("#") for line in lines)
        return self.startup if runs else ""

    def enabled(self, host: Host) -> bool:
        """Whether the loader is run at boot."""
        status = host.status_of(self.startup) if self.startup else None
        return status is not None and bool(status.st_mode & 0o100)

    def obstacle(self, facts: HostFacts) -> Lost | None:
        """Why nothing that is in binfmt.d will be registered at the next boot."""
        if not self.startup:
            return NoInit(facts.process.container)
        if not facts.boot.loader:
            return NotByHand(self.words, self.startup, self.line, self.section)
        return None if facts.boot.loader_enabled else StartupNotRun(self.startup)

    def runs_update_binfmts(self, host: Host) -> bool:  # noqa: ARG002
        """Whether the next boot starts the service that registers what update-binfmts keeps."""
        return False

    def keeps(self, facts: HostFacts, registrations: Sequence[Registration]) -> bool:  # noqa: ARG002
        """Whether what this tool wrote registers these at boot, whatever reads binfmt.d."""
        return False

    def takes(self, config: ConfigFile, line: int) -> bool:  # noqa: ARG002
        """Whether it registers what this line of a binfmt.d file says, if the kernel does."""
        return True

    def cure(self, lost: Lost) -> tuple[str, ...]:
        """The command that takes away an obstacle; empty where none does."""
        return ("chmod", "+x", lost.startup) if isinstance(lost, StartupNotRun) else ()

    def load_command(self, facts: HostFacts, path: str) -> tuple[str, ...]:  # noqa: ARG002
        """The command that registers what one binfmt.d file says; empty where there is none."""
        return ()


def init_named(name: str) -> InitSystem:
    """The init of a row; raises LookupError for any other name."""
    if name not in (row.name for row in INITS):
        raise LookupError(name)
    found: InitSystem = module_named(f"{__package__}.{name}").INIT
    return found


def init_of(boot: BootFacts) -> InitSystem:
    """The init that the next boot starts."""
    return init_named(boot.init)


def in_runlevel(host: Host) -> bool:
    """Whether update-binfmts' service has a start link in the runlevels of System V."""
    names = (name for folder in _RUNLEVELS for name in host.names(folder))
    return any(n.startswith("S") and n[3:] == UPDATE_BINFMTS_SERVICE for n in names)


class Found(Record):
    """Which init there is, whether a file of its own shows it running, and which are installed."""

    name: str
    running: bool
    installed: frozenset[str]


def found_in(host: Host) -> Found:
    """The init that runs, or in an offline tree the one that would."""
    rows = [row for row in INITS if _is_one(host, row)]
    installed = [row.name for row in rows if any(map(host.exists, row.programs))]
    process = host.text("/proc/1/comm").strip() if host.live else ""
    shown = [row.name for row in rows if host.live and any(map(host.exists, row.running))
             # A container may have the /run of its host, and yet no such init.
             and (not row.programs or row.name in (process, *installed))]  # fmt: skip
    called = [] if shown else _called(process)
    names = [*shown, *called, *([] if host.live else installed), "none"]
    return Found(names[0], bool(shown), frozenset(installed))


def _is_one(host: Host, row: Row) -> bool:
    """Whether a host has the file that tells a row from the one that is known alike."""
    return (not row.needs or host.exists(row.needs)) and not (
        row.without and host.exists(row.without)
    )


def _called(process: str) -> list[str]:
    """The init whose process 1 has this name."""
    return [row.name for row in INITS if process in row.processes]
