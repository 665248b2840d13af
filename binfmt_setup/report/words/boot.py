"""The words about the next boot. The script that the units run says the same."""

from __future__ import annotations

from binfmt_setup.boot import lost as why
from binfmt_setup.boot.inits import systemd
from binfmt_setup.boot.survival import NotMounted
from binfmt_setup.diagnosis.finding import printed
from binfmt_setup.model.boot_facts import REGISTRY_UNIT, UNIT_STEM
from binfmt_setup.model.mountinfo import BINFMT_MISC

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.boot.lost import Lost
    from binfmt_setup.boot.survival import Late, NotRegistered

NOT_MOUNTED = "binfmt_misc is not mounted"
UNMASK_REGISTRY = f"run: {printed(systemd.UNMASK_REGISTRY)} && binfmt-setup install"
MISSING = "{} is missing"
NO_PROGRAM = "{} cannot be executed"
BRING_BACK = "bring it back (install QEMU, or mount its file system)"
FIND_OUT = "find out by what, then run"
SWITCHED_OFF = "binfmt_misc is switched off for all entries"
SWITCH_ON = f"run: echo 1 > {BINFMT_MISC}/status"

_LOST: dict[type[Lost], str] = {
    why.Volatile: "{path} is gone after a reboot",
    why.InMemory: "{interpreter} lies in {mount}, which is gone then (tmpfs)",
    why.UpperLayer: "{interpreter} lies in {mount}, which is gone then (tmpfs)",
    why.InterpreterGone: MISSING.format("{interpreter}"),
    why.InterpreterUnfit: NO_PROGRAM.format("{interpreter}"),
    why.SwitchedOff: "{path}:{line} switches all entries off",
    why.ShadowedAtBoot: "{path}:{line} puts the entry {entry} before it",
    why.LineNotTaken: (
        "OpenRC passes over {path}:{line}, for the file's name, a CR, or no newline at the end"
    ),
    why.UnitNotEnabled: f"only {UNIT_STEM}.service reads {{path}}, and it is not enabled",
    why.NotByHand: "{init} does not read binfmt.d, and {startup} does not do it",
    why.SystemdBinfmtSkipped: "systemd-binfmt.service is skipped: {condition} ({path})",
    why.SystemdBinfmtDepends: (
        "whether systemd-binfmt.service runs depends on {condition} ({path})"
    ),
    why.StartupNotRun: "{startup} is not executable, so it is not run at boot",
    why.NoConfig: "no binfmt.d file registers it",
    why.Unseen: "not known, as this container does not see the files of its host",
    why.RegistryMasked: f"{NOT_MOUNTED} at boot: {REGISTRY_UNIT}.mount is masked",
    why.NoSystemdBinfmt: "this system has no systemd-binfmt",
    why.SystemdBinfmtMasked: "systemd-binfmt.service is masked",
    why.UpdateBinfmtsNotRun: "update-binfmts keeps it, and its service is not run at boot",
    why.OpenrcDisabled: "OpenRC's binfmt service is in no runlevel",
}


def lost(problem: Lost) -> str:
    """Why an entry will not be there after a reboot."""
    if isinstance(problem, why.NoInit):
        where = f"in this {problem.container} container " if problem.container else ""
        return f"{where}no init that reads binfmt.d runs here"
    return _LOST[type(problem)].format(**vars(problem))


def taken_out(path: str, line: int) -> str:
    """What to do with a line, or with a file that is one entry and has no lines."""
    return f"remove line {line} of {path}" if line else f"remove {path}"


def by_hand(problem: Lost | None) -> str:
    """What the administrator does where this tool cannot; empty where a command does it."""
    if isinstance(problem, why.SwitchedOff):
        return taken_out(problem.path, problem.line)
    if isinstance(problem, why.UpperLayer):
        return "install it in the layer below this overlay, or use --no-persist"
    if not isinstance(problem, why.NotByHand):
        return ""
    # Such a file has one command: another one that stands there is kept.
    below = f"below {problem.section} (behind another command there: with a ;)"
    where = below if problem.section else "before any exit"
    return f"put into {problem.startup}, {where}: {problem.line}"


def trouble(found: NotMounted | NotRegistered) -> str:
    """Why a registration of ours is not in the kernel."""
    return NOT_MOUNTED if isinstance(found, NotMounted) else MISSING.format(found.interpreter)


def late(found: Late) -> str:
    """Why an entry comes late in a boot, or not at all."""
    if found.lost:
        return f"is lost when {found.mount} is mounted after systemd-binfmt has run"
    return f"is registered once {found.mount} is mounted, which the boot does not wait for"
