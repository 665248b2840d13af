"""completion: what makes a shell complete command lines, as it ships with the package."""

from __future__ import annotations

from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.system import packaged

SHELLS = ("bash", "zsh", "fish")


def completion_for(shell: str) -> str:
    """The text for a shell; raises UsageProblem for one that has none."""
    if shell not in SHELLS:
        raise UsageProblem(
            f"there is no completion for {shell!r}", hint=f"there is one for {', '.join(SHELLS)}"
        )
    return packaged.content("data", "completion", shell).decode()
