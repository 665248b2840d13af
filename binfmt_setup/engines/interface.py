"""What every container engine offers, and which engines there are.

To add one: write `engines/NAME.py` with a `Session`, an `Engine` and `ENGINE`, an instance of
it; give it its line in ENGINES. Its words go to `findings`, its row, its codes and its variables
to docs/engines.md, what it prints to tests/cases/engines/conversations/NAME.json. The test
tests/unit/test_engine_contract.py runs over all engines and names what is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from binfmt_setup.engines import findings
from binfmt_setup.engines.answers import EngineReport, try_builds
from binfmt_setup.model.modules import module_named
from binfmt_setup.model.records import replace
from binfmt_setup.system.programs import SAFE_PATH

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import ClassVar

    from binfmt_setup.diagnosis.finding import Finding
    from binfmt_setup.engines.answers import Build, Question
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.engines.catalogue import EngineBuildFailed
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.host import Host


ENGINES = (
    "docker",
    "podman",
    "buildah",
    "buildkit",
)
"""All engines, in the order in which they are asked; each is the module of its name."""

SETTINGS_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR")
"""Where the user's settings, contexts, builders, stores and sockets are, for any engine."""


class Session(ABC):
    """An engine that has answered: what it said of itself, and builds with it.

    `together` says whether one build can make several platforms.
    """

    version: str = ""
    details: str = ""
    together: bool = True

    @abstractmethod
    def obstacles(self, question: Question) -> tuple[Finding, ...]:
        """Why no build can be tried: too old, no daemon, no builder. Empty if one can."""

    @abstractmethod
    def remarks(self, question: Question) -> tuple[Finding, ...]:
        """What can be told without a build."""

    @abstractmethod
    def builds(self) -> AbstractContextManager[Callable[[Sequence[Platform], str], Build]]:
        """A function that builds, for platforms and with a token; all it left goes at the end."""

    def explained(self, question: Question, finding: Finding) -> Finding:
        """What a build found; where the platform runs outside, with the cause in this engine."""
        failed = findings.failed_build(finding)
        if failed is None or finding.platform not in question.running:
            return finding
        return self.cause(finding, failed)

    @abstractmethod
    def cause(self, finding: Finding, failed: EngineBuildFailed) -> Finding:
        """A build that failed, with what only this engine can know of the cause."""

    def elsewhere(self, platforms: Sequence[Platform]) -> frozenset[str]:  # noqa: ARG002
        """The platforms that another machine builds."""
        return frozenset()


class Engine(ABC):
    """One container engine: how it is found, and how it is asked.

    `name` is the word for --engine and the module, and the program, where `program` names no
    other. `variables` are those that it
    gets to see of the caller's environment: without them it would answer for another daemon,
    builder or store than the user's own. PATH is never among them.
    """

    name: ClassVar[str]
    program: ClassVar[str] = ""
    oldest: ClassVar[tuple[int, int]]
    variables: ClassVar[tuple[str, ...]]

    @abstractmethod
    def session(self, caller: Caller) -> AbstractContextManager[Session]:
        """Ask it for version and connection; raises BinfmtSetupError when it does not answer."""

    def installed(self, host: Host) -> bool:
        """Whether its program is in one of the directories that programs are run from."""
        program = self.program or self.name
        return any(host.exists(f"{directory}/{program}") for directory in SAFE_PATH.split(":"))

    def ask(self, caller: Caller, question: Question) -> EngineReport:
        """Ask it to build, if it can; raises BinfmtSetupError when it fails by itself."""
        with self.session(replace(caller, variables=self.variables)) as session:
            obstacles = session.obstacles(question)
            if obstacles:
                return EngineReport(self.name, version=session.version, findings=obstacles)
            remarks = session.remarks(question)
            with session.builds() as build:
                built = try_builds(self.name, question.platforms, build, together=session.together)
            explained = tuple(session.explained(question, found) for found in built.findings)
        return replace(
            built, version=session.version, details=session.details,
            findings=remarks + explained, elsewhere=session.elsewhere(question.platforms),
        )  # fmt: skip


def engine_named(name: str) -> Engine:
    """The engine of this name; raises UsageProblem when there is none."""
    if name not in ENGINES:
        raise findings.unknown_engine(name, ENGINES)
    engine: Engine = module_named(f"{__package__}.{name}").ENGINE
    return engine
