"""What it takes before the entries of a host can be seen and written."""

from __future__ import annotations

import errno
import os
import time

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.system.mount_namespace import is_foreign
from binfmt_setup.system.registry import Registry, explained

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.changes.steps import Outcome, Prepare
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.system.host import Host


_MODPROBE_SECONDS = 30.0
_COARSE = 5  # CLOCK_REALTIME_COARSE (linux/time.h): the clock of the kernel's time stamps


def prepare(facts: HostFacts, *, private: bool) -> tuple[Prepare, ...]:
    """The steps before entries can be seen; raises EnvironmentUnfit when none would help."""
    if not facts.live or (
        facts.registry.own if private else facts.registry.mount.state == "mounted"
    ):
        return ()
    from binfmt_setup.changes.steps import Prepare  # on most hosts everything is there already

    if private:
        return (Prepare("mount", BINFMT_MISC),)
    if facts.kernel.support == "absent":
        raise EnvironmentUnfit(
            f"this kernel (Linux {facts.kernel.release}) has no binfmt_misc",
            hint="install the kernel's extra modules, or a kernel with CONFIG_BINFMT_MISC",
            code="binfmt-missing",
        )
    load = (Prepare("load-module", "binfmt_misc"),) if facts.kernel.support == "module" else ()
    return (*load, Prepare("mount", BINFMT_MISC))


def make(
    host: Host, steps: Sequence[Prepare], *, private: bool, hold: bool = False
) -> list[Outcome]:
    """Load the module and mount the registry; raises EnvironmentUnfit or PrivilegesMissing.

    With `hold` a mount will do that is gone when its container ends.
    """
    from binfmt_setup.changes.steps import Outcome

    outcomes = []
    for step in steps:
        if step.kind == "load-module":
            host.checked(("modprobe", step.target), _MODPROBE_SECONDS)
            outcomes.append(Outcome(step, "done"))
            continue
        before = time.clock_gettime(_COARSE)
        try:
            new = Registry(host).mount(again=private)
            if new and not (private or hold) and is_foreign(host):
                _refuse_the_only_mount(host, before)
                new = False  # seen in this container alone: nothing of the host has changed
        except OSError as error:
            raise _refused(host, error, f"cannot mount binfmt_misc on {host.registry}") from error
        if new:
            outcomes.append(Outcome(step, "done"))
    return outcomes


def _refused(host: Host, error: OSError, what: str) -> BinfmtSetupError:
    """The typed error for a mount that failed."""
    if error.errno in (errno.EPERM, errno.EACCES):
        from binfmt_setup.system.denied_mounts import why_denied

        return why_denied(host, f"{what}: {os.strerror(error.errno)}")
    return explained(error, what)


def _refuse_the_only_mount(host: Host, before: float) -> None:
    """Undo a container's mount with which every entry would go; raises EnvironmentUnfit.

    The kernel drops all entries with the last mount. In a container that mounts binfmt_misc for
    a host that has not, it is the container's: "installed", and a moment later nothing is left.
    Nothing was written to it yet, so that nothing is lost.
    """
    registry = Registry(host)
    if not registry.is_new(before):
        return
    registry.unmount()
    raise EnvironmentUnfit(
        "binfmt_misc is mounted in this container alone: every entry would go when it ends",
        hint=f"on the host run: mount -t binfmt_misc none {BINFMT_MISC}   and give the container "
        "that directory, or let it hold the mount: binfmt-setup install --hold",
        code="only-mount",
    )
