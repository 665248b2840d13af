"""What engines of several versions print, recorded, and what is read in it."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.engines.answers import Question
from binfmt_setup.engines.ask import EngineCalls, ask_with
from binfmt_setup.engines.buildx import builder_findings, parse_builder, reason_not_to_ask
from binfmt_setup.engines.call import Caller
from binfmt_setup.engines.docker import parse_info, parse_version, version_findings
from binfmt_setup.engines.interface import engine_named
from binfmt_setup.engines.podman import parse_info as parse_store
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import parse_platform
from binfmt_setup.report.words import hint, message
from binfmt_setup.system.host import Host
from binfmt_setup.system.programs import Completed
from tests.engine_contract import QUESTION, Rows, Talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.engines.answers import EngineReport

CASES = Path(__file__).parent / "engines"
DOCKERS = sorted(CASES.glob("docker-*.json"), key=str)
NATIVE = "linux/amd64"


def question(*names: str, running: tuple[str, ...] = ()) -> Question:
    return Question(tuple(map(parse_platform, names)), named=True, running=frozenset(running))


@pytest.mark.parametrize("path", DOCKERS, ids=lambda path: path.stem)
def test_docker(path: Path) -> None:
    case = json.loads(path.read_text())
    facts = parse_info(parse_version(case["version"]), case["info"])
    builder = parse_builder(case["inspect"])
    assert case["expected"] == {
        "client": facts.client,
        "server": facts.server,
        "containerd_store": facts.containerd_store,
        "driver": builder.driver if builder else "",
        "platforms": list(builder.nodes[0].platforms) if builder else [],
    }
    assert version_findings(facts) == ()
    assert builder is None or reason_not_to_ask(builder) is None


def test_a_new_daemon_without_the_containerd_store_makes_no_image_of_two() -> None:
    case = json.loads((CASES / "docker-26.1.json").read_text())
    builder = parse_builder(case["inspect"])
    assert builder is not None
    both = question(NATIVE, "linux/arm64", running=(NATIVE,))
    found = builder_findings(builder, both, containerd_store=False)
    assert [(f.code, f.severity) for f in found] == [("builder-unsuitable", "error")]
    assert builder_findings(builder, both, containerd_store=True) == ()
    one = question("linux/arm64")
    assert builder_findings(builder, one, containerd_store=False) == ()


def test_podman_and_buildah() -> None:
    case = json.loads((CASES / "podman-4.3-buildah-1.28.json").read_text())
    podman = parse_store("", case["podman"])
    buildah = parse_store(case["buildah_version"]["version"], case["buildah"])
    assert (podman.version, buildah.version) == ("4.3.1", "1.28.2")
    assert podman.root == buildah.root == "/var/lib/containers/storage"
    assert podman.driver == buildah.driver == "overlay"
    assert not podman.rootless
    assert not podman.remote


def test_a_builder_with_a_native_node_elsewhere() -> None:
    builder = parse_builder((CASES / "buildx-old-two-nodes.txt").read_text())
    assert builder is not None
    assert [node.name for node in builder.nodes] == ["elated_tesla0", "elated_tesla1"]
    assert [builder.remote(node) for node in builder.nodes] == [False, True]
    asked = question(NATIVE, "linux/arm64", "linux/arm/v7", running=(NATIVE,))
    found = builder_findings(builder, asked, containerd_store=False)
    assert [(f.code, f.severity) for f in found] == [("builder-node", "info")] * 2
    assert "no emulation is needed" in message(found[0])
    assert "emulates it" in message(found[1])


def test_a_builder_that_does_not_run_is_not_started() -> None:
    builder = parse_builder((CASES / "buildx-inactive-remote.txt").read_text())
    assert builder is not None
    finding = reason_not_to_ask(builder)
    assert finding is not None
    assert finding.code == "builder-unsuitable"
    # buildx starts a container of its own, and no buildkitd that somebody else runs.
    assert "start buildkitd at docker-container://" in hint(finding)
    own = reason_not_to_ask(replace(builder, driver="docker-container"))
    assert own is not None
    assert hint(own) == "run: docker buildx inspect --bootstrap remote-builder"


def asked(
    engine: str, conversation: str, root: Path, talk: Talk | None = None, **variables: str
) -> EngineReport:
    """What an engine reports in a recorded conversation."""
    found = engine_named(engine)
    program = root / "usr/bin" / (found.program or found.name)
    program.parent.mkdir(parents=True, exist_ok=True)
    program.touch()
    caller = Caller(Host(root, run=talk or Talk(Rows(conversation))), variables)
    runs = frozenset(platform.name for platform in QUESTION.platforms)
    question = replace(QUESTION, running=runs)
    return ask_with([found], EngineCalls(caller, (engine,)), question)[0]


def test_a_remote_builder_is_asked_though_no_docker_daemon_runs(tmp_path: Path) -> None:
    report = asked("docker", "docker-remote-builder", tmp_path)
    assert (report.error, report.findings) == (None, ())
    assert report.built == report.index == {NATIVE, "linux/arm64"}
    assert (report.version, report.details) == ("28.5.2+dfsg4", "builder r, driver remote")


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("buildx-no-daemon.txt", "daemon-unreachable", "no daemon answers at unix:///var/run"),
        ("buildx-remote-dead.txt", "builder-unsuitable", "builder r is inactive"),
        ("buildx-broken-node.txt", "builder-unsuitable", "node other0 of builder other does not"),
    ],
)
def test_without_a_daemon_the_builder_in_use_says_what_is_missing(
    answer: str, code: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = {"asked": "docker buildx inspect", "output": (CASES / answer).read_text()}
    recorded = Rows("docker-remote-builder").rows
    monkeypatch.setattr(
        Rows, "__init__", lambda self, _: setattr(self, "rows", [inspect, *recorded])
    )
    report = asked("docker", "docker-remote-builder", tmp_path)
    assert [(f.code, words in message(f)) for f in report.findings] == [(code, True)]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "buildkit: no daemon answers at unix:///run/buildkit/buildkitd.sock: ENOENT"),
        ("tcp://10.0.0.1:1234", "buildkit: no daemon answers at tcp://10.0.0.1:1234: unknown"),
    ],
)
def test_a_buildkitd_that_is_not_there(address: str, words: str, tmp_path: Path) -> None:
    report = asked("buildkit", "silent", tmp_path, BUILDKIT_HOST=address)
    assert [f.code for f in report.findings] == ["daemon-unreachable"]
    assert message(report.findings[0]).startswith(words)
    assert "BUILDKIT_HOST" in hint(report.findings[0])


def test_a_buildkitd_that_listens_and_fails_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run/buildkit"
    path.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listening:
        folder = os.open(path, os.O_PATH)  # a long path does not fit into a socket's address
        listening.bind(f"/proc/self/fd/{folder}/buildkitd.sock")
        os.close(folder)
        listening.listen()
        report = asked("buildkit", "silent", tmp_path)
    assert report.error is not None
    assert "unknown command" in report.error.message


def test_a_buildkitd_on_another_machine_builds_there(tmp_path: Path) -> None:
    here = asked("buildkit", "buildkit", tmp_path)
    there = asked("buildkit", "buildkit", tmp_path, BUILDKIT_HOST="tcp://10.0.0.1:1234")
    assert here.built == there.built == {NATIVE, "linux/arm64"}
    assert (here.elsewhere, there.elsewhere) == (frozenset(), there.built)
    assert {f.code for f in there.findings} == {"builder-node"}


class Forgetful(Talk):
    """A BuildKit with the cache of others' builds and ours; its first list may be spoilt."""

    def __init__(self, rows: Rows, first: Completed | None) -> None:
        super().__init__(rows)
        self.first, self.lists = first, 0

    def __call__(self, argv: Sequence[str], seconds: float) -> Completed:
        """Answer, the listings with the token that the build had."""
        done = super().__call__(argv, seconds)
        if "du" not in argv:
            return done
        self.lists += 1
        if self.lists == 1:
            return self.first or done
        token = re.findall(r"/(binfmt-setup-[0-9a-f]{12})\.tar", str(self.calls))[0]
        return Completed(0, (CASES / "buildctl-du-after.txt").read_text().replace("{token}", token))

    @property
    def removed(self) -> list[str]:
        """The records that it was told to remove at first, in that order."""
        argv = next(argv for argv, _ in self.calls if "prune" in argv)
        found = re.fullmatch(r"id~?=/\^\((\w+(?:\|\w+)*)\)\$/", argv[-1])
        assert found is not None
        return found[1].split("|")


