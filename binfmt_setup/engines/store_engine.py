"""Engines without a daemon: a build in a store that exists for it alone.

The store lies beside the user's own, on the same file system and with the same driver, so
that what hinders a build there hinders ours; removing its directory removes everything.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from contextlib import ExitStack, contextmanager
from pathlib import Path

from binfmt_setup.diagnosis.finding import Finding
from binfmt_setup.engines import catalogue as known
from binfmt_setup.engines import findings
from binfmt_setup.engines.build_log import as_object, as_text, context_files, platforms_of_index
from binfmt_setup.engines.interface import SETTINGS_VARIABLES, Engine, Session
from binfmt_setup.model.facts import version_pair
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import Record
from binfmt_setup.system.scratch import workspace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import ClassVar

    from binfmt_setup.engines.answers import Build, Question
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.model.targets import Platform


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


class StoreEngine(Engine):
    """What podman and buildah share: no daemon, and a store in the file system."""

    variables: ClassVar[tuple[str, ...]] = (
        *SETTINGS_VARIABLES,
        *("CONTAINER_HOST", "CONTAINER_CONNECTION", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"),
        *("STORAGE_DRIVER", "BUILDAH_ISOLATION"),
    )
    no_pull: ClassVar[str]

    @abstractmethod
    def facts(self, caller: Caller) -> StoreFacts:
        """What the engine says of itself; raises OtherProgramFailed when it says nothing."""

    @contextmanager
    def session(self, caller: Caller) -> Iterator[StoreSession]:
        """Ask for version and store."""
        facts = self.facts(caller)
        if facts.remote:
            raise findings.remote_service(self.name)
        yield StoreSession(self, caller, facts)


class StoreSession(Session):
    """podman or buildah, and what it said of its store."""

    def __init__(self, engine: StoreEngine, caller: Caller, facts: StoreFacts) -> None:
        self._engine, self._caller, self._facts = engine, caller, facts
        self.version = facts.version
        kind = "rootless, " if facts.rootless else ""
        self.details = f"{kind}store {facts.driver or 'of its own choice'}"

    def obstacles(self, question: Question) -> tuple[Finding, ...]:  # noqa: ARG002
        """A version that builds for one platform only."""
        oldest = self._engine.oldest
        if not (0, 0) < version_pair(self.version) < oldest:
            return ()
        first = ".".join(map(str, oldest))
        fact = known.EngineTooOld(self._engine.name, "its version", self.version, first)
        return (Finding(fact),)

    def remarks(self, question: Question) -> tuple[Finding, ...]:  # noqa: ARG002
        """Nothing: without a daemon there is no builder to be stale."""
        return ()

    @contextmanager
    def builds(self) -> Iterator[Callable[[Sequence[Platform], str], Build]]:
        """Builds in a workspace beside the user's store."""
        near = self._facts.root.rstrip("/").rpartition("/")[0] or "/var/tmp"  # noqa: S108 - ours inside
        with ExitStack() as stack:
            try:
                where = stack.enter_context(workspace(Path(self._caller.host.path(near)), {}))
                # A path of more than 50 characters is refused here, and a home directory is long.
                state = stack.enter_context(workspace(Path("/tmp"), {}))  # noqa: S108 - our own in it
            except PermissionError as error:
                raise findings.no_right_beside_store(self._engine.name, near) from error
            yield _StoreBuild(self._caller, self._engine, self._facts, where, state).run

    def cause(self, finding: Finding, failed: known.EngineBuildFailed) -> Finding:
        """A registry of its own may hide the platform."""
        name = self._engine.name
        if self._caller.host.user_and_machine()[0] != 0 and _own_registry(self._caller, name):
            return findings.own_registry(finding, failed, rootless_docker=False)
        return findings.runs_outside(finding, failed)


class _StoreBuild(Record):
    """Builds with one engine: layers in `workspace`, what only runs in `state`."""

    caller: Caller
    engine: StoreEngine
    facts: StoreFacts
    workspace: Path
    state: Path

    def run(self, platforms: Sequence[Platform], token: str) -> Build:
        """Build once, into a manifest list of the token's name."""
        names = ",".join(platform.name for platform in platforms)
        files = context_files(platforms, token)
        with (
            workspace(self.workspace, files) as context,
            self.caller.progress(f"{self.engine.name} builds {names.replace(',', ', ')}"),
        ):
            done = self.caller.ask(
                (
                    *self._command, "build", "--platform", names, "--network=none", "--no-cache",
                    self.engine.no_pull, "--manifest", f"localhost/{token}", str(context),
                ),
                seconds=self.caller.limits.for_build(platforms),
            )  # fmt: skip
        return done, None if done.status else self._index(token)

    @property
    def _command(self) -> tuple[str, ...]:
        """The engine, told to use our store, with the driver and options of the user's."""
        driver = ("--storage-driver", self.facts.driver) if self.facts.driver else ()
        options = tuple(word for o in self.facts.options for word in ("--storage-opt", o))
        root, run = f"{self.workspace}/root", f"{self.state}/run"
        return (self.engine.name, "--root", root, "--runroot", run, *driver, *options)

    def _index(self, token: str) -> frozenset[str]:
        argv = (*self._command, "manifest", "inspect", f"localhost/{token}")
        done = self.caller.ask(argv)
        try:
            document = as_object(json.loads(done.output))
        except ValueError as error:
            raise findings.engine_failed(argv, done, "gave no JSON object") from error
        return platforms_of_index(document, lambda _: {})


def _own_registry(caller: Caller, engine: str) -> bool:
    """Whether the engine's user namespace sees another binfmt_misc than this process."""
    done = caller.ask((engine, "unshare", "stat", "-c", "%d", BINFMT_MISC))
    outside = caller.host.status_of(BINFMT_MISC)
    return outside is not None and done.output.strip() not in ("", str(outside.st_dev))
