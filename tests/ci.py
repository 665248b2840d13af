"""The shell steps of deploy/ci, as the systems that they are written for start them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import TypedDict

    class Input(TypedDict):
        """What a user of the action may set."""

        description: str
        default: str

    Step = TypedDict(
        "Step",
        {"id": str, "if": str, "uses": str, "shell": str, "run": str, "env": dict[str, str]},
        total=False,
    )

    class Steps(TypedDict):
        """What the action does."""

        steps: list[Step]

    class Action(TypedDict):
        """The action."""

        inputs: dict[str, Input]
        outputs: dict[str, dict[str, str]]
        runs: Steps


FOLDER = Path(__file__).resolve().parent.parent / "deploy/ci"
RECIPES = FOLDER / "recipes"
# What the systems start a shell with, by their own documentation.
GITHUB = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c")
SHELLS = {
    "circleci.yml": ("bash", "-eo", "pipefail", "-c"),
    "gitlab.yml": ("sh", "-ec"), "Jenkinsfile": ("sh", "-xec"), "build.sh": ("sh", "-ec"),
}  # fmt: skip


class Run(NamedTuple):
    """A step: what a shell is to do, with these variables."""

    script: str
    variables: dict[str, str]


def action() -> Action:
    """The action, as data."""
    with (FOLDER / "action.yml").open() as stream:
        read: Action = yaml.safe_load(stream)
    return read


def action_runs(given: Mapping[str, str], known: Mapping[str, str]) -> Iterator[Run]:
    """Its shell steps for these inputs."""
    read = action()
    values = {f"inputs.{name}": each["default"] for name, each in read["inputs"].items()}
    values |= {f"inputs.{name}": value for name, value in given.items()} | dict(known)
    for step in read["runs"]["steps"]:
        if "run" in step:
            variables = {name: filled(text, values) for name, text in step["env"].items()}
            yield Run(step["run"], variables)


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its expressions replaced; each must be a plain name that has a value."""
    return re.sub(r"\$\{\{ (\S+) \}\}", lambda found: values[found[1]], text)


def recipe_runs(name: str) -> list[Run]:
    """The shell steps of a recipe, in their order; of a list of lines, or a script, each line."""
    text = (RECIPES / name).read_text(encoding="utf-8")
    if name == "build.sh":
        return [Run(line, {}) for line in text.splitlines()]
    if name == "Jenkinsfile":
        return [Run(script, {}) for script in re.findall(r"^ +sh '(.*)'$", text, re.MULTILINE)]
    job = yaml.safe_load(text).get("jobs", yaml.safe_load(text))["build"]
    if name == "gitlab.yml":
        return [Run(line, {}) for line in (*job["before_script"], *job["script"])]
    return [_run(step) for step in job["steps"] if "run" in step]


def _run(step: Mapping[str, object]) -> Run:
    run, variables = step["run"], step.get("env", {})
    script = run["command"] if isinstance(run, dict) else run
    assert isinstance(variables, dict)
    return Run(str(script), variables)
