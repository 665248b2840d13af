"""What the set-user-ID bit of a program does, when the kernel has an entry's interpreter run it.

fs/binfmt_misc.c (load_misc_binary) and fs/exec.c (bprm_creds_from_file): rights come from the file
that is executed in the end, which is the interpreter; with C from the program itself.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_setup.explain.explanation import Step
    from binfmt_setup.explain.specimen import SetId


def rights_words(steps: Sequence[Step]) -> Iterator[str]:
    """A sentence for each bit of a file that somebody else's program is to run."""
    for step in steps:
        if step.found.rights and (step is steps[0] or step.handler):
            for bit, whose in _asked(step.found.rights):
                yield f"its {bit} bit {_effect(step, whose)}"


def _asked(rights: SetId) -> Iterator[tuple[str, str]]:
    """What the bits are called, and whose rights they ask for."""
    if rights.user is not None:
        yield "set-user-ID", f"user {rights.user}"
    if rights.group is not None:
        yield "set-group-ID", f"group {rights.group}"


def _effect(step: Step, whose: str) -> str:
    entry = step.handler
    if step.found.nosuid:
        return "is ignored: it lies on a mount with the option nosuid"
    if entry is None:
        counts = f"counts: it has the rights of {whose}, whoever starts it"
        return "is ignored, as for every script" if step.by == "script" else counts
    if "C" not in entry.flags:
        return (
            f"is ignored: entry {entry.name} has no flag C, so it runs with the rights of whoever "
            "starts it"
        )
    return (
        f"counts: entry {entry.name} has flag C, so {entry.interpreter} runs with the rights of "
        f"{whose}, and QEMU does what QEMU_LD_PREFIX says in the environment of whoever starts it: "
        "it gives him these rights"
    )
