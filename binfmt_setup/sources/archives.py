"""Reading archives: tar, .deb, `docker save`, OCI layout, and the layers of images.

Which of their files are emulators is said by `haul`. Layers count only after their digests were
verified.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import IO, TYPE_CHECKING

from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.records import Record
from binfmt_setup.sources import image_manifests
from binfmt_setup.sources.haul import Haul, Notes, Sink
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
    is_compressed,
    too_large,
)

if TYPE_CHECKING:
    from binfmt_setup.model.targets import Target
    from binfmt_setup.sources.image_manifests import Descriptor

Scratch = Callable[[], AbstractContextManager[IO[bytes]]]
"""Makes a file without a name for what is only passing through."""


class Layer(Record):
    """A layer of an image in an archive: its file, and its digest as it is or unpacked."""

    name: str
    digest: str
    of_content: bool


def read_archive(  # noqa: PLR0913, PLR0917 - what to read, what to take, where to, within what
    file: IO[bytes], native: Target, sink: Sink | None = None, limits: Limits | None = None,
    wanted: Collection[str] | None = None, scratch: Scratch = tempfile.TemporaryFile,
) -> Haul:  # fmt: skip
    """Take what is in a file of any form this tool knows; the file is read several times.

    Raises NoEmulator when it is broken, hostile, out of proportion, or has nothing to take.
    """
    budget = Budget(limits or Limits())
    haul, notes = Haul(native, sink, wanted), Notes()
    with broken_is_corrupt():
        haul.take_tar(_outer(file), budget, notes)
        layers = _layers_of_archive(notes.documents, native)
        if layers is None:
            return haul
        if len(layers) > budget.limits.layers:
            raise too_large(f"it has {len(layers)} layers")
        haul = Haul(native, sink, wanted)
        with _unpacked(file, budget.limits, scratch) as tar:
            for layer in layers:
                _take_layer(tar, haul, budget, layer, notes)
    return haul


def take_layer_file(haul: Haul, file: IO[bytes], budget: Budget) -> None:
    """Apply one layer, whose digest has been verified, from a file."""
    with broken_is_corrupt():
        haul.take_tar(decompressed(file), budget)


def _outer(file: IO[bytes]) -> Readable:
    """The tar in a file: its own content, or that of a .deb."""
    file.seek(0)
    data = debian_data(file)
    if data is None:
        file.seek(0)
        data = file
    return decompressed(data)


@contextmanager
def _unpacked(file: IO[bytes], limits: Limits, scratch: Scratch) -> Iterator[IO[bytes]]:
    """The tar in a file that one can go about in; unpacked once, however many layers it has."""
    file.seek(0)
    if debian_data(file) is None:
        file.seek(0)
        if not is_compressed(file.read(CHUNK)):
            yield file
            return
    budget, content = Budget(limits), _outer(file)
    with scratch() as tar:
        while piece := content.read(CHUNK):
            budget.spend(len(piece))
            tar.write(piece)
        yield tar


def _take_layer(tar: IO[bytes], haul: Haul, budget: Budget, layer: Layer, notes: Notes) -> None:
    """Apply one layer of an archive; raises NoEmulator when its digest is another one."""
    name = "/".join(part for part in layer.name.split("/") if part not in ("", "."))
    if name not in notes.offsets:
        raise corrupt(f"layer {layer.name} is not in it as a regular file")
    offset, size = notes.offsets[name]
    tar.seek(offset)
    algorithm, _, expected = layer.digest.partition(":")
    raw = Piece(tar, size, "sha256" if layer.of_content else algorithm)
    unpacked = Piece(decompressed(raw), None, algorithm)
    haul.take_tar(io.BufferedReader(unpacked, CHUNK), budget)
    if (unpacked if layer.of_content else raw).hexdigest() != expected:
        raise image_manifests.wrong_digest(layer.digest)


def _layers_of_archive(documents: dict[str, bytes], native: Target) -> Sequence[Layer] | None:
    """The layers of an image, the lowest first; None: it is a plain tar."""
    if "index.json" in documents:

        def blob(wanted: Descriptor) -> bytes:
            name = "blobs/" + wanted.digest.replace(":", "/")
            if name not in documents:
                raise corrupt(f"{name} is missing in it")
            return image_manifests.verified(documents[name], wanted.digest)

        image = image_manifests.choose_image(documents["index.json"], blob, native.goarch)
        return [
            Layer("blobs/" + d.digest.replace(":", "/"), d.digest, of_content=False)
            for d in image.layers
        ]
    if "manifest.json" in documents:
        return _docker_layers(documents)
    return None


def _docker_layers(documents: dict[str, bytes]) -> Sequence[Layer]:
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
    return [Layer(str(n), str(d), of_content=True) for n, d in zip(names, digests, strict=True)]
