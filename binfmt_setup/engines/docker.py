"""Docker: its versions, the builder in use, and a build with buildx or the built-in BuildKit.

Sources: Docker's engine API (/version, /info), docs/reference of buildx, and the recorded
outputs in tests/cases/engines.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.judge import Finding
from binfmt_setup.engines.answers import EngineReport, try_builds
from binfmt_setup.engines.build_log import as_list, as_object, as_text, object_in
from binfmt_setup.engines.buildx import (
    Builder,
    builder_findings,
    built_elsewhere,
    parse_builder,
    reason_not_to_ask,
)
from binfmt_setup.engines.call import engine_failed
from binfmt_setup.engines.docker_build import DockerBuild, own_settings
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import Record, replace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from binfmt_setup.engines.answers import Question
    from binfmt_setup.engines.call import Caller

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
    for who, version in (("client", facts.client), ("daemon", facts.server)):
        if (0, 0) < version_pair(version) < OLDEST:
            return (Finding(
                "engine-too-old", "error",
                f"docker: the {who} is {version}; 19.03 is the first that builds for a platform",
                "update Docker",
            ),)  # fmt: skip
    old = version_pair(facts.server) < FIRST_WITHOUT_EXPERIMENTAL
    if old and not facts.server_experimental:
        return (Finding(
            "experimental-off", "error",
            f"docker: {facts.server} takes --platform only with experimental features on",
            'put {"experimental": true} into /etc/docker/daemon.json and restart Docker',
        ),)  # fmt: skip
    return ()


def without_buildx(facts: DockerFacts, *, several: bool, named: bool) -> Finding | None:
    """What the lack of buildx means for a client of this version."""
    if version_pair(facts.client) >= FIRST_BUILDKIT_IN_BUILDX:
        return Finding(
            "buildx-missing", "error",
            f"docker: the client {facts.client} builds with BuildKit through buildx alone, "
            "which is not there",
            "install docker-buildx (Debian, Ubuntu) or docker-buildx-plugin (Docker's packages)",
        )  # fmt: skip
    if not several:
        return None
    hint = "install buildx, or build for each platform alone"
    if version_pair(facts.client) < FIRST_WITHOUT_EXPERIMENTAL and not facts.client_experimental:
        hint += "; this client shows buildx only with DOCKER_CLI_EXPERIMENTAL=enabled"
    return Finding(
        "buildx-missing", "error" if named else "warning",
        "docker: without buildx no build makes one image of several platforms", hint,
    )  # fmt: skip


def ask_docker(caller: Caller, question: Question) -> EngineReport:
    """Ask Docker; raises OtherProgramFailed when it fails to answer."""
    with own_settings(caller) as (own, workspace):
        facts = parse_version(_version(own))
        report = EngineReport("docker", version=facts.server or facts.client)
        if not facts.server:
            return replace(report, findings=(_why_unreachable(own),))
        facts = parse_info(facts, own.ask_for_json(("docker", "info", "--format", "{{json .}}")))
        stop = version_findings(facts)
        if stop:
            return replace(report, findings=stop)
        builder = _builder(own)
        stop, findings = _before_building(facts, builder, question)
        if stop:
            return replace(report, findings=stop)
        capable = builder is not None and (builder.driver != "docker" or facts.containerd_store)
        with DockerBuild(own, workspace, builder is not None, capable).cleaned_up() as build:
            built = try_builds("docker", question.platforms, build.run, together=capable)
        more = tuple(_explained(own, facts, question, finding) for finding in built.findings)
    return replace(
        built, version=facts.server, findings=findings + more, details=_details(facts, builder),
        elsewhere=built_elsewhere(builder, question.platforms) if builder else frozenset(),
    )  # fmt: skip


def _details(facts: DockerFacts, builder: Builder | None) -> str:
    kind = "rootless, " if facts.rootless else ""
    if builder is None:
        return f"{kind}its built-in BuildKit"
    return f"{kind}builder {builder.name}, driver {builder.driver}"


def _before_building(
    facts: DockerFacts, builder: Builder | None, question: Question
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """What keeps from building at all, and what else can be told without it."""
    if builder is not None:
        stop = reason_not_to_ask(builder)
        store = facts.containerd_store
        return (stop,) if stop else (), builder_findings(builder, question, containerd_store=store)
    several = len(question.platforms) > 1
    missing = without_buildx(facts, several=several, named=question.named)
    found = (missing,) if missing else ()
    needed = version_pair(facts.client) >= FIRST_BUILDKIT_IN_BUILDX
    return (found, ()) if needed else ((), found)


def _version(caller: Caller) -> Mapping[str, object]:
    """`docker version`, which answers with status 1 and its own part when no daemon does."""
    argv = ("docker", "version", "--format", "{{json .}}")
    done = caller.ask(argv)
    answer = object_in(done.output)
    if not as_object(answer.get("Client")):
        raise engine_failed(argv, done, "gave no JSON object")
    return answer


def _why_unreachable(caller: Caller) -> Finding:
    """No daemon answered: forbidden, or not there; decided by the errno of connecting."""
    endpoint = caller.environment.get("DOCKER_HOST") or _endpoint(caller)
    path = endpoint.removeprefix("unix://")
    number = caller.host.connect_errno(path) if path.startswith("/") else 0
    if number in (errno.EACCES, errno.EPERM):
        return Finding(
            "access-denied", "error",
            f"docker: this user may not speak to the daemon at {endpoint}",
            "run as root, or as a member of the group docker (which is as good as root)",
        )  # fmt: skip
    why = f": {errno.errorcode.get(number, number)}" if number else ""
    return Finding(
        "daemon-unreachable", "error", f"docker: no daemon answers at {endpoint}{why}",
        "start it: systemctl start docker; or say where it is: docker context use NAME",
    )  # fmt: skip


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
        raise engine_failed(argv, done)
    builder = parse_builder(done.output)
    if builder is None:
        raise engine_failed(argv, done, "described no builder")
    nodes = tuple(
        replace(node, endpoint=_endpoint(caller, node.endpoint))
        if "://" not in node.endpoint and builder.driver in ("docker", "docker-container")
        else node
        for node in builder.nodes
    )
    return replace(builder, nodes=nodes)


def _explained(caller: Caller, facts: DockerFacts, question: Question, finding: Finding) -> Finding:
    """A failed build of a platform that runs outside: then the cause lies with the engine."""
    if finding.code != "engine-build-failed" or finding.platform not in question.running:
        return finding
    if facts.rootless and _own_registry(caller):
        return replace(
            finding, code="engine-own-registry",
            message=f"{finding.message}: rootless Docker has a registry of its own, "
            "which hides this host's",
            hint="register inside it: nsenter -U -m --preserve-credentials -t $(cat "
            "$XDG_RUNTIME_DIR/dockerd-rootless/child_pid) binfmt-setup install --private "
            f"--no-persist {finding.platform}",
        )  # fmt: skip
    enforcing = ", ".join(o.removeprefix("name=") for o in facts.security if "cgroupns" not in o)
    return replace(
        finding, message=f"{finding.message}, though they run on this host",
        hint=f"{finding.hint}; in force are: {enforcing or 'no security options'}",
    )  # fmt: skip


def _own_registry(caller: Caller) -> bool:
    """Whether rootless Docker's namespace sees another binfmt_misc than this process."""
    directory = caller.environment.get("XDG_RUNTIME_DIR", "")
    pid = caller.host.text(f"{directory}/dockerd-rootless/child_pid").strip()
    inside = caller.host.status_of(f"/proc/{pid}/root{BINFMT_MISC}") if pid else None
    outside = caller.host.status_of(BINFMT_MISC)
    return bool(inside and outside and inside.st_dev != outside.st_dev)
