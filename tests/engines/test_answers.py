"""What `check --engine` answers with real engines, and that nothing of it stays."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING

from tests.own_namespace import TOP
from tests.report_schema import assert_fits

if TYPE_CHECKING:
    from tests.engines.lab import Lab


# The lines of docs/engines.md; each is run here as it stands there.
ONE = "check linux/arm64 --engine docker"
TWO = "check linux/amd64 linux/arm64 --engine docker"
OTHERS = "check linux/amd64 linux/arm64 --engine podman,buildah"
ALL = "check --engine auto"


def test_the_page_has_no_other_lines() -> None:
    page = (TOP / "docs/engines.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (?:\$ )?binfmt-setup (.+)$", page, re.MULTILINE)
    assert set(lines) == {ONE, TWO, OTHERS, ALL}


def said(lab: Lab, line: str, **variables: str) -> tuple[int, dict[str, object]]:
    return answer(lab, *line.split()[1:], **variables)


def answer(lab: Lab, *arguments: str, **variables: str) -> tuple[int, dict[str, object]]:
    done = lab.tool("check", *arguments, "--format", "json", **variables)
    document = json.loads(done.stdout)
    assert_fits(document)
    return done.returncode, document


def codes(document: dict[str, object], severity: str = "error") -> set[str]:
    findings = document["findings"]
    assert isinstance(findings, list)
    return {f["code"] for f in findings if f["severity"] == severity}


def engine(document: dict[str, object], name: str) -> dict[str, object]:
    engines = document["engines"]
    assert isinstance(engines, list)
    return next(row for row in engines if row["name"] == name)


def files(lab: Lab, *folders: str) -> set[str]:
    """What is in some folders, and the workspaces in /tmp, which a lab shares."""
    workspaces = ("/tmp", "-maxdepth", "2", "-path", "/tmp/binfmt-setup-*/buildx")
    found = lab.run("find", *folders, "-xdev").stdout + lab.run("find", *workspaces).stdout
    return set(found.splitlines())


def left_in(lab: Lab, before: set[str], *folders: str) -> set[str]:
    """What came and stays; another run of the tests has workspaces in /tmp, which go."""
    end = time.monotonic() + 10
    while (left := files(lab, *folders) - before) and time.monotonic() < end:
        time.sleep(0.5)
    return left


def test_docker_28_builds_two_platforms_into_one_index(new_docker: Lab) -> None:
    new_docker.install("arm64")
    status, document = said(new_docker, TWO)
    row = engine(document, "docker")
    assert status == 0
    assert row["built"] == row["index"] == ["linux/amd64", "linux/arm64"]
    assert str(row["version"]).split(".")[0] >= "28"


def test_docker_28_keeps_nothing_of_a_check(new_docker: Lab) -> None:
    new_docker.install("arm64")
    before = files(new_docker, "/run/home")
    answer(new_docker, "linux/arm64", "linux/s390x", "--engine", "docker")
    assert left_in(new_docker, before, "/run/home") == set()
    assert new_docker.ok("docker", "buildx", "du", "--format", "{{.ID}}") == ""
    assert new_docker.ok("docker", "buildx", "history", "ls", "--format", "{{.Ref}}") == ""
    assert new_docker.ok("docker", "images", "--all", "--quiet") == ""
    assert new_docker.ok("docker", "ps", "--all", "--quiet") == ""


def test_docker_20_builds_with_its_own_buildkit_one_at_a_time(old_docker: Lab) -> None:
    old_docker.install("arm64")
    status, document = said(old_docker, ONE)
    row = engine(document, "docker")
    assert (status, row["built"]) == (0, ["linux/arm64"])
    assert str(row["version"]).startswith("20.10.")
    assert row["details"] == "its built-in BuildKit"


def test_docker_20_without_buildx_makes_no_image_of_two_platforms(old_docker: Lab) -> None:
    old_docker.install("arm64")
    status, document = said(old_docker, TWO)
    assert status == 1
    assert codes(document) == {"buildx-missing"}
    assert engine(document, "docker")["built"] == ["linux/amd64", "linux/arm64"]


def test_docker_20_keeps_nothing_of_a_check(old_docker: Lab) -> None:
    old_docker.install("arm64")
    before = files(old_docker, "/run/home")
    answer(old_docker, "linux/arm64", "linux/s390x", "--engine", "docker")
    assert left_in(old_docker, before, "/run/home") == set()
    assert old_docker.ok("docker", "system", "df", "-v", "--format", "{{json .}}").strip() == (
        '{"Images":[],"Containers":[],"Volumes":[],"BuildCache":[]}'
    )


def test_engines_without_a_daemon_build_two_platforms_into_one_index(podman: Lab) -> None:
    podman.install("arm64")
    status, document = said(podman, OTHERS)
    assert status == 0
    for row in (engine(document, name) for name in ("podman", "buildah")):
        assert row["built"] == row["index"] == ["linux/amd64", "linux/arm64"]


def test_engines_without_a_daemon_keep_nothing_of_a_check(podman: Lab) -> None:
    podman.install("arm64")
    # What the engines make for themselves when they are called at all.
    podman.ok("podman", "info")
    podman.ok("buildah", "info")
    folders = ("/run/home", "/var/tmp", "/var/lib/containers", "/run")
    before = files(podman, *folders)
    mounts = podman.ok("cat", "/proc/self/mountinfo")
    answer(podman, "linux/arm64", "linux/s390x", "--engine", "podman,buildah")
    # Knowledge about blobs, which containers/image keeps for every copy it makes.
    cache = {"/var/lib/containers/cache", "/var/lib/containers/cache/blob-info-cache-v1.boltdb"}
    assert left_in(podman, before | cache, *folders) == set()
    assert podman.ok("cat", "/proc/self/mountinfo") == mounts
    assert podman.ok("ps", "-A", "-o", "comm=").split().count("runc") == 0


def test_auto_asks_those_that_are_there(podman: Lab) -> None:
    podman.install("arm64")
    _, document = said(podman, ALL)
    engines = document["engines"]
    assert isinstance(engines, list)
    # The old box has Docker's client, too, and no daemon runs in this lab.
    assert [row["name"] for row in engines] == ["docker", "podman", "buildah"]
    assert codes(document) == {"daemon-unreachable", "not-built"}


def test_an_engine_that_is_not_installed(new_docker: Lab) -> None:
    status, document = answer(new_docker, "linux/amd64", "--engine", "podman")
    assert status == 1
    assert "engine-missing" in codes(document)


def test_an_unregistered_platform_fails_alone(new_docker: Lab) -> None:
    new_docker.install("arm64")
    status, document = answer(
        new_docker, "linux/amd64", "linux/arm64", "linux/s390x", "--engine", "docker"
    )
    platforms = document["platforms"]
    assert isinstance(platforms, list)
    assert status == 1
    assert [row["ok"] for row in platforms] == [True, True, False]
    assert "exec format error" in str(engine(document, "docker")["output"])


def test_a_daemon_that_may_not_be_spoken_to(new_docker: Lab) -> None:
    new_docker.ok("chmod", "0", "/run/docker.sock")
    try:
        powerless = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
        done = new_docker.run(
            *powerless, sys.executable, "-m", "binfmt_setup",
            "check", "linux/amd64", "--engine", "docker", "--format", "json",
        )  # fmt: skip
    finally:
        new_docker.ok("chmod", "660", "/run/docker.sock")
    assert done.returncode == 1
    assert "access-denied" in codes(json.loads(done.stdout))


def test_the_users_docker_host_is_asked(new_docker: Lab) -> None:
    host = "unix:///run/elsewhere.sock"
    _, document = answer(new_docker, "linux/amd64", "--engine", "docker", DOCKER_HOST=host)
    findings = document["findings"]
    assert isinstance(findings, list)
    assert any(host in f["message"] for f in findings if f["code"] == "daemon-unreachable")


# A buildkitd at a socket: that of Docker, as buildx hands it on.
SERVE = """
import socket, subprocess, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    connection, _ = server.accept()
    subprocess.Popen(sys.argv[2:], stdin=connection, stdout=connection)
    connection.close()
"""


def test_a_remote_builder_is_asked_without_a_daemon(new_docker: Lab) -> None:
    lab = new_docker
    lab.install("arm64")
    handed_on = ("docker", "--host=unix:///var/run/docker.sock", "buildx", "dial-stdio")
    lab.spawn("far", sys.executable, "-c", SERVE, "/run/far.sock", *handed_on)
    lab.until("test", "-S", "/run/far.sock")
    mine = {"DOCKER_HOST": "unix:///run/none.sock", "BUILDX_CONFIG": "/run/far"}
    create = ("docker", "buildx", "create", "--driver=remote")
    try:
        lab.ok(*create, "--name=far", "--use", "unix:///run/far.sock", **mine)
        status, document = said(lab, TWO, **mine)
        assert status == 0, document
        assert "builder far, driver remote" in str(engine(document, "docker")["details"])
        lab.ok(*create, "--name=gone", "unix:///run/gone.sock", **mine)
        for builder, code in (("gone", "builder-unsuitable"), ("default", "daemon-unreachable")):
            status, document = said(lab, ONE, BUILDX_BUILDER=builder, **mine)
            assert (status, code in codes(document)) == (1, True), document
    finally:
        lab.kill("far")
