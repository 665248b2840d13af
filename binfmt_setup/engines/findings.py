"""Every sentence about engines: what keeps them from building, and what builds have shown."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.verdict import Finding
from binfmt_setup.model.errors import (
    EnvironmentUnfit,
    OtherProgramFailed,
    PrivilegesMissing,
    UsageProblem,
)
from binfmt_setup.model.records import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from binfmt_setup.diagnosis.verdict import Severity
    from binfmt_setup.engines.build_log import ProbeFailure
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.programs import Completed

# -- any engine: whether it can be asked ----------------------------------------------------


def unknown_engine(name: str, engines: Sequence[str]) -> UsageProblem:
    """--engine names none that is known."""
    known = ", ".join(engines)
    return UsageProblem(f"unknown engine {name!r}", hint=f"engines are {known}, or auto")


def none_installed(engines: Sequence[str], places: str) -> Finding:
    """`auto`, and there is no engine at all."""
    return Finding(
        "engine-missing", "error", f"no container engine is installed in {places}",
        f"install one of {', '.join(engines)}",
    )  # fmt: skip


def not_installed(engine: str, places: str) -> Finding:
    """An engine was named whose program is not there."""
    return Finding(
        "engine-missing", "error", f"{engine} is not installed in {places}", f"install {engine}"
    )


def too_old(engine: str, what: str, version: str, first: str) -> Finding:
    """An engine, or a part of it, that cannot do what is asked."""
    return Finding(
        "engine-too-old", "error",
        f"{engine}: {what} is {version}; {first} is the first that builds for several platforms",
        f"update {engine}",
    )  # fmt: skip


def engine_failed(argv: Sequence[str], done: Completed, what: str = "") -> OtherProgramFailed:
    """An engine that failed by itself, with everything it printed."""
    said = "\n".join(part for part in (done.output.strip(), done.errors.strip()) if part)
    return OtherProgramFailed(
        f"`{shlex.join(argv)}` {what or f'failed with status {done.status}'}; it said:\n"
        f"{said or 'nothing'}",
        hint=f"repair {argv[0]}, or leave it out of --engine", code="engine-failed",
    )  # fmt: skip


def too_slow(engine: str, message: str) -> OtherProgramFailed:
    """An engine that was ended, with what it had said."""
    return OtherProgramFailed(
        message, hint=f"see what keeps {engine} busy, and try again", code="engine-timeout"
    )


def no_preparation(engine: str, error: OSError) -> OtherProgramFailed:
    """The files of a build could not be written."""
    return OtherProgramFailed(
        f"cannot prepare a build for {engine}: {error.filename or engine}: {error.strerror}",
        hint="free some space there, or leave it out of --engine", code="engine-failed",
    )  # fmt: skip


def remote_service(engine: str) -> EnvironmentUnfit:
    """The engine here is a client of another machine."""
    return EnvironmentUnfit(
        f"{engine} speaks to a service on another machine here",
        hint="run binfmt-setup check on that machine", code="engine-remote",
    )  # fmt: skip


def no_right_beside_store(engine: str, directory: str) -> PrivilegesMissing:
    """Our own store, which lies beside the user's, could not be made."""
    return PrivilegesMissing(
        f"cannot write beside {engine}'s store, in {directory}",
        hint="run as root or as the owner of that store",
    )


# -- any engine: what builds show -----------------------------------------------------------


def did_not_run(engine: str, platform: Platform, failure: ProbeFailure) -> Finding:
    """The probe did not run in a build."""
    name = platform.name
    hints = {
        "ENOEXEC": f"run: binfmt-setup install {name}",
        "ENOENT": f"run: binfmt-setup install {name}",
        "EACCES": "look for SELinux or AppArmor denials: journalctl -k -g denied",
        "EPERM": "the engine's seccomp profile or security options forbid it",
    }
    hint = hints.get(failure.errno, f"run the same build by hand: {engine} build --platform {name}")
    if failure.blocked_call:
        hint = "the engine's seccomp profile refuses a system call that the emulator makes"
    return Finding(
        "engine-build-failed", "error",
        f"{name}: {engine} cannot run its programs in a build: {failure}", hint, name,
    )  # fmt: skip


def runs_outside(finding: Finding, hint: str = "") -> Finding:
    """A failed build of a platform that runs on this host: the cause lies with the engine."""
    message = f"{finding.message}, though they run on this host"
    return replace(finding, message=message, hint=hint or finding.hint)


def own_registry(finding: Finding, whose: str, enter: str) -> Finding:
    """A failed build in a user namespace that does not see this host's entries."""
    return replace(
        finding, code="engine-own-registry",
        message=f"{finding.message}: {whose} has a registry of its own, which hides this host's",
        hint=f"register inside it: {enter} binfmt-setup install --private --no-persist "
        f"{finding.platform}",
    )  # fmt: skip


