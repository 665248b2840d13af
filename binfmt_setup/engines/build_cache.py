"""What BuildKit keeps of a build in its cache, and how what ours left goes.

It is found by comparing the records before and after: only those are removed that bear our
token, their parents, and the copies of build contexts that came with them. Where nobody could
tell what was there before, what bears our token and nothing else.
"""

from __future__ import annotations

import json
from contextlib import suppress

from binfmt_setup.engines.build_log import as_object, as_text
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from binfmt_setup.system.programs import Completed


_PASSES = 3  # Docker 20.10 lets a record go some time after its last child
_COPY = "fileop target"


class CacheRecord(Record):
    """One record of BuildKit's cache."""

    id: str
    description: str = ""
    kind: str = ""
    size: str = ""
    parents: tuple[str, ...] = ()


def parse_du(done: Completed) -> tuple[CacheRecord, ...] | None:
    """Read what `docker buildx du` and `buildctl du` print with `--verbose`.

    Blocks of `Key: value`; the first has parents one to a line, the second separated by `;`. The
    sum at their end is there even where nothing is kept: without it, it is no list, so None.
    """
    text = done.output
    if done.status or "\nTotal:" not in f"\n{text}":
        return None
    records = []
    for block in text.split("\n\n"):
        values: dict[str, str] = {}
        parents = []
        for line in block.splitlines():
            key, colon, value = line.partition(":")
            if line.startswith(" - "):
                parents.append(line[3:].strip())
            elif colon:
                values[key.strip()] = value.strip()
        alone = values.get("Parent") or values.get("Parents", "")
        parents += [parent for parent in alone.split(";") if parent]
        if values.get("ID"):
            records.append(CacheRecord(
                values["ID"].rstrip("*"), values.get("Description", ""), values.get("Type", ""),
                values.get("Size", ""),
                tuple(parents),
            ))  # fmt: skip
    return tuple(records)


def parse_system_df(text: str) -> tuple[CacheRecord, ...] | None:
    """Read the BuildCache list of `docker system df -v` as JSON; None for what is none."""
    with suppress(ValueError):
        found = json.loads(text)
        if found is None or isinstance(found, list):
            return tuple(
                CacheRecord(
                    as_text(row.get("ID")).rstrip("*"), as_text(row.get("Description")),
                    as_text(row.get("CacheType")), as_text(row.get("Size")),
                    tuple(as_text(row.get("Parent")).split()),
                )
                for row in map(as_object, found or ())
            )  # fmt: skip
    return None


def left_by(
    before: Sequence[CacheRecord] | None,
    after: Sequence[CacheRecord],
    tokens: Sequence[str],
    sizes: Collection[str] = (),
) -> tuple[str, ...]:
    """The ids of the records that builds with these tokens left, children before parents.

    Docker 20.10 calls every copied file `fileop target`: where no child tells whose it is
    (its RUN failed), a new one of the size of a probe is ours. With None for `before` any
    record may be old and somebody's, but those with a token, which no other build knows.
    """
    old = {record.id for record in before or ()}
    new = {record.id: record for record in after if record.id not in old}
    ours = {i for i, r in new.items() if any(token in r.description for token in tokens)}
    if before is not None:
        ours |= _nameless(new, ours, sizes)
    ordered: list[str] = []
    while ours:
        needed = {parent for i in ours for parent in new[i].parents if parent != i}
        leaves = sorted(ours - needed) or sorted(ours)
        ordered += leaves
        ours -= set(leaves)
    return tuple(ordered)


def _nameless(
    new: Mapping[str, CacheRecord], named: Collection[str], sizes: Collection[str]
) -> set[str]:
    """What of the new records belongs to those with a token, though it bears none."""
    found = {i for i, r in new.items() if r.description == _COPY and r.size in sizes}
    todo = [*named, *found]
    while todo:
        parents = [p for p in new[todo.pop()].parents if p in new and p not in found]
        found.update(parents)
        todo += parents
    return found | {i for i, record in new.items() if record.kind == "source.local"}


def remove_left(
    before: Sequence[CacheRecord] | None,
    records: Callable[[], Sequence[CacheRecord] | None],
    remove: Callable[[str], object],
    tokens: Sequence[str],
    sizes: Collection[str] = (),
) -> None:
    """Remove what builds with these tokens left since `before`.

    `remove` gets a pattern of ids, in the syntax of containerd's filters: a call for each record
    would take buildx half a second.
    """
    left = left_by(before, records() or (), tokens, sizes)
    for _ in range(_PASSES if left else 0):
        remove(f"/^({'|'.join(left)})$/")
        still = {record.id for record in records() or ()}
        left = tuple(record for record in left if record in still)
        if not left:
            break
