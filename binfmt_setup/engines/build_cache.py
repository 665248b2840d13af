"""What BuildKit keeps of a build in its cache, and how what ours left goes.

It is found by comparing the records before and after: only those are removed that bear our
token, their parents, and the copies of build contexts that came with them.
"""

from __future__ import annotations

import json
from contextlib import suppress

from binfmt_setup.engines.build_log import as_list, as_object, as_text
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence


_PASSES = 3  # Docker 20.10 lets a record go some time after its last child
_COPY = "fileop target"


class CacheRecord(Record):
    """One record of BuildKit's cache."""

    id: str
    description: str = ""
    kind: str = ""
    size: str = ""
    parents: tuple[str, ...] = ()


def parse_du(text: str) -> tuple[CacheRecord, ...]:
    """Read what `docker buildx du` and `buildctl du` print with `--verbose`.

    Blocks of `Key: value`; the first has parents one to a line, the second separated by `;`.
    """
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


def parse_system_df(text: str) -> tuple[CacheRecord, ...]:
    """Read the BuildCache list of `docker system df -v` as JSON."""
    with suppress(ValueError):
        rows = map(as_object, as_list(json.loads(text)))
        return tuple(
            CacheRecord(
                as_text(row.get("ID")).rstrip("*"), as_text(row.get("Description")),
                as_text(row.get("CacheType")), as_text(row.get("Size")),
                tuple(as_text(row.get("Parent")).split()),
            )
            for row in rows
        )  # fmt: skip
    return ()


def left_by(
    before: Sequence[CacheRecord],
    after: Sequence[CacheRecord],
    tokens: Sequence[str],
    sizes: Collection[str] = (),
) -> tuple[str, ...]:
    """The ids of the records that builds with these tokens left, children before parents.

    Docker 20.10 calls every copied file `fileop target`: where no child tells whose it is
    (its RUN failed), a new one of the size of a probe is ours.
    """
    old = {record.id for record in before}
    new = {record.id: record for record in after if record.id not in old}
    ours = {i for i, r in new.items() if any(token in r.description for token in tokens)}
    ours |= {i for i, r in new.items() if r.description == _COPY and r.size in sizes}
    todo = list(ours)
    while todo:
        parents = [p for p in new[todo.pop()].parents if p in new and p not in ours]
        ours.update(parents)
        todo += parents
    ours |= {i for i, record in new.items() if record.kind == "source.local"}
    ordered: list[str] = []
    while ours:
        needed = {parent for i in ours for parent in new[i].parents if parent != i}
        leaves = sorted(ours - needed) or sorted(ours)
        ordered += leaves
        ours -= set(leaves)
    return tuple(ordered)


def remove_left(
    before: Sequence[CacheRecord],
    records: Callable[[], Sequence[CacheRecord]],
    remove: Callable[[str], object],
    tokens: Sequence[str],
    sizes: Collection[str] = (),
) -> None:
    """Remove, one by one, what builds with these tokens left since `before`."""
    left = left_by(before, records(), tokens, sizes)
    for _ in range(_PASSES if left else 0):
        for record in left:
            remove(record)
        still = {record.id for record in records()}
        left = tuple(record for record in left if record in still)
        if not left:
            break
