"""A buildkitd asked through buildctl, without any Docker: on a socket, or on another machine.

Sources: BuildKit's cmd/buildctl, docs/reference/buildctl.md and frontend/dockerui/config.go, and
the recorded outputs in tests/cases/engines.
"""

from __future__ import annotations

import errno
import json
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from binfmt_setup.diagnosis.finding import Finding
from binfmt_setup.engines import catalogue as known
from binfmt_setup.engines import findings
from binfmt_setup.engines.build_cache import CacheRecord, parse_du, remove_left
from binfmt_setup.engines.build_log import (
    as_list,
    as_object,
    as_text,
    context_files,
    index_in_archive,
    object_in,
    platform_name,
)
from binfmt_setup.engines.buildx import Builder, Node, builder_findings, built_elsewhere
from binfmt_setup.engines.interface import SETTINGS_VARIABLES, Engine, Session
from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.facts import version_pair
from binfmt_setup.system.scratch import workspace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from binfmt_setup.engines.answers import Build, Question
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.programs import Completed


DEFAULT_ADDRESS = "unix:///run/buildkit/buildkitd.sock"
_TEMPORARY = "/tmp"  # noqa: S108 - mkdtemp makes a directory of our own in it
_WORKERS = ("buildctl", "debug", "workers", "--format", "{{json .}}")


class Buildkit(Engine):
    """A buildkitd that no Docker stands before."""

    name = "buildkit"
    program = "buildctl"
    # The first whose workers tell their version; older ones do not, and are asked all the same.
    oldest = (0, 8)
    variables = (
        *SETTINGS_VARIABLES,
        # Which daemon; buildctl reaches one in a pod or on another machine by kubectl and ssh.
        *("BUILDKIT_HOST", "KUBECONFIG", "SSH_AUTH_SOCK"),
    )

    @contextmanager
    def session(self, caller: Caller) -> Iterator[BuildkitSession]:
        """Ask for its workers; the first of them is who builds."""
        done = caller.ask(_WORKERS)
        address = caller.environment.get("BUILDKIT_HOST") or DEFAULT_ADDRESS
        with workspace(Path(_TEMPORARY), {}) as where:
            obstacle = _why_unreachable(caller, address, done) if done.status else None
            version, platforms = ("", ()) if obstacle else parse_workers(done)
            node = Node("buildkitd", address, "running", platforms)
            builder = Builder("buildkitd", "remote", (node,), engine=self.name)
            yield BuildkitSession(caller, where, builder, version, obstacle)


ENGINE = Buildkit()


def parse_workers(done: Completed) -> tuple[str, tuple[str, ...]]:
    """The version and the platforms of the first worker, which is the default one."""
    workers: Sequence[object] = ()
    with suppress(ValueError):
        workers = as_list(json.loads(done.output))
    first = as_object(workers[0]) if workers else {}
    names = (platform_name(as_object(item)) for item in as_list(first.get("platforms")))
    platforms = tuple(dict.fromkeys(name for name in names if name))
    if not platforms:
        raise findings.engine_failed(_WORKERS, done, "described no worker")
    version = as_text(as_object(first.get("buildkitVersion")).get("version"))
    return version.removeprefix("v"), platforms


def _why_unreachable(caller: Caller, address: str, done: Completed) -> Finding:
    """No buildkitd answered: forbidden, or not there; raises when it is there and fails."""
    path = address.removeprefix("unix://")
    if not path.startswith("/"):
        said = done.errors.strip().splitlines()[-1:]
        return Finding(known.DaemonUnreachable(address, "".join(said), "buildkit"))
    number = caller.host.connect_errno(path)
    if number in (errno.EACCES, errno.EPERM):
        return Finding(known.DaemonDenies(address, "buildkit"))
    if not number:
        raise findings.engine_failed(_WORKERS, done)
    name = errno.errorcode.get(number, str(number))
    return Finding(known.DaemonUnreachable(address, name, "buildkit"))


