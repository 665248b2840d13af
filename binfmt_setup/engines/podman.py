"""podman and buildah: their versions, and a build in a store that exists for it alone.

The store lies beside the user's own, on the same file system and with the same driver, so
that what hinders a build there hinders ours; removing its directory removes everything.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.diagnosis.judge import Finding
from binfmt_setup.engines.answers import EngineReport, try_builds
from binfmt_setup.engines.build_log import as_object, as_text, context_files, platforms_of_index
from binfmt_setup.engines.call import engine_failed
from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import Record, replace
from binfmt_setup.system.scratch import workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from binfmt_setup.engines.answers import Build, Question
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.model.targets import Platform

OLDEST = {"podman": (3, 0), "buildah": (1, 19)}
"""The first with several --platform in one build and --manifest (their release notes)."""


class StoreFacts(Record):
    """What an engine without a daemon says of itself; `root` is where its store is."""

    version: str
    root: str = ""
    driver: str = ""
    options: tuple[str, ...] = ()
    rootless: bool = False
    remote: bool = False


def parse_info(version: str, answer: Mapping[str, object]) -> StoreFacts:
    """Read `podman info --format json` or `buildah info`, which spell keys differently."""
    store = {key.lower(): value for key, value in as_object(answer.get("store")).items()}
    host = as_object(answer.get("host"))
    security = as_object(host.get("security"))
    own = as_text(as_object(answer.get("version")).get("Version"))
    return StoreFacts(
        version or own,
        as_text(store.get("graphroot")),
        as_text(store.get("graphdrivername")),
        _store_options(as_object(store.get("graphoptions"))),
        rootless=security.get("rootless") is True or host.get("rootless") is True,
        remote=host.get("serviceIsRemote") is True,
    )


def _store_options(options: Mapping[str, object]) -> tuple[str, ...]:
    """Options of the storage driver: texts, or objects that name a program."""
    found = []
    for key, value in options.items():
        text = as_text(value) or as_text(as_object(value).get("Executable"))
        if text:
            found.append(f"{key}={text}")
    return tuple(found)


def ask_podman(caller: Caller, engine: str, question: Question) -> EngineReport:
    """Ask podman or buildah; raises OtherProgramFailed when it fails to answer."""
    facts = _facts(caller, engine)
    report = EngineReport(engine, version=facts.version)
    if (0, 0) < version_pair(facts.version) < OLDEST[engine]:
        first = ".".join(map(str, OLDEST[engine]))
        return replace(report, findings=(Finding(
            "engine-too-old", "error",
            f"{engine}: {facts.version} builds for one platform only; {first} can do more",
            f"update {engine}",
        ),))  # fmt: skip
    if facts.remote:
        raise EnvironmentUnfit(
            f"{engine} speaks to a service on another machine here",
            hint="run binfmt-setup check on that machine", code="engine-remote",
        )  # fmt: skip
    built = _build(caller, engine, facts, question)
    more = tuple(_explained(caller, engine, question, finding) for finding in built.findings)
    kind = "rootless, " if facts.rootless else ""
    details = f"{kind}store {facts.driver or 'of its own choice'}"
    return replace(built, version=facts.version, details=details, findings=more)


def _facts(caller: Caller, engine: str) -> StoreFacts:
    if engine == "podman":
        return parse_info("", caller.ask_for_json(("podman", "info", "--format", "json")))
    version = as_text(caller.ask_for_json(("buildah", "version", "--json")).get("version"))
    return parse_info(version, caller.ask_for_json(("buildah", "info")))


def _build(caller: Caller, engine: str, facts: StoreFacts, question: Question) -> EngineReport:
    """The builds, in a workspace beside the user's store."""
    near = facts.root.rstrip("/").rpartition("/")[0] or "/var/tmp"  # noqa: S108 - ours inside
    with ExitStack() as stack:
        try:
            where = stack.enter_context(workspace(Path(caller.host.path(near)), {}))
            # A path of more than 50 characters is refused here, and a home directory is long.
            state = stack.enter_context(workspace(Path("/tmp"), {}))  # noqa: S108 - our own in it
        except PermissionError as error:
            raise PrivilegesMissing(
                f"cannot write beside {engine}'s store, in {near}",
                hint="run as root or as the owner of that store",
            ) from error
        return try_builds(
            engine, question.platforms, _StoreBuild(caller, engine, facts, where, state).run,
            together=True,
        )  # fmt: skip


class _StoreBuild(Record):
    """Builds with one engine: layers in `workspace`, what only runs in `state`."""

    caller: Caller
    engine: str
    facts: StoreFacts
    workspace: Path
    state: Path

    def run(self, platforms: Sequence[Platform], token: str) -> Build:
        """Build once, into a manifest list of the token's name."""
        names = ",".join(platform.name for platform in platforms)
        files = context_files(platforms, token)
        never = "--pull=never" if self.engine == "podman" else "--pull-never"
        with (
            workspace(self.workspace, files) as context,
            self.caller.progress(f"{self.engine} builds {names.replace(',', ', ')}"),
        ):
            done = self.caller.ask(
                (
                    *self._engine, "build", "--platform", names, "--network=none", "--no-cache",
                    never, "--manifest", f"localhost/{token}", str(context),
                ),
                seconds=self.caller.limits.for_build(platforms),
            )  # fmt: skip
        return done, None if done.status else self._index(token)

    @property
    def _engine(self) -> tuple[str, ...]:
        """The engine, told to use our store, with the driver and options of the user's."""
        driver = ("--storage-driver", self.facts.driver) if self.facts.driver else ()
        options = tuple(word for o in self.facts.options for word in ("--storage-opt", o))
        root, run = f"{self.workspace}/root", f"{self.state}/run"
        return (self.engine, "--root", root, "--runroot", run, *driver, *options)

    def _index(self, token: str) -> frozenset[str]:
        argv = (*self._engine, "manifest", "inspect", f"localhost/{token}")
        done = self.caller.ask(argv)
        try:
            document = as_object(json.loads(done.output))
        except ValueError as error:
            raise engine_failed(argv, done, "gave no JSON object") from error
        return platforms_of_index(document, lambda _: {})


def _explained(caller: Caller, engine: str, question: Question, finding: Finding) -> Finding:
    """A failed build of a platform that runs outside: a registry of its own may hide it."""
    if finding.code != "engine-build-failed" or finding.platform not in question.running:
        return finding
    if caller.host.user_and_machine()[0] != 0 and _own_registry(caller, engine):
        return replace(
            finding, code="engine-own-registry",
            message=f"{finding.message}: its user namespace has a registry of its own, "
            "which hides this host's",
            hint=f"register inside it: {engine} unshare binfmt-setup install --private "
            f"--no-persist {finding.platform}",
        )  # fmt: skip
    return replace(finding, message=f"{finding.message}, though they run on this host")


def _own_registry(caller: Caller, engine: str) -> bool:
    """Whether the engine's user namespace sees another binfmt_misc than this process."""
    done = caller.ask((engine, "unshare", "stat", "-c", "%d", BINFMT_MISC))
    outside = caller.host.status_of(BINFMT_MISC)
    return outside is not None and done.output.strip() not in ("", str(outside.st_dev))
