"""How container engines are called: what they see, how long they may take, what is read."""

from __future__ import annotations

import shlex
from contextlib import nullcontext

from binfmt_setup.engines import findings
from binfmt_setup.engines.build_log import object_in
from binfmt_setup.model.errors import TookTooLong
from binfmt_setup.model.records import Record
from binfmt_setup.system.programs import Completed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.host import Host


_UNPRINTABLE = {code: "" for code in (*range(32), 127) if chr(code) not in "\t\n"}


class Limits(Record):
    """Seconds that a question and a build may take; a build gets more for each platform."""

    question: float = 20.0
    build: float = 60.0
    platform: float = 20.0

    def for_build(self, platforms: Sequence[Platform]) -> float:
        """The time for one build."""
        return self.build + self.platform * len(platforms)


class Caller(Record):
    """Calls engines: with the variables they need, a time limit, and a word for the user.

    `variables` names what is passed on of `environment`: each engine says what it needs.
    """

    host: Host
    environment: Mapping[str, str]
    variables: tuple[str, ...] = ()
    limits: Limits = Limits()
    progress: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()

    def ask(
        self, argv: Sequence[str], *, seconds: float = 0.0, also: Mapping[str, str] | None = None
    ) -> Completed:
        """Run an engine; its status is the caller's business. Raises OtherProgramFailed."""
        passed = {k: v for k in self.variables if (v := self.environment.get(k))}
        settings = [f"{key}={value}" for key, value in {**passed, **(also or {})}.items()]
        command = ("env", *settings, *argv)
        self.host.log(f"+ {shlex.join(command)}")
        try:
            done = self.host.run(command, seconds or self.limits.question)
            return Completed(done.status, _printable(done.output), _printable(done.errors))
        except TookTooLong as error:
            raise findings.too_slow(argv[0], _printable(error.message)) from error

    def ask_for_json(self, argv: Sequence[str]) -> Mapping[str, object]:
        """Run an engine that answers with a JSON object; raises OtherProgramFailed if not."""
        done = self.ask(argv)
        answer = object_in(done.output)
        if not answer:
            raise findings.engine_failed(argv, done, "gave no JSON object")
        return answer


def _printable(text: str) -> str:
    """Text that can be shown on any terminal and written into any report."""
    return text.translate(_UNPRINTABLE)