def built_natively(engine: str, platform: Platform, ran: Iterable[str]) -> Finding:
    """--platform was ignored."""
    return Finding(
        "built-natively", "error",
        f"{platform.name}: {engine} built for {', '.join(sorted(ran))} instead and said nothing",
        f"see what {engine} makes of --platform: it may be too old, or the builder fixed to one",
        platform.name,
    )  # fmt: skip


def not_in_index(engine: str, platform: Platform, index: Iterable[str]) -> Finding:
    """The result lacks a platform whose probe ran."""
    holds = ", ".join(sorted(index)) or "no platform at all"
    return Finding(
        "index-incomplete", "error",
        f"{platform.name}: the index that {engine} wrote holds {holds}",
        f"update {engine}", platform.name,
    )  # fmt: skip


def not_built(platform: Platform, engines: Sequence[str]) -> Finding:
    """Engines that could not be asked; their own finding says why."""
    return Finding(
        "not-built", "error", f"{platform.name}: not built by {', '.join(engines)}", "",
        platform.name,
    )  # fmt: skip


# -- docker ---------------------------------------------------------------------------------


def experimental_off(version: str) -> Finding:
    """Docker 19.03 without the switch that it wants."""
    return Finding(
        "experimental-off", "error",
        f"docker: {version} takes --platform only with experimental features on",
        'put {"experimental": true} into /etc/docker/daemon.json and restart Docker',
    )  # fmt: skip


def buildx_needed(version: str) -> Finding:
    """A client without BuildKit of its own, and without buildx."""
    return Finding(
        "buildx-missing", "error",
        f"docker: the client {version} builds with BuildKit through buildx alone, "
        "which is not there",
        "install docker-buildx (Debian, Ubuntu) or docker-buildx-plugin (Docker's packages)",
    )  # fmt: skip


def buildx_for_several(severity: Severity, *, hidden: bool) -> Finding:
    """No buildx: each platform can be built, one image of several cannot."""
    hint = "install buildx, or build for each platform alone"
    if hidden:
        hint += "; this client shows buildx only with DOCKER_CLI_EXPERIMENTAL=enabled"
    return Finding(
        "buildx-missing", severity,
        "docker: without buildx no build makes one image of several platforms", hint,
    )  # fmt: skip


def daemon_denies(endpoint: str) -> Finding:
    """The socket is there and not for this user."""
    return Finding(
        "access-denied", "error",
        f"docker: this user may not speak to the daemon at {endpoint}",
        "run as root, or as a member of the group docker (which is as good as root)",
    )  # fmt: skip


def daemon_unreachable(endpoint: str, errno_name: str) -> Finding:
    """Nobody answers."""
    why = f": {errno_name}" if errno_name else ""
    return Finding(
        "daemon-unreachable", "error", f"docker: no daemon answers at {endpoint}{why}",
        "start it: systemctl start docker; or say where it is: docker context use NAME",
    )  # fmt: skip


def node_broken(builder: str, node: str, endpoint: str, error: str) -> Finding:
    """A node of the builder gave an error instead of a description."""
    return Finding(
        "builder-unsuitable", "error",
        f"docker: node {node} of builder {builder} does not answer: {error}",
        f"repair it, or choose another builder: docker buildx use NAME ({endpoint})",
    )  # fmt: skip


def builder_stopped(builder: str, status: str) -> Finding:
    """A builder that does not run; to start it may pull an image."""
    return Finding(
        "builder-unsuitable", "error", f"docker: builder {builder} is {status or 'not running'}",
        f"run: docker buildx inspect --bootstrap {builder}",
    )  # fmt: skip


def builder_for_one(builder: str, severity: Severity) -> Finding:
    """The image store of this daemon holds no image of several platforms."""
    return Finding(
        "builder-unsuitable", severity,
        f"docker: builder {builder} (driver docker, without the containerd image store) "
        "makes no image of several platforms",
        "run: docker buildx create --use --driver docker-container, or switch the containerd "
        "image store on",
    )  # fmt: skip


def builder_stale(builder: str, platforms: Sequence[str], refresh: str, *, listed: bool) -> Finding:
    """The builder's list and the kernel disagree."""
    words = ("still lists", "does not run") if listed else ("does not list", "runs")
    return Finding(
        "builder-stale", "warning",
        f"docker: builder {builder} {words[0]} {', '.join(platforms)}, "
        f"which this kernel {words[1]}",
        refresh,
    )  # fmt: skip


def built_by_node(platform: str, node: str, endpoint: str, *, native: bool) -> Finding:
    """Another machine builds this platform."""
    words = "emulates it: this host's registry has no part in it"
    if native:
        words = "lists it first, as its own: no emulation is needed for it here"
    return Finding("builder-node", "info", f"{platform}: node {node} at {endpoint} {words}")
