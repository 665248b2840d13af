"""Container images as documents: which manifest is this host's, and which layers it has.

The OCI image specification (index, manifest, descriptor) and Docker's forms of the same.
"""

from __future__ import annotations

import hashlib
import json
import re

from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.records import Record
from binfmt_setup.sources.streams import corrupt

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_DEEPEST = 3  # an index in an index: docker save and multi-platform attestations do it


class Descriptor(Record):
    """A reference by content: digest, size in bytes, and the platform it is made for."""

    digest: str
    size: int
    os: str = ""
    architecture: str = ""
    variant: str = ""

    @property
    def platform(self) -> str:
        """The platform as containers write it; empty when nothing is said."""
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Image(Record):
    """One platform's image: the digest of its manifest, and its layers, the lowest first."""

    digest: str
    layers: tuple[Descriptor, ...]


def verified(data: bytes, digest: str) -> bytes:
    """The same data; raises NoEmulator when they are not what the digest promises."""
    if digest_of(data, digest.partition(":")[0]) != digest:
        raise wrong_digest(digest)
    return data


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    """The digest of a document in OCI notation."""
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def wrong_digest(digest: str) -> NoEmulator:
    """The error for content that is not what its digest promises."""
    return NoEmulator(
        f"what came is not what {digest} promises: it was damaged or changed on the way",
        hint="get it again; if that does not help, do not trust this source",
        code="digest-mismatch",
    )


def is_digest(text: str) -> bool:
    """Whether a text is a digest that can be verified here."""
    return _DIGEST.fullmatch(text) is not None


def choose_image(
    document: bytes, fetch: Callable[[Descriptor], bytes], architecture: str, depth: int = 0
) -> Image:
    """This host's image in a manifest or index; raises NoEmulator when there is none."""
    data = parsed(document)
    if "manifests" in data and depth < _DEEPEST:
        chosen = _choose(_descriptors(data["manifests"]), architecture)
        return choose_image(fetch(chosen), fetch, architecture, depth + 1)
    if "layers" not in data:
        raise corrupt("it has neither layers nor a list of platforms that this tool can read")
    return Image(digest_of(document), _descriptors(data["layers"]))


def parsed(document: bytes) -> dict[str, object]:
    """A JSON object; raises NoEmulator for anything else."""
    try:
        data = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise corrupt(f"a document in it is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise corrupt("a document in it is no JSON object")
    return data


def _descriptors(value: object) -> tuple[Descriptor, ...]:
    if not isinstance(value, list):
        raise corrupt("a list in a document of it is none")
    return tuple(_descriptor(item) for item in value)


def _descriptor(item: object) -> Descriptor:
    data = item if isinstance(item, dict) else {}
    digest, size, platform = data.get("digest"), data.get("size"), data.get("platform")
    if not isinstance(digest, str) or not is_digest(digest):
        raise corrupt(f"{str(digest)[:100]!r} in it is no digest")
    if not isinstance(size, int) or size < 0:
        raise corrupt(f"{digest} has no size")
    words = platform if isinstance(platform, dict) else {}
    os, architecture, variant = (
        str(words.get(key, "")) for key in ("os", "architecture", "variant")
    )
    return Descriptor(digest, size, os, architecture, variant)


def _choose(offered: Sequence[Descriptor], architecture: str) -> Descriptor:
    """The manifest for this host; of several variants the one that asks least of the CPU."""
    fitting = [d for d in offered if (d.os, d.architecture) == ("linux", architecture)]
    fitting = fitting or [d for d in offered if not d.platform]
    if not fitting:
        names = ", ".join(d.platform for d in offered if d.os not in ("", "unknown"))
        raise NoEmulator(
            f"the image has nothing for linux/{architecture}, only: {names or 'nothing at all'}",
            hint="QEMU must be built for the host it runs on: take another image",
            code="image-without-match",
        )
    fitting.sort(key=lambda descriptor: descriptor.variant)
    if len({d.digest for d in fitting if d.variant == fitting[0].variant}) > 1:
        raise NoEmulator(
            f"it holds {len(fitting)} images for linux/{architecture}",
            hint="give an archive with one image: docker save IMAGE", code="image-ambiguous",
        )  # fmt: skip
    return fitting[0]
