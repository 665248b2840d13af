"""Taking emulators out of archives: tar, .deb, `docker save`, OCI layout, image layers.

Taken are regular files that are named like QEMU's, static, and programs of the host's own
architecture; everything else stays where it is. Layers apply in order, whiteouts included,
and count only after their digests were verified.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from binfmt_setup.emulators.version_line import OVERLAP, version_in
from binfmt_setup.model.elf import HEADER_BYTES, ElfFacts, identify
from binfmt_setup.model.errors import NoEmulator, UsageProblem
from binfmt_setup.model.records import Record
from binfmt_setup.model.targets import target_named
from binfmt_setup.sources import image_manifests
from binfmt_setup.sources.streams import (
    CHUNK,
    Budget,
    Limits,
    Piece,
    Readable,
    broken_is_corrupt,
    corrupt,
    debian_data,
    decompressed,
    is_plain_file,
    tar_members,
    too_large,
)

if TYPE_CHECKING:
    import tarfile

    from binfmt_setup.model.targets import Target
    from binfmt_setup.sources.image_manifests import Descriptor

_NAME = re.compile(r"qemu-([a-z0-9_]+?)(-static)?")
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_DOCUMENTS_MOST = 32 * 1024 * 1024  # bytes of all JSON files of one archive

Sink = Callable[[str, str, Iterator[bytes]], None]
"""Writes one emulator: the path it had, the name it gets, its content piece by piece."""


class Emulator(Record):
    """One emulator found in an archive: QEMU's version is read out of the program's text."""

    target: Target
    path: str
    size: int
    sha256: str
    version: str
    elf: ElfFacts
    layer: int = 0

    @property
    def name(self) -> str:
        """The name it is stored under."""
        return f"qemu-{self.target.name}"


@dataclass
class Haul:
    """What has been found so far, by path, and what was passed over, with the reason."""

    native: Target
    sink: Sink | None = None
    found: dict[str, Emulator] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def emulators(self) -> dict[str, Emulator]:
        """The emulators by target, the usual place first; raises NoEmulator for none."""
        best: dict[str, Emulator] = {}
        for path in sorted(self.found, key=lambda p: (not p.startswith("usr/bin/"), len(p), p)):
            best.setdefault(self.found[path].target.name, self.found[path])
        if not best:
            why = f": {'; '.join(self.refused[:5])}" if self.refused else ""
            raise NoEmulator(
                f"there is no QEMU in it that this host could use{why}",
                hint=f"it must hold static programs for {self.native.name} "
                "named qemu-TARGET or qemu-TARGET-static",
                code="image-without-match",
            )
        return best

    def forget(self, path: str, *, below: int | None = None) -> None:
        """A path, and what is beneath it, is no more: all of it, or that of lower layers."""
        for known in [p for p in self.found if p == path or p.startswith(f"{path}/")]:
            if below is None or self.found[known].layer < below:
                del self.found[known]

    def take_tar(
        self, source: Readable, budget: Budget, layer: int = 0,
        documents: dict[str, bytes] | None = None,
    ) -> None:  # fmt: skip
        """Look at every file of a tar; small JSON documents are kept where asked for."""
        for member, content in tar_members(source, budget):
            path = "/".join(part for part in member.name.split("/") if part not in ("", "."))
            directory, _, name = path.rpartition("/")
            if name == _OPAQUE:
                self.forget(directory, below=layer)
            elif name.startswith(_WHITEOUT):
                self.forget(f"{directory}/{name[len(_WHITEOUT) :]}".lstrip("/"), below=layer)
            else:
                if member.isdir():
                    self.found.pop(path, None)
                else:
                    self.forget(path)
                self._look_at(member, path, name, content, budget.limits, layer)
            if documents is not None:
                _keep_document(documents, member, path, content, budget.limits)

    def _look_at(  # noqa: PLR0913, PLR0917 - where it lies, what it is, and what may be
        self, member: tarfile.TarInfo, path: str, name: str, content: Readable,
        limits: Limits, layer: int,
    ) -> None:  # fmt: skip
        target = target_of_file(name)
        if target is None or member.isdir():
            return
        if not is_plain_file(member):
            self.refused.append(f"{path} is a link or no regular file")
            return
        if member.size > limits.file:
            raise too_large(f"{path} has {member.size >> 20} MiB")
        head = content.read(HEADER_BYTES)
        elf = identify(head)
        why = _unfit(elf, self.native)
        if elf is None or why:
            self.refused.append(f"{path} is {why}")
            return
        facts = _Facts()
        pieces = facts.watch(head, content)
        if self.sink is None:
            for _ in pieces:
                pass
        else:
            self.sink(path, f"qemu-{target.name}", pieces)
        self.found[path] = Emulator(
            target, path, member.size, facts.sha256, facts.version, elf, layer
        )


@dataclass
class _Facts:
    """What is learned of a file while it passes."""

    sha256: str = ""
    version: str = ""

    def watch(self, head: bytes, content: Readable) -> Iterator[bytes]:
        digest, before, piece = hashlib.sha256(), b"", head
        while piece:
            digest.update(piece)
            self.version = self.version or version_in(before + piece)
            before = piece[-OVERLAP:]
            yield piece
            piece = content.read(CHUNK)
        self.sha256 = digest.hexdigest()


def target_of_file(name: str) -> Target | None:
    """The target that a file is the emulator of, by its name."""
    words = _NAME.fullmatch(name)
    with suppress(UsageProblem, KeyError):
        return target_named(words[1]) if words else None
    return None


def _unfit(elf: ElfFacts | None, native: Target) -> str:
    """Why a program cannot be an emulator on this host; empty when it can."""
    if elf is None:
        return "no ELF program"
    built_for = elf.target
    if not native.runs(built_for):
        return f"a program for {built_for.name if built_for else 'an unknown machine'}"
    return "" if elf.static else "dynamically linked"


def _keep_document(
    documents: dict[str, bytes], member: tarfile.TarInfo, path: str, content: Readable,
    limits: Limits,
) -> None:  # fmt: skip
    """Keep a member that is a JSON object; what an image says of itself is in such files."""
    if not is_plain_file(member) or not 0 < member.size <= limits.document:
        return
    if target_of_file(path.rpartition("/")[2]) is not None:
        return
    start = content.read(1)
    if start in (b"{", b"["):
        if sum(map(len, documents.values())) + member.size > _DOCUMENTS_MOST:
            raise too_large("its documents have more than 32 MiB")
        documents[path] = start + content.read(member.size - 1)


def read_archive(
    file: IO[bytes], native: Target, sink: Sink | None = None, limits: Limits | None = None
) -> Haul:
    """Take what is in a file of any form this tool knows; the file is read several times.

    Raises NoEmulator when it is broken, hostile, out of proportion, or has nothing to take.
    """
    budget = Budget(limits or Limits())
    haul = Haul(native, sink)
    documents: dict[str, bytes] = {}
    with broken_is_corrupt():
        haul.take_tar(_outer(file), budget, documents=documents)
        layers = _layers_of_archive(documents, native)
        if layers is None:
            return haul
        haul = Haul(native, sink)
        for number, (name, digest, of_content) in enumerate(_bounded(layers, budget.limits)):
            _take_layer(file, haul, budget, number, name, digest, of_content=of_content)
    return haul


def take_layer_file(haul: Haul, file: IO[bytes], number: int, budget: Budget) -> None:
    """Apply one layer, whose digest has been verified, from a file."""
    with broken_is_corrupt():
        haul.take_tar(decompressed(file), budget, number)


def _bounded(
    layers: Sequence[tuple[str, str, bool]], limits: Limits
) -> Sequence[tuple[str, str, bool]]:
    if len(layers) > limits.layers:
        raise too_large(f"it has {len(layers)} layers")
    return layers


def _outer(file: IO[bytes]) -> Readable:
    """The tar in a file: its own content, or that of a .deb."""
    file.seek(0)
    data = debian_data(file)
    if data is None:
        file.seek(0)
        data = file
    return decompressed(data)


def _layers_of_archive(
    documents: dict[str, bytes], native: Target
) -> list[tuple[str, str, bool]] | None:
    """(member, digest, whether of the unpacked content) of each layer; None: a plain tar."""
    if "index.json" in documents:

        def blob(wanted: Descriptor) -> bytes:
            name = "blobs/" + wanted.digest.replace(":", "/")
            if name not in documents:
                raise corrupt(f"{name} is missing in it")
            return image_manifests.verified(documents[name], wanted.digest)

        image = image_manifests.choose_image(documents["index.json"], blob, native.goarch)
        return [("blobs/" + d.digest.replace(":", "/"), d.digest, False) for d in image.layers]
    if "manifest.json" in documents:
        return _docker_layers(documents)
    return None


def _docker_layers(documents: dict[str, bytes]) -> list[tuple[str, str, bool]]:
    """The layers in Docker's own form, verified by the digests in the image's configuration."""
    listed = image_manifests.parsed(b'{"images":' + documents["manifest.json"] + b"}")["images"]
    if not isinstance(listed, list) or len(listed) != 1 or not isinstance(listed[0], dict):
        raise NoEmulator(
            "it must hold exactly one image",
            hint="save one alone: docker save IMAGE", code="image-ambiguous",
        )  # fmt: skip
    config_name, names = str(listed[0].get("Config", "")), listed[0].get("Layers")
    if config_name not in documents or not isinstance(names, list):
        raise corrupt("manifest.json names a configuration or layers that are not in it")
    digest = "sha256:" + config_name.rpartition("/")[2].removesuffix(".json")
    if image_manifests.is_digest(digest):
        image_manifests.verified(documents[config_name], digest)
    rootfs = image_manifests.parsed(documents[config_name]).get("rootfs")
    digests = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(digests, list) or len(digests) != len(names):
        raise corrupt("its configuration has no digest for every layer")
    if not all(image_manifests.is_digest(str(digest)) for digest in digests):
        raise corrupt("a digest in its configuration is none")
    return [(str(n), str(d), True) for n, d in zip(names, digests, strict=True)]


def _take_layer(  # noqa: PLR0913, PLR0917 - where from, where to, and what is promised
    file: IO[bytes], haul: Haul, budget: Budget, number: int, name: str, digest: str, *,
    of_content: bool,
) -> None:  # fmt: skip
    """Apply one layer of an archive; raises NoEmulator when its digest is another one."""
    passing = Budget(budget.limits)
    for member, content in tar_members(_outer(file), passing):
        if member.name.removeprefix("./") == name and is_plain_file(member):
            algorithm, _, expected = digest.partition(":")
            raw = Piece(content, member.size, "sha256" if of_content else algorithm)
            unpacked = Piece(decompressed(raw), None, algorithm)
            haul.take_tar(io.BufferedReader(unpacked, CHUNK), budget, number)
            if (unpacked if of_content else raw).hexdigest() != expected:
                raise image_manifests.wrong_digest(digest)
            return
    raise corrupt(f"layer {name} is not in it as a regular file")
