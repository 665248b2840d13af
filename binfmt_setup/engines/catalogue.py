"""Every finding about container engines, each code once; `report.words` has the sentences."""

from __future__ import annotations

from binfmt_setup.diagnosis.catalogue import AccessDenied
from binfmt_setup.diagnosis.finding import Fact, Note, Risk

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.diagnosis.finding import Severity
    from binfmt_setup.engines.build_log import ProbeFailure


class EngineMissing(Fact):
    """An engine was named whose program is not in `places`; without a name any of `engines`."""

    code = "engine-missing"
    places: str
    engines: tuple[str, ...]


class NoEngine(EngineMissing):
    """`auto`, and there is no engine at all."""


class EngineTooOld(Fact):
    """An engine, or a part of it, that cannot do what is asked before version `first`."""

    code = "engine-too-old"
    engine: str
    part: str
    version: str
    first: str


class EngineBuildFailed(Fact):
    """The probe did not run in a build; `outside` when it ran on this host.

    `options` are the security options that the engine enforces, None when they are not known.
    """

    code = "engine-build-failed"
    engine: str
    failure: ProbeFailure
    outside: bool = False
    options: tuple[str, ...] | None = None


class EngineOwnRegistry(Fact):
    """A build failed in a user namespace that does not see this host's entries."""

    code = "engine-own-registry"
    engine: str
    failure: ProbeFailure
    rootless_docker: bool


class BuiltNatively(Fact):
    """--platform was ignored."""

    code = "built-natively"
    engine: str
    ran: tuple[str, ...]


class IndexIncomplete(Fact):
    """The result lacks a platform whose probe ran."""

    code = "index-incomplete"
    engine: str
    holds: tuple[str, ...]


class NotBuilt(Fact):
    """Engines that could not be asked; their own finding says why."""

    code = "not-built"
    engines: tuple[str, ...]


class ExperimentalOff(Fact):
    """Docker 19.03 without the switch that it wants."""

    code = "experimental-off"
    version: str


class BuildxMissing(Fact):
    """A client without BuildKit of its own, and without buildx."""

    code = "buildx-missing"
    version: str


class BuildxForSeveral(BuildxMissing):
    """No buildx: each platform can be built, one image of several cannot.

    `hidden` when the client may have it and shows it only in experimental mode.
    """

    named: bool
    hidden: bool

    @property
    def severity(self) -> Severity:
        """An error for who named several platforms."""
        return "error" if self.named else "warning"


class DaemonDenies(Fact):
    """The socket is there and not for this user."""

    code = AccessDenied.code
    endpoint: str
    engine: str = "docker"


class DaemonUnreachable(Fact):
    """Nobody answers; `errno` is its name, or what the client said where there is none."""

    code = "daemon-unreachable"
    endpoint: str
    errno: str
    engine: str = "docker"


class BuilderUnsuitable(Fact):
    """A builder that cannot build this."""

    code = "builder-unsuitable"
    builder: str


class NodeBroken(BuilderUnsuitable):
    """A node of the builder gave an error instead of a description."""

    node: str
    endpoint: str
    error: str


class BuilderStopped(BuilderUnsuitable):
    """A builder that does not run; to start it may pull an image.

    `endpoint` is where its buildkitd has to be, when buildx did not start it itself.
    """

    status: str
    endpoint: str = ""


class BuilderForOne(BuilderUnsuitable):
    """The image store of this daemon holds no image of several platforms."""

    named: bool

    @property
    def severity(self) -> Severity:
        """An error for who named several platforms."""
        return "error" if self.named else "warning"


class BuilderStale(Risk):
    """The builder's list and the kernel disagree: it lists what does not run, or the other way."""

    code = "builder-stale"
    builder: str
    driver: str
    endpoint: str
    platforms: tuple[str, ...]
    listed: bool
    engine: str = "docker"


class BuilderNode(Note):
    """Another machine builds this platform."""

    code = "builder-node"
    of: str
    node: str
    endpoint: str
    native: bool
