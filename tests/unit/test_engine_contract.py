"""All engines keep to the contract, and one that is half-done is found out."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.engines import interface
from binfmt_setup.engines.ask import asked_engines
from binfmt_setup.engines.interface import ENGINES, Engine, Session, engine_named
from binfmt_setup.engines.podman import Podman
from binfmt_setup.engines.store_engine import StoreFacts, StoreSession
from binfmt_setup.model.errors import OtherProgramFailed, UsageProblem
from tests.engine_contract import complaints
from tests.report_schema import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.engines.call import Caller

FOLDER = Path(interface.__file__).parent


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_keeps_to_the_contract(name: str, tmp_path: Path) -> None:
    assert complaints(engine_named(name), tmp_path) == []


def test_every_engine_in_the_folder_is_in_the_table() -> None:
    with_engine = {p.stem for p in FOLDER.glob("*.py") if "\nENGINE = " in p.read_text()}
    assert with_engine == set(ENGINES)
    assert [engine_named(name).name for name in ENGINES] == list(ENGINES)


def test_the_report_may_name_every_engine() -> None:
    assert SCHEMA["$defs"]["engine"]["properties"]["name"]["enum"] == [*ENGINES, "auto"]


@pytest.mark.parametrize("name", ["", "dokcer", "auto", "interface", "../docker", "docker "])
def test_an_unknown_engine_is_never_another_one(name: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        engine_named(name)
    assert all(engine in caught.value.hint for engine in (*ENGINES, "auto"))


def test_what_the_option_takes() -> None:
    assert asked_engines("auto") == ("auto",)
    assert asked_engines("Docker,podman,,buildah") == ("docker", "podman", "buildah")


# -- the contract itself: what it finds in an engine that somebody left half-done -----------


class WithoutSession(Engine):
    name, oldest, variables = "podman", (1, 0), ()


class WithoutBuilds(Session):
    pass


@pytest.mark.parametrize("unfinished", [WithoutSession, WithoutBuilds])
def test_a_missing_method_is_found_when_it_is_made(unfinished: type) -> None:
    with pytest.raises(TypeError, match="abstract"):
        unfinished()


class Undocumented(Podman):
    name = "nerdctl"


class Greedy(Podman):
    variables = (*Podman.variables, "PATH", "LD_PRELOAD")


class Endless(Podman):
    def facts(self, caller: Caller) -> StoreFacts:
        caller.host.run(("env", "podman", "info"), float("inf"))
        return super().facts(caller)


class PastTheCaller(Podman):
    def facts(self, caller: Caller) -> StoreFacts:
        caller.host.run(("podman", "info"), 1.0)
        return super().facts(caller)


class Hintless(Podman):
    def facts(self, caller: Caller) -> StoreFacts:
        try:
            return super().facts(caller)
        except OtherProgramFailed:
            raise OtherProgramFailed("podman failed") from None


class Untyped(Podman):
    def facts(self, caller: Caller) -> StoreFacts:
        if caller.ask(("podman", "info")).status:
            raise ValueError("no status 0")
        return super().facts(caller)


class Moody(Podman):
    asked = 0

    def facts(self, caller: Caller) -> StoreFacts:
        self.asked += 1
        return StoreFacts(f"4.{self.asked}", super().facts(caller).root)


class Untidy(Podman):
    @contextmanager
    def session(self, caller: Caller) -> Iterator[StoreSession]:
        near = caller.host.path("/var/tmp")
        caller.ask(("podman", "info", tempfile.mkdtemp(prefix="binfmt-setup-", dir=near)))
        with super().session(caller) as session:
            yield session


class Credulous(Podman):
    def facts(self, caller: Caller) -> StoreFacts:
        caller.ask(("podman", "info"))
        return StoreFacts("4.0", "/var/lib/containers/storage", remote=True)


@pytest.mark.parametrize(
    ("unfinished", "complaint"),
    [
        (Undocumented, "no row in docs/engines.md"),
        (Undocumented, "no module of its name"),
        (Undocumented, "no recorded conversation"),
        (Greedy, "takes PATH of the caller's environment"),
        (Greedy, "passes on what was not asked for"),
        (Endless, "waits inf s"),
        (PastTheCaller, "podman is called past the caller"),
        (Hintless, "silence from 0 on: an error without a hint: podman failed"),
        (Untyped, "a failure from 0 on: ValueError escapes"),
        (Moody, "the same answers give another report"),
        (Untidy, "leaves binfmt-setup…"),
        (Credulous, "the recorded conversation builds []"),
    ],
)
def test_a_half_done_engine_is_found_out(
    unfinished: type[Podman], complaint: str, tmp_path: Path
) -> None:
    assert any(said.startswith(complaint) for said in complaints(unfinished(), tmp_path))
