"""scripts/build-image: what it tells of itself, and how it calls buildah."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

import pytest

from image_lines import Page
from tests.own_namespace import TOP
from tests.scripts import script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

OPTIONS = {"arch": ["amd64"], "suite": "trixie", "base": "", "targets": "", "qemu": ""}
COMMIT = "0123456789012345678901234567890123456789"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script, with a buildah that writes down what it is asked for; settings are put back."""
    for name in ("CONTAINERS_CONF", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, "of-the-caller")
    program = tmp_path / "bin/buildah"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nenv >{tmp_path}/env\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "build").mkdir()
    return script("build-image")


def test_its_page_names_options_that_it_has(
    build: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scripts/try-image runs each of these lines."""
    page = Page()
    assert page.whole == "scripts/build-image"
    known: set[str] = set()
    for row in page.options:
        monkeypatch.setattr(sys, "argv", [page.whole, *shlex.split(row)])
        given = vars(build.parse())
        assert given[row.split()[0].removeprefix("--")], row
        known = set(given)
    assert {name for row in page.options for name in re.findall(r"--(\w+)", row)} == known - {"out"}


@pytest.mark.parametrize(
    ("base", "pull"), [("", "--pull-never"), ("docker.io/library/debian:trixie", "--pull=true")]
)
def test_only_a_base_that_is_named_is_pulled(
    build: ModuleType, tmp_path: Path, base: str, pull: str
) -> None:
    builder = build.Builder(tmp_path / "build", Namespace(**{**OPTIONS, "base": base}))
    builder.build(tmp_path / "F", "amd64", context=tmp_path)
    assert pull in (tmp_path / "asked").read_text().split()


def test_a_base_lies_in_any_folder(build: ModuleType, tmp_path: Path) -> None:
    """Of its path buildah makes a name, in which a dot in front or a capital letter is none."""
    (tmp_path / ".Bases").mkdir()
    base = f"oci:{tmp_path}/.Bases:first"
    made = build.Builder(tmp_path / "build", Namespace(**{**OPTIONS, "base": base}))
    made.image("amd64")
    assert "--build-arg=BASE=oci:base:first" in (tmp_path / "asked").read_text().split()
    assert (tmp_path / "build/base").samefile(tmp_path / ".Bases")
    assert made.options.base == base


def test_nothing_of_the_user_s_settings_is_written(build: ModuleType, tmp_path: Path) -> None:
    build.Builder(tmp_path / "build", Namespace(**OPTIONS)).buildah("info")
    set_to = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    for name in ("TMPDIR", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        assert set_to[name].startswith(f"{tmp_path}/build/")


def test_one_commit_is_told_however_long_it_takes(build: ModuleType, tmp_path: Path) -> None:
    made = build.Builder(tmp_path / "build", Namespace(**OPTIONS))
    git = ("git", "-C", str(TOP), "rev-parse", "HEAD")
    head = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    assert made.revision.removesuffix("-dirty") == head
    assert build.facts("0", COMMIT)["REVISION"] == COMMIT


@pytest.mark.parametrize("changed", [False, True])
def test_the_provenance_says_whether_all_of_it_was_committed(
    build: ModuleType, *, changed: bool
) -> None:
    revision = f"{COMMIT}-dirty" if changed else COMMIT
    told = build.provenance("sha256:12", revision, Namespace(**OPTIONS), {"amd64": "34"})
    source, bill = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["digest"] == {"gitCommit": COMMIT}
    assert source.get("annotations") == ({"changed": True} if changed else None)
    assert bill == {"name": "sbom-amd64.cdx.json", "digest": {"sha256": "34"}}
    assert json.dumps(told["subject"]) == '[{"name": "binfmt-setup", "digest": {"sha256": "12"}}]'
