"""buildx's builders: the parser of `docker buildx inspect`, and what a builder can serve."""

from __future__ import annotations

from binfmt_setup.diagnosis.finding import Finding
from binfmt_setup.engines import catalogue as known
from binfmt_setup.engines import findings
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_setup.engines.answers import Question
    from binfmt_setup.model.targets import Platform


DETECTED = frozenset(
    f"linux/{name}"
    for name in ("amd64", "arm64", "riscv64", "ppc64le", "s390x", "arm/v7", "arm/v6")
)
"""What every BuildKit looks for (its util/archutil) and lists. Others it builds unlisted:
loong64 is new, and Docker 28.5 lists neither mips64le nor always 386 where they run."""
_REMOTE_DRIVERS = ("kubernetes", "cloud")
_REMOTE_SCHEMES = ("ssh://", "kubernetes://", "kube-pod://")


class Node(Record):
    """One machine of a builder; its own platform comes first in what BuildKit detected."""

    name: str
    endpoint: str = ""
    status: str = ""
    platforms: tuple[str, ...] = ()
    error: str = ""

    @property
    def native(self) -> str:
        """The platform this node runs without emulation; empty when it lists none."""
        return self.platforms[0] if self.platforms else ""


class Builder(Record):
    """A builder as `docker buildx inspect` describes it."""

    name: str
    driver: str
    nodes: tuple[Node, ...] = ()
    error: str = ""
    engine: str = "docker"

    @property
    def of_daemon(self) -> bool:
        """Whether it is the BuildKit in Docker's daemon; without one buildx names no driver."""
        return self.driver in ("docker", "")

    def node_for(self, platform: str) -> Node | None:
        """The node that lists a platform; where several do, the first gets the work."""
        return next((node for node in self.nodes if platform in node.platforms), None)

    def remote(self, node: Node) -> bool:
        """Whether a node is another machine than this one."""
        if self.driver in _REMOTE_DRIVERS or node.endpoint.startswith(_REMOTE_SCHEMES):
            return True
        if not node.endpoint.startswith("tcp://"):
            return False
        return not node.endpoint.startswith(("tcp://127.", "tcp://localhost", "tcp://[::1]"))


def parse_builder(text: str) -> Builder | None:
    """Read `docker buildx inspect`; None when it describes no builder.

    The keys of the builder stand before `Nodes:`, those of each node begin with its name;
    an asterisk marks a platform that was assigned by hand. One that cannot be asked has an
    `Error:` and no nodes.
    """
    head, nodes_word, tail = text.partition("Nodes:")
    first = dict(_pairs(head))
    if first.get("Name") and first.get("Error"):
        return Builder(first["Name"], first.get("Driver", ""), error=first["Error"])
    if not (nodes_word and first.get("Name") and first.get("Driver")):
        return None
    nodes: list[dict[str, str]] = []
    for key, value in _pairs(tail):
        if key == "Name":
            nodes.append({})
        if nodes:
            nodes[-1].setdefault(key, value)
    return Builder(first["Name"], first["Driver"], tuple(map(_node, nodes)))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """The `Key: value` lines at the margin; indented ones belong to labels and rules."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and line[0] not in " \t":
            yield key.strip(), value.strip()


def _node(values: dict[str, str]) -> Node:
    words = [word.strip().rstrip("*") for word in values.get("Platforms", "").split(",")]
    return Node(
        values.get("Name", ""),
        values.get("Endpoint", ""),
        values.get("Status", ""),
        tuple(dict.fromkeys(word for word in words if word)),
        values.get("Error", ""),
    )


def reason_not_to_ask(builder: Builder) -> Finding | None:
    """A builder that does not run: starting it may pull an image, which is not ours to do."""
    if builder.error:
        return Finding(known.NodeBroken(builder.name, "", "", builder.error))
    broken = next((node for node in builder.nodes if node.error), None)
    if broken is not None:
        fact = known.NodeBroken(builder.name, broken.name, broken.endpoint, broken.error)
        return Finding(fact)
    if builder.nodes and all(node.status != "running" for node in builder.nodes):
        first = builder.nodes[0]
        return findings.builder_stopped(builder.name, builder.driver, first.status, first.endpoint)
    return None


def builder_findings(
    builder: Builder, question: Question, *, containerd_store: bool
) -> tuple[Finding, ...]:
    """What can be told of a builder before it builds."""
    found: list[Finding] = []
    if builder.driver == "docker" and not containerd_store and len(question.platforms) > 1:
        found.append(findings.builder_for_one(builder.name, named=question.named))
    found += _stale(builder, question)
    found += _nodes(builder, question.platforms)
    return tuple(found)


def _stale(builder: Builder, question: Question) -> Iterator[Finding]:
    """Platforms where the list of a node on this machine and the kernel disagree."""
    here = [node for node in builder.nodes if not builder.remote(node)]
    if not here or len(here) != len(builder.nodes):
        return
    asked = [platform.name for platform in question.platforms if platform.name in DETECTED]
    unlisted = [n for n in asked if n in question.running and not builder.node_for(n)]
    vanished = [n for n in asked if n not in question.running and builder.node_for(n)]
    where = builder.nodes[0].endpoint
    for names, listed in ((unlisted, False), (vanished, True)):
        if names:
            yield findings.builder_stale(
                known.BuilderStale(
                    builder.name, builder.driver, where, tuple(names), listed, builder.engine
                )
            )


def _nodes(builder: Builder, platforms: Sequence[Platform]) -> Iterator[Finding]:
    """Platforms that another machine builds: what this host emulates does not matter then."""
    for platform in platforms:
        node = builder.node_for(platform.name)
        if node is None or not builder.remote(node):
            continue
        native = node.native == platform.name
        yield Finding(known.BuilderNode(platform.name, node.name, node.endpoint, native))


def built_elsewhere(builder: Builder, platforms: Sequence[Platform]) -> frozenset[str]:
    """The platforms that a node on another machine builds."""
    nodes = ((platform.name, builder.node_for(platform.name)) for platform in platforms)
    return frozenset(name for name, node in nodes if node is not None and builder.remote(node))