OURS = ("jsaobjxa1sbbwykk94ibpaktp", "w4x3tq4ov04mztxh2cumd278o", "1irf79d7csi55wnx9u166yul5",
        "k6o572ox54l909kj15ny8hym4")  # fmt: skip
CONTEXT = "vpzh1crybxdkcz3sxckqg2wem"


@pytest.mark.parametrize(
    ("engine", "conversation"), [("buildkit", "buildkit"), ("docker", "docker-remote-builder")]
)
@pytest.mark.parametrize(
    ("first", "removed"),
    [
        (None, {*OURS, CONTEXT}),
        # Whose the context is, nobody can tell then; and all others would look new.
        (Completed(1, "", "rpc error: code = Unavailable"), set(OURS)),
        (Completed(0, ""), set(OURS)),
    ],
    ids=["listed", "failed", "silent"],
)
def test_nothing_of_others_is_removed(
    engine: str, conversation: str, first: Completed | None, removed: set[str], tmp_path: Path
) -> None:
    talk = Forgetful(Rows(conversation), first)
    asked(engine, conversation, tmp_path, talk)
    assert set(talk.removed) == removed
    runs = [talk.removed.index(record) for record in OURS]
    assert max(runs[:2]) < min(runs[2:])  # children first


def test_a_node_in_kubernetes_is_another_machine() -> None:
    text = (
        "Name: k\nDriver: kubernetes\n\nNodes:\nName: k0\nEndpoint: kubernetes:///k\n"
        "Status: running\nPlatforms: linux/amd64, linux/arm64\n"
    )
    builder = parse_builder(text)
    assert builder is not None
    found = builder_findings(builder, question("linux/arm64"), containerd_store=False)
    assert [f.code for f in found] == ["builder-node"]


