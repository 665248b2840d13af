"""The words about which emulator is taken, and which ones are not."""

from __future__ import annotations

from binfmt_setup.emulators import choice
from binfmt_setup.emulators.refusals import refusal_words
from binfmt_setup.report.lines import wrapped

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.interpreter import Interpreter
    from binfmt_setup.model.targets import Target


def choice_explained(facts: HostFacts, target: Target) -> str:
    """Which emulator is taken for a target and why, and which ones are not, in lines."""
    chosen = choice.choose(facts, target)
    if chosen is None:
        return ""
    reason = f"{target.name}: taking {chosen.path} ({_reason(chosen, target)})"
    words = "; ".join([reason, *map(refusal_words, choice.passed_over(facts, target))])
    return "\n".join(wrapped(words, "", "  "))


def _reason(chosen: Interpreter, target: Target) -> str:
    for pattern, reason in choice.HOST_PATTERNS.items():
        if chosen.path == pattern.format(target.name):
            return reason
    return f"from {chosen.source}" if chosen.source else "from the directory given"
