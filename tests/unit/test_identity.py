"""Which ids a private namespace maps, from what the system's files say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing
from binfmt_setup.userns.identity import Caller, Extent, Identity, Users, choose

ALICE = Caller(
    1000, 100, "alice", "0 0 4294967295\n", "0 0 4294967295\n",
    subuid="bob:100000:65536\nalice:165536:65536\n", subgid="1000:300000:10\n",
)  # fmt: skip
ROOT = Caller(0, 0, "root", "         0          0 4294967295\n", "0 0 4294967295\n")


def test_a_user_alone_is_mapped_back_to_what_they_were() -> None:
    assert choose(ALICE) == Identity(((0, 1000, 1),), ((0, 100, 1),), "self", (1000, 100))
    assert choose(ALICE, Users.one) == choose(ALICE)


def test_a_user_as_root_needs_no_second_namespace() -> None:
    identity = choose(ALICE, as_root=True)
    assert identity == Identity(((0, 1000, 1),), ((0, 100, 1),), "self", None)


def test_root_keeps_all_ids() -> None:
    everything = ((0, 0, 4294967295),)
    for users in (None, Users.auto, Users.current):
        assert choose(ROOT, users) == Identity(everything, everything, "root")


def test_root_of_a_container_keeps_the_ids_that_there_are() -> None:
    inside = Caller(0, 0, "root", "0 1000 1\n1 100000 65536\n", "0 1000 1\n")
    assert choose(inside) == Identity(((0, 0, 1), (1, 1, 65536)), ((0, 0, 1),), "root")


def test_root_may_want_one_id() -> None:
    assert choose(ROOT, Users.one) == Identity(((0, 0, 1),), ((0, 0, 1),))


def test_a_range_for_root_of_the_namespace() -> None:
    identity = choose(ALICE, Users.auto, as_root=True)
    assert identity.uids == ((0, 1000, 1), (1, 165536, 65536))
    assert identity.gids == ((0, 100, 1), (1, 300000, 10))
    assert identity.writer == "newuidmap"
    assert identity.back is None


def test_a_range_around_the_own_id() -> None:
    identity = choose(ALICE, Users.auto)
    assert identity.uids == ((1000, 1000, 1), (0, 165536, 1000), (1001, 166536, 64536))
    assert identity.gids == ((100, 100, 1), (0, 300000, 10))


def test_several_ranges_stand_side_by_side() -> None:
    caller = Caller(7, 7, "eve", subuid="eve:100:3\n7:500:2\n", subgid="eve:100:3\n")
    assert choose(caller, Users.auto, as_root=True).uids == ((0, 7, 1), (1, 100, 3), (4, 500, 2))


@pytest.mark.parametrize(
    "text", ["", "bob:1:2\n", "alice\n", "alice:x:5\n", "alice:5:0\n", ":1:2\n", "alice:5:-1\n"]
)
def test_no_range(text: str) -> None:
    caller = Caller(1000, 100, "alice", subuid=text, subgid=text)
    with pytest.raises(EnvironmentUnfit) as raised:
        choose(caller, Users.auto)
    assert raised.value.code == "subuid-missing"
    assert "usermod --add-subuids" in raised.value.hint
    assert "alice" in raised.value.hint


def test_a_user_without_a_name_owns_nothing_of_an_empty_name() -> None:
    with pytest.raises(EnvironmentUnfit):
        choose(Caller(5, 5, "", subuid=":1:2\n", subgid=":1:2\n"), Users.auto)


def test_only_root_may_keep_all_ids() -> None:
    with pytest.raises(PrivilegesMissing):
        choose(ALICE, Users.current)


@given(
    uid=st.integers(1, 200),
    ranges=st.lists(st.integers(1, 150), min_size=1, max_size=4),
    as_root=st.booleans(),
)
def test_every_granted_id_is_used_once(uid: int, ranges: list[int], *, as_root: bool) -> None:
    starts = [1000 * (number + 1) for number in range(len(ranges))]
    text = "".join(f"u:{start}:{count}\n" for start, count in zip(starts, ranges, strict=True))
    identity = choose(Caller(uid, uid, "u", subuid=text, subgid=text), Users.auto, as_root=as_root)
    pairs = [pair for extent in identity.uids for pair in spelt_out(extent)]
    inside = [pair[0] for pair in pairs]
    assert len(set(inside)) == len(inside) == sum(ranges) + 1
    assert max(inside) <= max(sum(ranges), uid)
    granted = {s + n for s, count in zip(starts, ranges, strict=True) for n in range(count)}
    assert {pair[1] for pair in pairs} == granted | {uid}
    assert (0 if as_root else uid, uid) in pairs


def spelt_out(extent: Extent) -> list[tuple[int, int]]:
    inside, outside, count = extent
    return [(inside + number, outside + number) for number in range(count)]
