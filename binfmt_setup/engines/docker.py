"""Docker: its versions, the builder in use, and a build with buildx or the built-in BuildKit.

Sources: Docker's engine API (/version, /info), docs/reference of buildx, and the recorded
outputs in tests/cases/engines.
"""

from __future__ import annotations

import errno
from contextlib import contextmanager

from binfmt_setup.diagnosis.finding import Finding
from binfmt_setup.engines import catalogue as known
from binfmt_setup.engines import findings
from binfmt_setup.engines.build_log import as_list, as_object, as_text, object_in
from binfmt_setup.engines.buildx import (
    Builder,
    builder_findings,
    built_elsewhere,
    parse_builder,
    reason_not_to_ask,
)
from binfmt_setup.engines.docker_build import DockerBuild, own_settings
from binfmt_setup.engines.interface import SETTINGS_VARIABLES, Engine, Session
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import Record, replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from binfmt_setup.engines.answers import Build, Question
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.model.targets import Platform


OLDEST = (19, 3)
"""The first Docker with BuildKit and `docker buildx` (release notes of 19.03)."""
FIRST_WITHOUT_EXPERIMENTAL = (20, 10)
"""Until here --platform and buildx wanted experimental features switched on."""
FIRST_BUILDKIT_IN_BUILDX = (23, 0)
"""From here on `docker build` has no BuildKit of its own (release notes of 23.0)."""
DEFAULT_SOCKET = "unix:///var/run/docker.sock"


class DockerFacts(Record):
    """What client and daemon say of themselves; `server` is empty when none answers."""

    client: str
    server: str = ""
    client_experimental: bool = False
    server_experimental: bool = False
    containerd_store: bool = False
    rootless: bool = False
    security: tuple[str, ...] = ()


def parse_version(answer: Mapping[str, object]) -> DockerFacts:
    """Read `docker version --format '{{json .}}'`."""
    client, server = as_object(answer.get("Client")), as_object(answer.get("Server"))
    return DockerFacts(
        client=as_text(client.get("Version")),
        server=as_text(server.get("Version")),
        client_experimental=client.get("Experimental") is True,
        server_experimental=server.get("Experimental") is True,
    )


def parse_info(facts: DockerFacts, answer: Mapping[str, object]) -> DockerFacts:
    """Add what `docker info --format '{{json .}}'` tells of the daemon."""
    rows = as_list(answer.get("DriverStatus"))
    status = [[as_text(word) for word in as_list(row)] for row in rows]
    security = tuple(map(as_text, as_list(answer.get("SecurityOptions"))))
    return replace(
        facts,
        containerd_store=["driver-type", "io.containerd.snapshotter.v1"] in status,
        server_experimental=facts.server_experimental or answer.get("ExperimentalBuild") is True,
        rootless="name=rootless" in security,
        security=security,
    )


def version_findings(facts: DockerFacts) -> tuple[Finding, ...]:
    """What a Docker of these versions cannot do at all."""
    for who, version in (("the client", facts.client), ("the daemon", facts.server)):
        if (0, 0) < version_pair(version) < OLDEST:
            return (Finding(known.EngineTooOld("docker", who, version, "19.03")),)
    old = (0, 0) < version_pair(facts.server) < FIRST_WITHOUT_EXPERIMENTAL
    if old and not facts.server_experimental:
        return (Finding(known.ExperimentalOff(facts.server)),)
    return ()


def without_buildx(facts: DockerFacts, *, several: bool, named: bool) -> Finding | None:
    """What the lack of buildx means for a client of this version."""
    if version_pair(facts.client) >= FIRST_BUILDKIT_IN_BUILDX:
        return Finding(known.BuildxMissing(facts.client))
    if not several:
        return None
    old = version_pair(facts.client) < FIRST_WITHOUT_EXPERIMENTAL
    hidden = old and not facts.client_experimental
    return Finding(known.BuildxForSeveral(facts.client, named, hidden))


class Docker(Engine):
    """Docker, with buildx or with the BuildKit in its daemon."""

    name = "docker"
    oldest = OLDEST
    variables = (
        *SETTINGS_VARIABLES,
        # Which daemon, and how to be let in.
        *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH"),
        *("DOCKER_TLS_VERIFY", "DOCKER_API_VERSION", "DOCKER_CLI_EXPERIMENTAL", "SSH_AUTH_SOCK"),
        # Which builder, with its settings.
        *("BUILDX_BUILDER", "BUILDX_CONFIG"),
        # Where the driver kubernetes finds its cluster.
        *("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"),
    )

    @contextmanager
    def session(self, caller: Caller) -> Iterator[DockerSession]:
        """Ask for version and settings; the client works on a copy of the user's settings."""
        with own_settings(caller) as (own, workspace):
            facts = parse_version(_version(own))
            if facts.server:
                argv = ("docker", "info", "--format", "{{json .}}")
                facts = parse_info(facts, own.ask_for_json(argv))
            # Of the drivers only `docker` needs the daemon: the builder is asked without one, too.
            builder = None if version_findings(facts) else _builder(own)
            yield DockerSession(own, workspace, facts, builder)


ENGINE = Docker()


