"""What it takes before the entries of a host can be seen and written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.system.registry import Registry, explained

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.changes.steps import Outcome, Prepare
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.system.host import Host

_MODPROBE_SECONDS = 30.0


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


def make(host: Host, steps: Sequence[Prepare], *, private: bool) -> list[Outcome]:
    """Load the module and mount the registry; raises EnvironmentUnfit or PrivilegesMissing."""
    from binfmt_setup.changes.steps import Outcome

    outcomes = []
    for step in steps:
        if step.kind == "load-module":
            host.checked(("modprobe", step.target), _MODPROBE_SECONDS)
            outcomes.append(Outcome(step, "done"))
            continue
        try:
            new = Registry(host).mount(again=private)
        except OSError as error:
            raise explained(error, f"cannot mount binfmt_misc on {step.target}") from error
        if new:
            outcomes.append(Outcome(step, "done"))
    return outcomes