class BuildkitSession(Session):
    """A buildkitd that has answered, or why it did not."""

    def __init__(
        self, caller: Caller, where: Path, builder: Builder, version: str, obstacle: Finding | None
    ) -> None:
        self._caller, self._workspace = caller, where
        self._builder, self._obstacle = builder, obstacle
        self.version = version
        self.details = builder.nodes[0].endpoint

    def obstacles(self, question: Question) -> tuple[Finding, ...]:  # noqa: ARG002
        """Nobody who answers, or one that is too old."""
        if self._obstacle:
            return (self._obstacle,)
        if not (0, 0) < version_pair(self.version) < Buildkit.oldest:
            return ()
        first = ".".join(map(str, Buildkit.oldest))
        return (Finding(known.EngineTooOld("buildkit", "the daemon", self.version, first)),)

    def remarks(self, question: Question) -> tuple[Finding, ...]:
        """What can be told of its platforms."""
        return builder_findings(self._builder, question, containerd_store=True)

    @contextmanager
    def builds(self) -> Iterator[Callable[[Sequence[Platform], str], Build]]:
        """Builds into a file; cache records and history of theirs are removed."""
        build = _BuildkitBuild(self._caller, self._workspace)
        with build.cleaned_up():
            yield build.run

    def cause(self, finding: Finding, failed: known.EngineBuildFailed) -> Finding:
        """Nothing more is known than that it lies with BuildKit."""
        return findings.runs_outside(finding, failed)

    def elsewhere(self, platforms: Sequence[Platform]) -> frozenset[str]:
        """The platforms that a buildkitd on another machine builds."""
        return built_elsewhere(self._builder, platforms)


@dataclass
class _BuildkitBuild:
    """Builds with one buildkitd, in one workspace."""

    caller: Caller
    workspace: Path
    tokens: list[str] = field(default_factory=list)

    @contextmanager
    def cleaned_up(self) -> Iterator[None]:
        """Remove what the builds left, however they end; their failure is what counts."""
        before = self._records()
        try:
            yield
        finally:
            with suppress(OtherProgramFailed):
                remove_left(before, self._records, self._prune, self.tokens)
                self._forget()

    def run(self, platforms: Sequence[Platform], token: str) -> Build:
        """Build once; the host name in the build is the token, by which its history is known."""
        self.tokens.append(token)
        names = ",".join(platform.name for platform in platforms)
        archive = self.workspace / f"{token}.tar"
        options = (f"platform={names}", "force-network-mode=none", f"hostname={token}")
        with (
            workspace(self.workspace, context_files(platforms, token)) as context,
            self.caller.progress(f"buildkit builds {names.replace(',', ', ')}"),
        ):
            done = self.caller.ask(
                (
                    *("buildctl", "build", "--frontend", "dockerfile.v0", "--no-cache"),
                    *(word for option in options for word in ("--opt", option)),
                    *("--progress", "plain", "--output", f"type=oci,dest={archive}"),
                    *("--local", f"dockerfile={context}", "--local", f"context={context}"),
                ),
                seconds=self.caller.limits.for_build(platforms),
            )  # fmt: skip
        return done, None if done.status else index_in_archive(archive, "buildkit")

    def _records(self) -> tuple[CacheRecord, ...] | None:
        return parse_du(self.caller.ask(("buildctl", "du", "--verbose")))

    def _prune(self, ids: str) -> None:
        self.caller.ask(("buildctl", "prune", "--all", "--filter", f"id~={ids}"))

    def _forget(self) -> None:
        """Remove our builds from the history, where this buildkitd keeps one."""
        argv = ("buildctl", "debug", "histories", "--format", "{{json .}}")
        for line in self.caller.ask(argv).output.splitlines():
            record = as_object(object_in(line).get("record"))
            attributes = as_object(record.get("FrontendAttrs"))
            if as_text(attributes.get("hostname")) in self.tokens:
                ref = as_text(record.get("Ref"))
                self.caller.ask(("buildctl", "debug", "ctl", "--delete", ref))