class DockerSession(Session):
    """A Docker that has answered, and the builder in use; None without buildx."""

    def __init__(
        self, caller: Caller, workspace: Path, facts: DockerFacts, builder: Builder | None
    ) -> None:
        self._caller, self._workspace = caller, workspace
        self._facts, self._builder = facts, builder
        # Only an image store of containerd, or a builder of its own, holds several platforms.
        self.together = builder is not None and (not builder.of_daemon or facts.containerd_store)
        self.version = facts.server or facts.client
        kind = "rootless, " if facts.rootless else ""
        used = f"builder {builder.name}, driver {builder.driver}" if builder else ""
        self.details = f"{kind}{used or 'its built-in BuildKit'}"

    def obstacles(self, question: Question) -> tuple[Finding, ...]:
        """No builder, one that does not run, or the daemon that it needs missing or too old."""
        if not self._facts.server and (self._builder is None or self._builder.of_daemon):
            return (_why_unreachable(self._caller),)
        if self._builder is not None:
            stop = reason_not_to_ask(self._builder)
            return (stop,) if stop else ()
        return version_findings(self._facts) or self._without_buildx(question, needed=True)

    def remarks(self, question: Question) -> tuple[Finding, ...]:
        """What can be told of the builder, or of the lack of one."""
        if self._builder is None:
            return self._without_buildx(question, needed=False)
        store = self._facts.containerd_store
        return builder_findings(self._builder, question, containerd_store=store)

    def _without_buildx(self, question: Question, *, needed: bool) -> tuple[Finding, ...]:
        if needed is not (version_pair(self._facts.client) >= FIRST_BUILDKIT_IN_BUILDX):
            return ()
        several = len(question.platforms) > 1
        missing = without_buildx(self._facts, several=several, named=question.named)
        return (missing,) if missing else ()

    @contextmanager
    def builds(self) -> Iterator[Callable[[Sequence[Platform], str], Build]]:
        """Builds into a file; cache records and history of theirs are removed."""
        build = DockerBuild(self._caller, self._workspace, self._builder is not None, self.together)
        with build.cleaned_up():
            yield build.run

    def cause(self, finding: Finding, failed: known.EngineBuildFailed) -> Finding:
        """A registry of rootless Docker's own, or a security option of the daemon's."""
        if self._facts.rootless and _own_registry(self._caller):
            return findings.own_registry(finding, failed, rootless_docker=True)
        options = [o.removeprefix("name=") for o in self._facts.security if "cgroupns" not in o]
        return findings.runs_outside(finding, failed, tuple(options))

    def elsewhere(self, platforms: Sequence[Platform]) -> frozenset[str]:
        """The platforms that a node on another machine builds."""
        return built_elsewhere(self._builder, platforms) if self._builder else frozenset()


def _version(caller: Caller) -> Mapping[str, object]:
    """`docker version`, which answers with status 1 and its own part when no daemon does."""
    argv = ("docker", "version", "--format", "{{json .}}")
    done = caller.ask(argv)
    answer = object_in(done.output)
    if not as_object(answer.get("Client")):
        raise findings.engine_failed(argv, done, "gave no JSON object")
    return answer


def _why_unreachable(caller: Caller) -> Finding:
    """No daemon answered: forbidden, or not there; decided by the errno of connecting."""
    endpoint = caller.environment.get("DOCKER_HOST") or _endpoint(caller)
    path = endpoint.removeprefix("unix://")
    number = caller.host.connect_errno(path) if path.startswith("/") else 0
    if number in (errno.EACCES, errno.EPERM):
        return Finding(known.DaemonDenies(endpoint))
    name = errno.errorcode.get(number, str(number)) if number else ""
    return Finding(known.DaemonUnreachable(endpoint, name))


def _endpoint(caller: Caller, context: str = "") -> str:
    """Where a context (the current one, when none is named) finds its daemon."""
    names = (context,) if context else ()
    done = caller.ask(("docker", "context", "inspect", "--format", "{{json .}}", *names))
    endpoints = as_object(object_in(done.output).get("Endpoints"))
    return as_text(as_object(endpoints.get("docker")).get("Host")) or DEFAULT_SOCKET


def _builder(caller: Caller) -> Builder | None:
    """The builder in use; None without buildx. Raises OtherProgramFailed when it talks nonsense.

    A plugin that is missing or does not introduce itself is none for Docker: it then takes
    `buildx` for an unknown word, and its own `info` is the one that says so in data.
    """
    argv = ("docker", "buildx", "inspect")
    done = caller.ask(argv)
    if done.status:
        if caller.ask(("docker", "buildx", "version")).status:
            return None
        raise findings.engine_failed(argv, done)
    builder = parse_builder(done.output)
    if builder is None:
        raise findings.engine_failed(argv, done, "described no builder")
    nodes = tuple(
        replace(node, endpoint=_endpoint(caller, node.endpoint))
        if "://" not in node.endpoint and builder.driver in ("docker", "docker-container")
        else node
        for node in builder.nodes
    )
    return replace(builder, nodes=nodes)


def _own_registry(caller: Caller) -> bool:
    """Whether rootless Docker's namespace sees another binfmt_misc than this process."""
    directory = caller.environment.get("XDG_RUNTIME_DIR", "")
    pid = caller.host.text(f"{directory}/dockerd-rootless/child_pid").strip()
    inside = caller.host.status_of(f"/proc/{pid}/root{BINFMT_MISC}") if pid else None
    outside = caller.host.status_of(BINFMT_MISC)
    return bool(inside and outside and inside.st_dev != outside.st_dev)
