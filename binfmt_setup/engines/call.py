"""How container engines are called, and what is said of one that fails by itself."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from typing import TYPE_CHECKING

from binfmt_setup.engines.build_log import object_in
from binfmt_setup.model.errors import OtherProgramFailed, TookTooLong
from binfmt_setup.model.records import Record
from binfmt_setup.system.programs import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.host import Host

PASSED_VARIABLES = (
    # Where the user's settings, contexts, builders and stores are.
    *("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"),
    # Which daemon, and how to be let in.
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH"),
    *("DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "DOCKER_CLI_EXPERIMENTAL", "SSH_AUTH_SOCK"),
    # Which builder, with its settings.
    *("BUILDX_BUILDER", "BUILDX_CONFIG"),
    # The same for podman and buildah.
    *("CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
    *("STORAGE_DRIVER", "BUILDAH_ISOLATION"),
)
"""What engines get to see of the caller's environment: without it they would answer for
another daemon, builder or store than the user's own. PATH is not among them."""


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
    """Calls engines: with the variables they need, a time limit, and a word for the user."""

    host: Host
    environment: Mapping[str, str]
    limits: Limits = Limits()
    progress: Callable[[str], AbstractContextManager[None]] = lambda _: nullcontext()

    def ask(
        self, argv: Sequence[str], *, seconds: float = 0.0, also: Mapping[str, str] | None = None
    ) -> Completed:
        """Run an engine; its status is the caller's business. Raises OtherProgramFailed."""
        passed = {k: v for k in PASSED_VARIABLES if (v := self.environment.get(k))}
        settings = [f"{key}={value}" for key, value in {**passed, **(also or {})}.items()]
        command = ("env", *settings, *argv)
        self.host.log(f"+ {shlex.join(command)}")
        try:
            done = self.host.run(command, seconds or self.limits.question)
            return Completed(done.status, _printable(done.output), _printable(done.errors))
        except TookTooLong as error:
            raise OtherProgramFailed(
                _printable(error.message), hint=f"see what keeps {argv[0]} busy, and try again",
                code="engine-timeout",
            ) from error  # fmt: skip

    def ask_for_json(self, argv: Sequence[str]) -> Mapping[str, object]:
        """Run an engine that answers with a JSON object; raises OtherProgramFailed if not."""
        done = self.ask(argv)
        answer = object_in(done.output)
        if not answer:
            raise engine_failed(argv, done, "gave no JSON object")
        return answer


def _printable(text: str) -> str:
    """Text that can be shown on any terminal and written into any report."""
    return text.translate(_UNPRINTABLE)


def engine_failed(argv: Sequence[str], done: Completed, what: str = "") -> OtherProgramFailed:
    """An engine that failed by itself, with everything it printed."""
    said = "\n".join(part for part in (done.output.strip(), done.errors.strip()) if part)
    return OtherProgramFailed(
        f"`{shlex.join(argv)}` {what or f'failed with status {done.status}'}; it said:\n"
        f"{said or 'nothing'}",
        hint=f"repair {argv[0]}, or leave it out of --engine", code="engine-failed",
    )  # fmt: skip
