"""The build that an engine is asked to do, and what its words and its index tell.

FROM scratch, one file, one RUN: the file is the probe of the platform being built, so its
line in the build's log is the proof. Everything that reads an engine's output is pure.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.records import Record
from binfmt_setup.system.probes import PROBES, available

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from tarfile import TarFile

    from binfmt_setup.model.targets import Platform


_LINE = re.compile(r"binfmt-probe target=(\S+) machine=(\S*) argc=(\d+) argv0=(\S*)")
_EXIT = re.compile(r"exit code: (\d+)")
_EMULATOR_EXIT = re.compile(r"while running runtime: exit status (\d+)")
_SIGSYS = 31
_ATTESTATION = "attestation-manifest"
_BLOB_LIMIT = 4 * 1024 * 1024  # bytes; no JSON in an index is larger
_REASONS = {
    "exec format error": "ENOEXEC",
    "no such file or directory": "ENOENT",
    "permission denied": "EACCES",
    "operation not permitted": "EPERM",
    "too many levels of symbolic links": "ELOOP",
}
"""The words that runtimes have for the errno of an execve: it reaches us in no other form
(runc: `exec /x: exec format error`, crun: ``exec container process `/x`: Exec format error``)."""


class ProbeFailure(Record):
    """Why a probe did not run in a build: the name of execve's errno, or an exit status."""

    errno: str = ""
    exit_status: int = 0

    @property
    def blocked_call(self) -> bool:
        """Whether SIGSYS ended it: a seccomp filter refused a system call."""
        return self.exit_status == 128 + _SIGSYS

    def __str__(self) -> str:
        """The failure in the words of a shell."""
        words = {name: text for text, name in _REASONS.items()}
        return words[self.errno] if self.errno else f"exit status {self.exit_status}"


def buildable(platforms: Sequence[Platform]) -> tuple[Platform, ...]:
    """The platforms that have a probe to build with."""
    return tuple(platform for platform in platforms if available(platform.probe))


def context_files(platforms: Sequence[Platform], token: str) -> dict[str, bytes]:
    """The build context: the Dockerfile and the probe of each platform.

    The builder itself chooses the probe, by the platform that it says it builds for. The
    token is in every step, so that what the build leaves in a cache is known by it.
    """
    dockerfile = (
        "FROM scratch\n"
        "ARG TARGETPLATFORM\n"
        f"COPY ${{TARGETPLATFORM}}/probe /{token}\n"
        f'RUN ["/{token}", "one"]\n'
    )
    probes = {f"{p.name}/probe": Path(PROBES, p.probe).read_bytes() for p in platforms}
    return {"Dockerfile": dockerfile.encode(), **probes}


def targets_that_ran(log: str, token: str) -> frozenset[str]:
    """The probes whose line is in a build's log, their arguments as they were given."""
    lines = _LINE.finditer(log)
    return frozenset(m[1] for m in lines if m[3] == "2" and token in m[4])


def probe_failure(log: str, token: str) -> ProbeFailure | None:
    """Why the probe did not run; None when something else than the probe failed."""
    said = re.search(rf"exec (?:container process )?[`'\"]?/{token}[`'\"]?: (.+)", log)
    if said:
        reason = said[1].strip().lower()
        name = next((name for words, name in _REASONS.items() if reason.startswith(words)), "")
        if name:
            return ProbeFailure(errno=name)
    for line in log.splitlines():
        status = _EXIT.search(line) if token in line else None
        if status and int(status[1]):
            return ProbeFailure(exit_status=int(status[1]))
        status = _EMULATOR_EXIT.search(line) if token in line else None
        if status and int(status[1]) > 1:  # 1 is also what a runtime leaves that failed itself
            return ProbeFailure(exit_status=int(status[1]))
    return None


def as_object(value: object) -> Mapping[str, object]:
    """A JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def object_in(text: str) -> Mapping[str, object]:
    """The JSON object that a text is; an empty one for anything else."""
    try:
        return as_object(json.loads(text))
    except ValueError:
        return {}


def as_list(value: object) -> Sequence[object]:
    """A JSON array, or an empty one for anything else."""
    return value if isinstance(value, list) else ()


def as_text(value: object) -> str:
    """A JSON string, or an empty one for anything else."""
    return value if isinstance(value, str) else ""


def platforms_of_index(
    document: Mapping[str, object], read: Callable[[str], Mapping[str, object]]
) -> frozenset[str]:
    """The platforms that an OCI index or Docker manifest list really holds images for.

    `read` gives the JSON of a blob by its digest. Attestations are manifests, too, and no
    platform: they say `unknown/unknown` and carry an annotation (BuildKit's
    docs/attestations/attestation-storage.md).
    """
    found: set[str] = set()
    for item in map(as_object, as_list(document.get("manifests"))):
        kind = as_text(as_object(item.get("annotations")).get("vnd.docker.reference.type"))
        if kind == _ATTESTATION:
            continue
        if "index" in as_text(item.get("mediaType")) or "list" in as_text(item.get("mediaType")):
            found |= platforms_of_index(read(as_text(item.get("digest"))), read)
            continue
        platform = as_object(item.get("platform")) or _platform_in_config(item, read)
        name = platform_name(platform)
        if name != "unknown/unknown":
            found.add(name)
    return frozenset(found)


def _platform_in_config(
    item: Mapping[str, object], read: Callable[[str], Mapping[str, object]]
) -> Mapping[str, object]:
    """An image that the index holds without a platform tells it in its configuration."""
    config = as_object(read(as_text(item.get("digest"))).get("config"))
    return read(as_text(config.get("digest")))


def platform_name(platform: Mapping[str, object]) -> str:
    """`linux/arm64` for what OCI writes as an object; arm64's only variant goes unsaid."""
    parts = [as_text(platform.get(key)) for key in ("os", "architecture", "variant")]
    if parts[1:] == ["arm64", "v8"]:
        parts.pop()
    return "/".join(part for part in parts if part)


def index_in_archive(archive: Path, engine: str) -> frozenset[str]:
    """The platforms in an OCI archive; raises OtherProgramFailed when it is none."""
    import tarfile

    try:
        with tarfile.open(archive) as tar:

            def read(digest: str) -> Mapping[str, object]:
                algorithm, _, value = digest.partition(":")
                return _json_in(tar, f"blobs/{algorithm}/{value}")

            return platforms_of_index(_json_in(tar, "index.json"), read)
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        raise OtherProgramFailed(
            f"{engine} wrote no OCI archive that can be read: {error}", code="engine-failed",
            hint=f"repair {engine}, or leave it out of --engine",
        ) from error  # fmt: skip


def _json_in(tar: TarFile, name: str) -> Mapping[str, object]:
    member = tar.extractfile(name)
    return as_object(json.loads(member.read(_BLOB_LIMIT))) if member else {}
