"""How the words about facts are written down: one function for each class of facts."""

from __future__ import annotations

from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from binfmt_setup.diagnosis.finding import Fact


class Words(Record):
    """The words about a fact.

    `advice` is what to do, or what stands before the command of the remedy instead of "run";
    `note` stands behind that command. `seen` is what was read that shows it. `link` stands
    between the platform and the message.
    """

    message: str
    advice: str = ""
    seen: str = ""
    note: str = ""
    link: str = ""


if TYPE_CHECKING:
    F = TypeVar("F", bound=Fact)
    Sentences = dict[type[Fact], Callable[[Fact], Words]]


def telling(
    sentences: Sentences, *kinds: type[F]
) -> Callable[[Callable[[F], Words]], Callable[[F], Words]]:
    """Put a function into a table: it has the words for these classes of facts."""

    def put(tell: Callable[[F], Words]) -> Callable[[F], Words]:
        for kind in kinds:  # the table gives it facts of these classes only
            sentences[kind] = tell  # type: ignore[assignment] # the comment above says why
        return tell

    return put