def test_a_node_that_does_not_answer() -> None:
    builder = parse_builder((CASES / "buildx-broken-node.txt").read_text())
    assert builder is not None
    finding = reason_not_to_ask(builder)
    assert finding is not None
    assert "Could not resolve hostname" in message(finding)


@pytest.mark.parametrize(
    ("listed", "running", "words"),
    [
        ("linux/amd64", ("linux/arm64",), "does not list linux/arm64, which this kernel runs"),
        ("linux/amd64, linux/arm64", (), "still lists linux/arm64, which this kernel does not"),
        ("linux/amd64, linux/arm64", ("linux/arm64",), ""),
        ("linux/amd64", (), ""),
    ],
)
def test_a_stale_builder(listed: str, running: tuple[str, ...], words: str) -> None:
    text = (
        "Name: b\nDriver: docker-container\n\nNodes:\nName: b0\n"
        f"Endpoint: unix:///var/run/docker.sock\nStatus: running\nPlatforms: {listed}\n"
    )
    builder = parse_builder(text)
    assert builder is not None
    found = builder_findings(
        builder, question("linux/arm64", running=running), containerd_store=True
    )
    assert [f.code for f in found] == (["builder-stale"] if words else [])
    assert not words or words in message(found[0])
    assert all("docker buildx stop b &&" in hint(f) for f in found)


@pytest.mark.parametrize("text", ["", "{ <garbage>", "Name: x\n", "Nodes:\nName: y\n", "\0\n:\n"])
def test_garbage_is_no_builder(text: str) -> None:
    assert parse_builder(text) is None


def test_a_platform_that_buildkit_never_lists_makes_no_builder_stale() -> None:
    case = json.loads((CASES / "docker-28.5.json").read_text())
    builder = parse_builder(case["inspect"])
    assert builder is not None
    asked = question("linux/mips64le", running=("linux/mips64le",))
    assert builder_findings(builder, asked, containerd_store=True) == ()
