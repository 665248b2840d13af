"""A build with Docker that leaves nothing: no image, cache record, history or settings.

Build results go to a file of ours; `build_cache` says what of BuildKit's records is ours.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from binfmt_setup.engines.build_cache import (
    CacheRecord,
    parse_du,
    parse_system_df,
    remove_left,
)
from binfmt_setup.engines.build_log import context_files, index_in_archive
from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.records import replace
from binfmt_setup.system.scratch import workspace

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_setup.engines.answers import Build
    from binfmt_setup.engines.call import Caller
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.host import Host


_TEMPORARY = "/tmp"  # noqa: S108 - mkdtemp makes a directory of our own in it
_COPIED_SETTINGS = 1024 * 1024  # bytes


def _as_docker_says(size: int) -> str:
    """A file's size as Docker prints it: 904B, 1.06kB (docker/go-units)."""
    return f"{size}B" if size < 1000 else f"{size / 1000:.3g}kB"


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
        read = self.index and not done.status
        return done, index_in_archive(archive, "docker") if read else None

    @property
    def _builtin(self) -> dict[str, str]:
        """What makes a client older than 23.0 use the BuildKit in the daemon."""
        return {} if self.buildx else {"DOCKER_BUILDKIT": "1"}

    def _records(self) -> tuple[CacheRecord, ...] | None:
        if self.buildx:
            return parse_du(self.caller.ask(("docker", "buildx", "du", "--verbose")))
        argv = ("docker", "system", "df", "-v", "--format", "{{json .BuildCache}}")
        return parse_system_df(self.caller.ask(argv).output)

    def _clean(self, before: Sequence[CacheRecord] | None) -> None:
        """Remove what the builds left in the daemon."""
        builder = "buildx" if self.buildx else "builder"
        prune = ("docker", builder, "prune", "--all", "--force", "--filter")
        remove_left(
            before, self._records, lambda ids: self.caller.ask((*prune, f"id={ids}")),
            self.tokens, self.sizes,
        )  # fmt: skip
        # buildx notes each build under its id; BuildKit's history has the same one.
        refs = [path.name for path in (self.workspace / "buildx" / "refs").glob("*/*/*")]
        if refs:
            self.caller.ask(("docker", "buildx", "history", "rm", *refs))
