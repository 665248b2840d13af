"""The host that tests see: this machine without what others set up on it.

Tests use this machine's kernel, programs and libraries, but what decides the tool's answers
must not depend on whose machine it is. So the test process enters a mount namespace of its own
in which formats of other tools, binfmt.d files, units, locks and the distribution's name are
those of a Debian on which nothing was set up yet, and keeps of its environment only what is
listed here. The machine itself stays as it is. `tests.host_in_use` is the proof.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from binfmt_setup.model.targets import TARGETS
from binfmt_setup.system import syscalls
from testbed import KEPT_VARIABLES

OS_RELEASE = 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
EMPTY = (
    *("/etc/binfmt.d", "/usr/lib/binfmt.d", "/usr/local/lib/binfmt.d", "/etc/binfmt-setup"),
    *("/var/lib/binfmts", "/etc/systemd/system", "/usr/local/lib/binfmt-setup", "/etc/docker"),
)
"""Folders that are empty, where there are such at all."""
FILES = {"/etc/os-release": OS_RELEASE, "/etc/fstab": ""}
LOCAL = ("/usr/local/bin", "/usr/local/sbin")
TOOLS = ("COVERAGE_", "PYTEST_", "HYPOTHESIS_")
"""How variables begin by which the tools of the tests talk to each other."""
_BIND = 0x1000  # mount(2)


def clean_environment() -> None:
    """Keep what scripts/test would pass on, find this Python first, and have an empty home."""
    for name in set(os.environ) - set(KEPT_VARIABLES):
        if not name.startswith(TOOLS):
            del os.environ[name]
    _keep_pip_settings()
    os.environ.pop("XDG_RUNTIME_DIR", None)
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    os.environ["HOME"] = tempfile.mkdtemp(prefix="binfmt-setup-home-")


def _keep_pip_settings() -> None:
    """Where packages come from may be written down in the home that is left behind."""
    for place in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (file := Path.home() / place).is_file():
            os.environ.setdefault("PIP_CONFIG_FILE", str(file))


def enter() -> None:
    """Have this process see that host; raises OSError where the kernel or its rules forbid it."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        syscalls.unshare(syscalls.CLONE_NEWNS)
    else:
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
    for folder in ("/run", *filter(os.path.isdir, EMPTY)):
        syscalls.mount("made-for-tests", folder, "tmpfs")
    Path("/run/lock").mkdir(mode=0o1777)
    Path("/run/made").mkdir()
    own = Path("/run/made/empty")
    for path, text in FILES.items():
        own = Path("/run/made") / Path(path).name
        own.write_text(text)
        if Path(path).exists():
            syscalls.mount(str(own), str(Path(path).resolve()), "", _BIND)
    for program in _own_emulators():
        # Nothing that can be executed, to a search and to the tool.
        syscalls.mount(str(own), str(program.resolve()), "", _BIND)


def _own_emulators() -> list[Path]:
    """What somebody put where administrators do; the tests take what a package brought."""
    names = {f"qemu-{target.name}{end}" for target in TARGETS for end in ("", "-static")}
    return [path for folder in LOCAL for name in names if (path := Path(folder, name)).is_file()]
