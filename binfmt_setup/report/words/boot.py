"""The words about the next boot. The script that the units run says the same."""

from __future__ import annotations

from binfmt_setup.boot import survival
from binfmt_setup.boot.survival import Late, Lost, NotMounted, NotRegistered
from binfmt_setup.diagnosis.finding import printed
from binfmt_setup.model.boot_facts import REGISTRY_UNIT, UNIT_STEM
from binfmt_setup.model.mountinfo import BINFMT_MISC

NOT_MOUNTED = "binfmt_misc is not mounted"
UNMASK_REGISTRY = f"run: {printed(survival.UNMASK_REGISTRY)}"
MISSING = "{} is missing"
BRING_BACK = "bring it back (install QEMU, or mount its file system)"
SWITCHED_OFF = "binfmt_misc is switched off for all entries"
SWITCH_ON = f"run: echo 1 > {BINFMT_MISC}/status"

_LOST: dict[type[Lost], str] = {
    survival.NoConfig: "no binfmt.d file registers it",
    survival.RegistryMasked: f"{NOT_MOUNTED} at boot: {REGISTRY_UNIT}.mount is masked",
    survival.NoSystemdBinfmt: "this systemd comes without systemd-binfmt",
    survival.SystemdBinfmtMasked: "systemd-binfmt.service is masked",
    survival.OpenrcDisabled: "OpenRC's binfmt service is in no runlevel",
}


def lost(problem: Lost) -> str:
    """Why an entry will not be there after a reboot."""
    if isinstance(problem, survival.Volatile):
        return f"{problem.path} is gone after a reboot"
    if isinstance(problem, survival.UnitNotEnabled):
        return f"only {UNIT_STEM}.service reads {problem.path}, and it is not enabled"
    if isinstance(problem, survival.NoInit):
        where = f"in this {problem.container} container " if problem.container else ""
        return f"{where}no init that reads binfmt.d runs here"
    return _LOST[type(problem)]


def trouble(found: NotMounted | NotRegistered) -> str:
    """Why a registration of ours is not in the kernel."""
    return NOT_MOUNTED if isinstance(found, NotMounted) else MISSING.format(found.interpreter)


def late(found: Late) -> str:
    """Why an entry comes late in a boot, or not at all."""
    if found.lost:
        return f"is lost when {found.mount} is mounted after systemd-binfmt has run"
    return f"is registered once {found.mount} is mounted, which the boot does not wait for"
