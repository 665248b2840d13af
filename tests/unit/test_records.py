"""Records: what dataclasses do with frozen=True, compared with dataclasses themselves."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import binfmt_setup
from binfmt_setup.model.records import NOTHING, Record, replace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Road(Record):
    """A record with all there is: fields with and without defaults, one that is derived."""

    name: str
    lanes: int = 2
    tolls: Mapping[str, int] = NOTHING

    @cached_property
    def loud(self) -> str:
        """A value that is kept once it was asked for."""
        return self.name.upper()


@dataclasses.dataclass(frozen=True)
class Model:
    """The same as a dataclass."""

    name: str
    lanes: int = 2
    tolls: Mapping[str, int] = dataclasses.field(default_factory=dict)


Model.__qualname__ = Road.__qualname__

WORDS = st.text("ab", max_size=2)
TOLLS = st.dictionaries(WORDS, st.integers(), max_size=2)
CALLS = st.tuples(
    st.lists(WORDS | st.integers() | TOLLS, max_size=4),
    st.dictionaries(st.sampled_from(["name", "lanes", "tolls", "other"]), st.integers()),
)


def outcome(make: Callable[[], object]) -> object:
    """The values that something came to, or the kind of error."""
    try:
        made = make()
    except (TypeError, AttributeError) as error:
        return type(error) if isinstance(error, TypeError) else AttributeError
    return repr(made)


@given(CALLS)
def test_a_record_takes_and_shows_the_values_that_a_dataclass_does(
    call: tuple[list[object], dict[str, int]],
) -> None:
    values, named = call
    values = [dict(v) if isinstance(v, dict) else v for v in values]
    road = outcome(lambda: Road(*values, **named))  # type: ignore[arg-type]
    model = outcome(lambda: Model(*values, **named))  # type: ignore[arg-type]
    assert str(road).replace("mappingproxy({})", "{}") == str(model)


@given(st.tuples(WORDS, st.integers(0, 1)), st.tuples(WORDS, st.integers(0, 1)))
def test_records_are_equal_when_dataclasses_are(
    one: tuple[str, int], other: tuple[str, int]
) -> None:
    assert (Road(*one) == Road(*other)) == (Model(*one) == Model(*other))
    if one == other:
        assert len({Road(*one, None), Road(*other, None)}) == 1  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from(["name", "lanes", "other"]), st.integers()))
def test_replacing_fields_gives_what_dataclasses_give(changes: dict[str, int]) -> None:
    road = outcome(lambda: replace(Road("a", 3, {}), **changes))
    assert road == outcome(lambda: dataclasses.replace(Model("a", 3, {}), **changes))  # type: ignore[arg-type]


def test_a_record_stays_as_it_was_made() -> None:
    road = Road("a")
    with pytest.raises(AttributeError, match="Road is frozen"):
        road.name = "b"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="Road is frozen"):
        del road.name
    assert road == Road("a")


def test_another_class_with_the_same_values_is_not_equal() -> None:
    class Path(Record):
        name: str

    class Way(Record):
        name: str

    assert Path("a") != Way("a")
    assert Path("a") != ("a",)
    assert Path("a") != ("a",)


def test_a_kept_value_belongs_neither_to_the_fields_nor_to_a_replacement() -> None:
    road = Road("a")
    assert road.loud == "A"
    assert road == Road("a")
    assert replace(road, name="b").loud == "B"


def test_a_record_may_have_more_fields_than_its_base() -> None:
    class Motorway(Road):
        limit: int = 120

    assert Motorway("a", limit=80) == Motorway("a", 2, NOTHING, 80)
    assert Motorway("a") != Road("a")


def test_records_can_be_copied() -> None:
    road = Road("a", 3, {"b": 1})
    assert copy.deepcopy(road) == road
    assert pickle.loads(pickle.dumps(road)) == road  # noqa: S301 - its own


@pytest.mark.skipif(not find_spec("mypy"), reason="mypy is not installed")
def test_type_checkers_know_the_fields(tmp_path: object) -> None:
    wrong = ["Distribution('a', surname='b')", "Distribution(1)", "Distribution().id = 'b'"]
    code = "\n".join(["from binfmt_setup.model.facts import Distribution", *wrong])
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "-c", code],
        cwd=binfmt_setup.__path__[0] + "/..", capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    lines = [line.split(":")[1] for line in done.stdout.splitlines() if ": error: " in line]
    assert lines == ["2", "3", "4"], done
