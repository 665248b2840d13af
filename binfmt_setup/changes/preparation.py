"""What it takes before the entries of a host can be seen and written. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from binfmt_setup.model.errors import EnvironmentUnfit
from binfmt_setup.model.mountinfo import BINFMT_MISC

if TYPE_CHECKING:
    from binfmt_setup.changes.steps import Prepare
    from binfmt_setup.model.facts import HostFacts


def prepare(facts: HostFacts, *, private: bool) -> tuple[Prepare, ...]:
    """The steps before entries can be seen; raises EnvironmentUnfit when none would help."""
    if not facts.live or (facts.own_registry if private else facts.mount.state == "mounted"):
        return ()
    from binfmt_setup.changes.steps import Prepare  # on most hosts everything is there already

    if private:
        return (Prepare("mount", BINFMT_MISC),)
    if facts.support == "absent":
        raise EnvironmentUnfit(
            f"this kernel (Linux {facts.kernel}) has no binfmt_misc",
            hint="install the kernel's extra modules, or a kernel with CONFIG_BINFMT_MISC",
            code="binfmt-missing",
        )
    load = (Prepare("load-module", "binfmt_misc"),) if facts.support == "module" else ()
    return (*load, Prepare("mount", BINFMT_MISC))
