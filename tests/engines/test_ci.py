"""The CI recipes with a real daemon: each shell step, as its system runs it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests import ci, image_tree
from tests.engines.test_image import load
from tests.engines.test_stories import project

if TYPE_CHECKING:
    from tests.engines.lab import Lab

pytestmark = pytest.mark.skipif(bool(image_tree.why_not()), reason=image_tree.why_not() or "it can")
NAME = "127.0.0.1:5000/binfmt"
TAG = f"{NAME}:qemu-v7.2"
FILES = {"GITHUB_OUTPUT": "/run/output", "GITHUB_STEP_SUMMARY": "/run/summary"}
_PUSH = """
docker tag example/binfmt:1 $0
docker push --quiet $0
docker image inspect --format '{{join .RepoDigests " "}}' $0
docker image rm $0
"""
SOCKET = "unix:///run/inner/docker.sock"
# A daemon in a container, with the programs of the lab.
_INNER = """
mkdir -p /run/base /run/inner
cd /run/base
mkdir -p usr etc run tmp var/lib proc sys dev
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
tar -cf - . | docker import - inner
docker run -d --name inner --privileged --network=host -v /usr:/usr -v /etc:/etc:ro \
    -v /run/inner:/run/inner -v /var/lib/docker inner dockerd --host="$0" --bridge=none \
    --iptables=false --ip6tables=false --feature=containerd-snapshotter=true
"""


@pytest.fixture(scope="module")
def image(_docker_new: Lab) -> str:
    """The image in a registry, by its digest; and a project in a folder."""
    load(_docker_new)
    _docker_new.registry()
    pushed = _docker_new.ok("sh", "-ec", _PUSH, TAG)
    project(_docker_new, "/run/project")
    # The lab's daemon has no network for builds.
    _docker_new.ok("sed", "-i", "s/^RUN/RUN --network=none/", "/run/project/Dockerfile")
    _docker_new.ok("mkdir", "/run/temp")
    found = re.search(f"{NAME}@sha256:[0-9a-f]{{64}}", pushed)
    assert found
    return found[0]


def act(lab: Lab, image: str, *, status: int = 0, **inputs: str) -> str:
    """Run the action's shell step, as a runner does: what it prints."""
    given = {name.replace("_", "-"): value for name, value in inputs.items()}
    (run,) = ci.action_runs({"image": image, "platforms": "arm64", **given}, {})
    lab.ok("sh", "-c", "for file; do : >$file; done", "sh", *FILES.values())
    known = {"GITHUB_ACTION_PATH": str(ci.FOLDER), "RUNNER_TEMP": "/run/temp", **FILES}
    done = lab.run(*ci.GITHUB, run.script, **run.variables, **known)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def test_the_action(new_docker: Lab, image: str) -> None:
    lab = new_docker
    told = act(lab, image)
    assert re.findall("^::(group|endgroup|error|warning)", told, re.MULTILINE) == [
        "group", "endgroup", "group", "endgroup",
    ]  # fmt: skip
    assert "works: linux/arm64; changed\n" in told
    assert "| linux/arm64 | ✅ runs | emulated | qemu-aarch64 |" in lab.ok("cat", "/run/summary")
    platforms = lab.ok("cat", "/run/output")
    assert platforms.startswith("platforms=linux/amd64,")
    assert platforms.endswith(",linux/arm64\n")
    for run in ci.recipe_runs("github.yml"):
        (name,) = run.variables
        variables = {name: platforms.partition("=")[2]}
        assert run.variables[name] == "${{ steps.emulation.outputs.platforms }}"
        assert platforms[10:] in lab.ok(*ci.GITHUB, f"cd /run/project\n{run.script}", **variables)
    # Nothing of it is left, but for what GitHub's cache is to keep.
    assert lab.ok("sh", "-c", "docker ps -aq; docker volume ls -q") == ""
    lab.ok("docker", "image", "rm", "--force", image, "binfmt-setup:cached")

    told = act(lab, image, reset="true", check="false")
    assert "Loaded image: binfmt-setup:cached\n" in told
    assert "✓ remove entry qemu-aarch64\n" in told
    lab.ok("docker", "image", "rm", "--force", "binfmt-setup:cached")

    failed = act(lab, NAME, status=2, qemu_version="7.2", platforms="nonsense")
    assert f"::notice title=binfmt-setup::a tag may change; now it is {image}\n" in failed
    assert "::error title=binfmt-setup usage::" in failed


def test_every_step_of_the_recipes(new_docker: Lab, image: str) -> None:
    """The same lines stand in several of them: each is run once."""
    done: set[str] = set()
    for name in sorted(ci.SHELLS.keys() - {"gitlab.yml"}):
        for script in (run.script for run in ci.recipe_runs(name)):
            if script not in done:
                step(new_docker, name, script, BINFMT_IMAGE=image)
            done.add(script)
    assert proven(new_docker)


def test_docker_in_docker(new_docker: Lab, image: str) -> None:
    new_docker.ok("sh", "-ec", _INNER, SOCKET)
    try:
        new_docker.until("docker", "--host", SOCKET, "info")
        new_docker.ok("rm", "-rf", "/run/project/results")
        for run in ci.recipe_runs("gitlab.yml"):
            step(new_docker, "gitlab.yml", run.script, BINFMT_IMAGE=image, DOCKER_HOST=SOCKET)
    finally:
        new_docker.ok("docker", "rm", "--force", "--volumes", "inner")
    assert proven(new_docker)


def step(lab: Lab, name: str, script: str, **variables: str) -> None:
    """Run a step of a recipe in a project, as its system does."""
    done = lab.run(*ci.SHELLS[name], f"cd /run/project\n{script}", **variables)
    assert done.returncode == 0, f"{name}: {script}: {done.stdout}{done.stderr}"


def proven(lab: Lab) -> bool:
    """Whether the report that the system shows has the platform as one that works."""
    answer = lab.ok("cat", "/run/project/results/emulation.xml")
    return '<testcase classname="binfmt-setup.check" name="linux/arm64" />' in answer
