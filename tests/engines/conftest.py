"""Labs with real engines, one for each kind; what a lab had registered goes between tests."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.engines import toolbox
from tests.engines.lab import Lab, NoLab

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTAINERD = "--feature=containerd-snapshotter=true"


@contextmanager
def lab(box: str) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("engines need root here: their namespace maps 65536 users")
    try:
        made = Lab(toolbox.fetch() / box)
    except toolbox.NotToBeHad as error:
        pytest.skip(f"no engines to test: {error}")
    try:
        try:
            made.start()
        except NoLab as error:
            pytest.skip(str(error))
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session", name="_docker_old")
def docker_20_lab() -> Iterator[Lab]:
    with lab("old") as made:
        made.dockerd()
        yield made


@pytest.fixture(scope="session", name="_docker_new")
def docker_28_lab() -> Iterator[Lab]:
    with lab("new") as made:
        made.dockerd(CONTAINERD)
        yield made


@pytest.fixture(scope="session", name="_podman")
def podman_lab() -> Iterator[Lab]:
    with lab("old") as made:
        yield made


@pytest.fixture
def old_docker(_docker_old: Lab) -> Iterator[Lab]:
    yield _docker_old
    _docker_old.forget_all()


@pytest.fixture
def new_docker(_docker_new: Lab) -> Iterator[Lab]:
    yield _docker_new
    _docker_new.forget_all()


@pytest.fixture
def podman(_podman: Lab) -> Iterator[Lab]:
    yield _podman
    _podman.forget_all()


@pytest.fixture
def fresh_docker() -> Iterator[Lab]:
    """Docker 28 for a test that breaks it."""
    with lab("new") as made:
        made.dockerd(CONTAINERD)
        yield made
