"""A build with Docker that leaves nothing: no image, cache record, history or settings.

Build results go to a file of ours. What BuildKit keeps is found by comparing its records
before and after, and only those are removed that bear our token, their parents, and the
copies of build contexts that came with them.
"""

from __future__ import annotations

import json
import tarfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from binfmt_setup.engines.build_log import (
    as_list,
    as_object,
    as_text,
    context_files,
    platforms_of_index,
)
from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.records import Record, replace
from binfmt_setup.system.scratch import workspace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from binfmt_setup.engines.answers import Build
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.host import Host


_TEMPORARY = "/tmp"  # noqa: S108 - mkdtemp makes a directory of our own in it
_PASSES = 3  # Docker 20.10 lets a record go some time after its last child
_COPY = "fileop target"
_BLOB_LIMIT = 4 * 1024 * 1024  # bytes; no JSON in an index is larger
_COPIED_SETTINGS = 1024 * 1024  # bytes


class CacheRecord(Record):
    """One record of BuildKit's cache."""

    id: str
    description: str = ""
    kind: str = ""
    size: str = ""
    parents: tuple[str, ...] = ()


def _as_docker_says(size: int) -> str:
    """A file's size as Docker prints it: 904B, 1.06kB (docker/go-units)."""
    return f"{size}B" if size < 1000 else f"{size / 1000:.3g}kB"


def parse_du(text: str) -> tuple[CacheRecord, ...]:
    """Read `docker buildx du --verbose`: blocks of `Key: value`, parents one to a line."""
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
        if values.get("Parent"):
            parents.append(values["Parent"])
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


@contextmanager
def own_settings(caller: Caller) -> Iterator[tuple[Caller, Path]]:
    """A caller whose docker reads the user's settings and writes to a workspace of ours.

    Even looking at a builder makes the client write: lock, activity, a node id.
    """
    environment = caller.environment
    docker = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME', '')}/.docker"
    buildx = environment.get("BUILDX_CONFIG") or f"{docker}/buildx"
    with workspace(Path(_TEMPORARY), _builders(caller.host, buildx)) as where:
        (where / "docker").mkdir()
        for name in caller.host.names(docker):
            if name not in (".buildNodeID", "buildx"):
                (where / "docker" / name).symlink_to(f"{docker}/{name}")
        own = {"DOCKER_CONFIG": f"{where}/docker", "BUILDX_CONFIG": f"{where}/buildx"}
        yield replace(caller, environment={**environment, **own}), where


def _builders(host: Host, directory: str) -> dict[str, bytes]:
    """The user's builders and which one is in use."""
    found = {"buildx/.lock": b""}
    for folder in ("", "instances/", "defaults/"):
        for name in host.names(f"{directory}/{folder}"):
            if folder or name in ("current", ".buildNodeID"):
                with suppress(OSError):
                    content = host.head(f"{directory}/{folder}{name}", _COPIED_SETTINGS)
                    found[f"buildx/{folder}{name}"] = content
    return found


@dataclass
class DockerBuild:
    """Builds with one Docker, in one workspace.

    `buildx` says which builder to call, `index` whether it can write an OCI archive.
    """

    caller: Caller
    workspace: Path
    buildx: bool
    index: bool
    tokens: list[str] = field(default_factory=list)
    sizes: set[str] = field(default_factory=set)

    @contextmanager
    def cleaned_up(self) -> Iterator[DockerBuild]:
        """Remove what the builds left, however they end; their failure is what counts."""
        before = self._records()
        try:
            yield self
        finally:
            with suppress(OtherProgramFailed):
                self._clean(before)

    def run(self, platforms: Sequence[Platform], token: str) -> Build:
        """Build once; the workspace keeps nothing of it but the archive that is read."""
        self.tokens.append(token)
        names = ",".join(platform.name for platform in platforms)
        archive = self.workspace / f"{token}.tar"
        kind = "oci" if self.index else "tar"
        argv = (
            *(("docker", "buildx", "build") if self.buildx else ("docker", "build")),
            *("--platform", names, "--network=none", "--no-cache", "--pull=false"),
            *("--progress=plain", "--output", f"type={kind},dest={archive}"),
        )
        files = context_files(platforms, token)
        self.sizes.update(_as_docker_says(len(content)) for content in files.values())
        with (
            workspace(self.workspace, files) as context,
            self.caller.progress(f"docker builds {names.replace(',', ', ')}"),
        ):
            done = self.caller.ask(
                (*argv, str(context)),
                seconds=self.caller.limits.for_build(platforms), also=self._builtin,
            )  # fmt: skip
        return done, _index_of(archive) if self.index and not done.status else None

    @property
    def _builtin(self) -> dict[str, str]:
        """What makes a client older than 23.0 use the BuildKit in the daemon."""
        return {} if self.buildx else {"DOCKER_BUILDKIT": "1"}

    def _records(self) -> tuple[CacheRecord, ...]:
        if self.buildx:
            done = self.caller.ask(("docker", "buildx", "du", "--verbose"))
            return parse_du(done.output)
        argv = ("docker", "system", "df", "-v", "--format", "{{json .BuildCache}}")
        return parse_system_df(self.caller.ask(argv).output)

    def _clean(self, before: Sequence[CacheRecord]) -> None:
        """Remove what the builds left in the daemon."""
        builder = "buildx" if self.buildx else "builder"
        left = left_by(before, self._records(), self.tokens, self.sizes)
        for _ in range(_PASSES if left else 0):
            for record in left:
                argv = ("docker", builder, "prune", "--all", "--force", "--filter", f"id={record}")
                self.caller.ask(argv)
            still = {record.id for record in self._records()}
            left = tuple(record for record in left if record in still)
            if not left:
                break
        # buildx notes each build under its id; BuildKit's history has the same one.
        refs = [path.name for path in (self.workspace / "buildx" / "refs").glob("*/*/*")]
        if refs:
            self.caller.ask(("docker", "buildx", "history", "rm", *refs))


def _index_of(archive: Path) -> frozenset[str]:
    """The platforms in an OCI archive; raises OtherProgramFailed when it is none."""
    try:
        with tarfile.open(archive) as tar:

            def read(digest: str) -> Mapping[str, object]:
                algorithm, _, value = digest.partition(":")
                return _json_in(tar, f"blobs/{algorithm}/{value}")

            return platforms_of_index(_json_in(tar, "index.json"), read)
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise OtherProgramFailed(
            f"docker wrote no OCI archive that can be read: {error}", code="engine-failed"
        ) from error


def _json_in(tar: tarfile.TarFile, name: str) -> Mapping[str, object]:
    member = tar.extractfile(name)
    return as_object(json.loads(member.read(_BLOB_LIMIT))) if member else {}
