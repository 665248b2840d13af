"""Boot each init that reads no binfmt.d, with the line that `check` names and without it.

scripts/boot-test --inits uses it: containers with a registry of their own, some seconds each.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from binfmt_setup.boot.inits.interface import INITS, REGISTER, init_named
from tests import bootlab
from tests.bootlab import LAB, RUNS, Machine

PACKAGES = {
    "sysvinit": "sysvinit-core,python3",
    "openrc_bare": "openrc,sysvinit-core,python3",
    "runit": "runit-init,initscripts,python3",
    "s6": "s6,python3",
}
# Debian has s6, but not s6-linux-init: this does what that does as documented.
FIRST = {
    "s6": """#!/bin/sh
mkdir -p /run/service
/etc/s6-linux-init/current/scripts/rc.init &
exec s6-svscan /run/service
"""
}
# RB_POWER_OFF of reboot(2): each init has other programs for it.
ENDS = f"""
sh {LAB}/stage >{LAB}/log 2>&1 </dev/null
sync
python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321fedc)'
"""
STAGE = f"try runs sh {LAB}/foreign\n{REGISTER}\ntry said setup check arm64 --format json\n"


def try_init(name: str) -> dict[str, bool]:
    """What was seen to hold under this init."""
    with TemporaryDirectory(prefix="boot-", dir=bootlab.cache_directory()) as folder:
        tree = Path(folder, "tree")
        bootlab.copy_tree(bootlab.base_tree("bookworm", PACKAGES[name]), tree)
        box = Machine(tree)
        bootlab.furnish(box)
        if name in FIRST:
            (program,) = (path for row in INITS if row.name == name for path in row.programs)
            _script(box, program, FIRST[name])
            box.link("/sbin/init", program)
        box.offline("install", "arm64")
        box.install_tool()
        init = init_named(name)
        _startup(box, init.startup, "")
        box.boot(STAGE)
        held = {
            "without the line nothing runs": RUNS not in box.answer("runs"),
            "check foretold it": not _lasts(box, init.in_json),
        }
        _startup(box, init.startup, init.line)
        box.boot(STAGE)
        held["with the line it runs"] = RUNS in box.answer("runs")
        held["check foretold it, too"] = _lasts(box, init.in_json)
        return held


def _startup(box: Machine, path: str, line: str) -> None:
    # The container's manager wants to be told by its init; a host's init has nobody to tell.
    _script(box, path, f"#!/bin/sh\nunset NOTIFY_SOCKET\n{line} >{LAB}/line 2>&1\n{ENDS}")


def _script(box: Machine, path: str, text: str) -> None:
    box.write(path, text)
    box.path(path).chmod(0o755)


def _lasts(box: Machine, init: str) -> bool:
    """Whether check says that the entry is there after a reboot, under this init."""
    said = json.loads(box.answer("said").rpartition("status ")[0])
    (platform,) = said["platforms"]
    return bool(platform["persistent"]) and bool(said["host"]["init"] == init)
