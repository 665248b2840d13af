"""Archives and images made for tests: tar, .deb, docker save, OCI layout, honest and hostile."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from binfmt_setup.model.targets import TARGETS, Target

if TYPE_CHECKING:
    from pathlib import Path

AMD64 = next(target for target in TARGETS if target.name == "x86_64")
ARM64 = next(target for target in TARGETS if target.name == "aarch64")


def program(
    target: Target = AMD64, *, loader: bool = False, version: str = "9.9.9", name: str = "aarch64"
) -> bytes:
    """A file that looks like a QEMU built for a target; it does not run."""
    header = bytearray(target.magic[:20].ljust(64, b"\0"))
    end = "<" if target.order == "little" else ">"
    struct.pack_into(end + "Q", header, 32, 64)
    struct.pack_into(end + "HH", header, 54, 56, 1)
    table = struct.pack(end + "I", 3 if loader else 1).ljust(56, b"\0")
    said = f"qemu-{name} version {version} (made for a test)\nCopyright\n\0".encode()
    return bytes(header) + table + bytes(5000) + said


@dataclass(frozen=True)
class Item:
    """One member of a tar."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    size: int | None = None


def tar(*items: Item, format_: int = tarfile.GNU_FORMAT) -> bytes:
    """A tar of these members, names as they are given."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format_) as archive:
        for item in items:
            info = tarfile.TarInfo(item.name)
            info.type, info.linkname, info.mode = item.kind, item.link, 0o755
            info.size = len(item.data)
            archive.addfile(info, io.BytesIO(item.data))
    return stream.getvalue()


def emulators(*targets: str, version: str = "9.9.9", **content: bytes) -> bytes:
    """A tar as most are: static emulators in usr/bin."""
    return tar(
        Item("usr/bin/", kind=tarfile.DIRTYPE),
        *(
            Item(f"usr/bin/qemu-{t}", content.get(t, program(version=version, name=t)))
            for t in targets
        ),
    )


def deb(data: bytes, name: str = "data.tar") -> bytes:
    """A .deb whose data archive is this one."""
    parts = {"debian-binary": b"2.0\n", "control.tar": tar(Item("./control", b"x")), name: data}
    archive = b"!<arch>\n"
    for part, content in parts.items():
        archive += f"{part:<16}{0:<12}{0:<6}{0:<6}{0o100644:<8o}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


def digest(data: bytes) -> str:
    """A digest in OCI notation."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def described(data: bytes, media_type: str, **more: object) -> dict[str, object]:
    """An OCI descriptor."""
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


@dataclass(frozen=True)
class Image:
    """An image of one platform or more: blobs by digest, and the outermost document."""

    blobs: dict[str, bytes]
    index: bytes

    def layout(self, *, skip: str = "", swap: dict[str, bytes] | None = None) -> bytes:
        """As an OCI archive; with a blob left out, or with other content than it should have."""
        blobs = {**self.blobs, **(swap or {})}
        items = [
            Item("blobs/" + name.replace(":", "/"), data)
            for name, data in blobs.items()
            if name != skip
        ]
        return tar(
            Item("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'),
            *items,
            Item("index.json", self.index),
        )


MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def image(*layers: bytes, architecture: str = "amd64", others: tuple[str, ...] = ()) -> Image:
    """An image of these layers (tars), with manifests for further platforms beside it."""
    blobs: dict[str, bytes] = {}
    manifests = []
    for arch in (*others, architecture):
        packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        if arch != architecture:
            packed = [gzip.compress(tar(Item("etc/arch", arch.encode())), 1, mtime=0)]
        config = json.dumps({"os": "linux", "architecture": arch, "n": len(layers)}).encode()
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": described(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [described(layer, LAYER) for layer in packed],
        }).encode()  # fmt: skip
        platform = {"os": "linux", "architecture": arch}
        manifests.append(described(manifest, MANIFEST, platform=platform))
        blobs |= {digest(blob): blob for blob in (*packed, config, manifest)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).encode()
    return Image(blobs, index)


def docker_save(*layers: bytes, wrong: bool = False, config: bytes | None = None) -> bytes:
    """What `docker save` writes (up to version 24): manifest.json, configuration, layer.tar."""
    ids = [digest(layer + b"x" * wrong) for layer in layers]
    config = config or json.dumps({"architecture": "amd64", "rootfs": {"diff_ids": ids}}).encode()
    name = digest(config).partition(":")[2] + ".json"
    names = [f"{number:064x}/layer.tar" for number in range(len(layers))]
    manifest = json.dumps([{"Config": name, "RepoTags": ["q:1"], "Layers": names}]).encode()
    return tar(
        *(Item(n, layer) for n, layer in zip(names, layers, strict=True)),
        Item(name, config),
        Item("manifest.json", manifest),
    )


def write(path: Path, data: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(data)
    return path
