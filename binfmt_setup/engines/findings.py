"""The findings about engines, made of what builds have shown; and the errors of asking."""

from __future__ import annotations

import shlex

from binfmt_setup.diagnosis.finding import Finding, Remedy, shell
from binfmt_setup.engines import catalogue as known
from binfmt_setup.model.errors import (
    EnvironmentUnfit,
    OtherProgramFailed,
    PrivilegesMissing,
    UsageProblem,
)
from binfmt_setup.model.records import replace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from binfmt_setup.engines.build_log import ProbeFailure
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.programs import Completed


_ENTER_ROOTLESS_DOCKER = (
    "nsenter -U -m --preserve-credentials -t $(cat $XDG_RUNTIME_DIR/dockerd-rootless/child_pid)"
)


def unknown_engine(name: str, engines: Sequence[str]) -> UsageProblem:
    """--engine names none that is known."""
    known = ", ".join(engines)
    return UsageProblem(f"unknown engine {name!r}", hint=f"engines are {known}, or auto")


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


def did_not_run(engine: str, platform: Platform, failure: ProbeFailure) -> Finding:
    """The probe did not run in a build: a missing entry, or what the engine forbids."""
    name = platform.name
    remedy: Remedy | None = Remedy((engine, "build", "--platform"), name, complete=False)
    if failure.blocked_call or failure.errno == "EPERM":
        remedy = None  # a seccomp profile is changed in no single command
    elif failure.errno in ("ENOEXEC", "ENOENT"):
        remedy = Remedy(("binfmt-setup", "install"), name)
    elif failure.errno == "EACCES":
        remedy = Remedy(("journalctl", "-k", "-g", "denied"))
    return Finding(known.EngineBuildFailed(engine, failure), name, remedy)


def failed_build(finding: Finding) -> known.EngineBuildFailed | None:
    """What did not run in a build; None where a finding is about something else."""
    return finding.fact if isinstance(finding.fact, known.EngineBuildFailed) else None


def runs_outside(
    finding: Finding, failed: known.EngineBuildFailed, options: tuple[str, ...] | None = None
) -> Finding:
    """A failed build of a platform that runs on this host: the cause lies with the engine."""
    return replace(finding, fact=replace(failed, outside=True, options=options))


def own_registry(
    finding: Finding, failed: known.EngineBuildFailed, *, rootless_docker: bool
) -> Finding:
    """A failed build in a user namespace that does not see this host's entries."""
    enter = _ENTER_ROOTLESS_DOCKER if rootless_docker else f"{failed.engine} unshare"
    install = f"binfmt-setup install --private --no-persist {finding.platform}"
    fact = known.EngineOwnRegistry(failed.engine, failed.failure, rootless_docker)
    return Finding(fact, finding.platform, shell(f"{enter} {install}"))


def built_natively(engine: str, platform: Platform, ran: Iterable[str]) -> Finding:
    """--platform was ignored."""
    return Finding(known.BuiltNatively(engine, tuple(sorted(ran))), platform.name)


def not_in_index(engine: str, platform: Platform, index: Iterable[str]) -> Finding:
    """The result lacks a platform whose probe ran."""
    return Finding(known.IndexIncomplete(engine, tuple(sorted(index))), platform.name)


def builder_stopped(builder: str, driver: str, status: str, endpoint: str) -> Finding:
    """A builder that does not run: to start it may pull an image; buildx starts no remote one."""
    if driver == "remote":
        return Finding(known.BuilderStopped(builder, status, endpoint))
    start = Remedy(("docker", "buildx", "inspect", "--bootstrap", builder))
    return Finding(known.BuilderStopped(builder, status), remedy=start)


def builder_for_one(builder: str, *, named: bool) -> Finding:
    """The image store of this daemon holds no image of several platforms."""
    create = ("docker", "buildx", "create", "--use", "--driver", "docker-container")
    return Finding(known.BuilderForOne(builder, named), remedy=Remedy(create))


def builder_stale(fact: known.BuilderStale) -> Finding:
    """The builder's list and the kernel disagree: it has to look again."""
    again = None
    if fact.driver == "docker-container":
        name = shlex.quote(fact.builder)
        again = shell(f"docker buildx stop {name} && docker buildx inspect --bootstrap {name}")
    elif fact.driver == "docker":
        again = Remedy(("systemctl", "restart", "docker"))
    return Finding(fact, remedy=again)
