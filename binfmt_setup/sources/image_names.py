"""Names of images: `tonistiigi/binfmt:qemu-v10`, `localhost:5000/qemu@sha256:…`."""

from __future__ import annotations

import re

from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.model.records import Record
from binfmt_setup.sources.image_manifests import is_digest

DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_REGISTRY = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
                         r"(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")  # fmt: skip
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LOOPBACK = re.compile(r"(localhost|127(\.\d+){3}|\[::1\])(:\d+)?")


class Reference(Record):
    """One image of one repository of one registry; `wanted` is a tag or a digest."""

    registry: str
    repository: str
    wanted: str
    secure: bool = True

    @property
    def base(self) -> str:
        """The address of the repository in the registry's interface."""
        host = _DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry
        return f"{'https' if self.secure else 'http'}://{host}/v2/{self.repository}"

    @property
    def moves(self) -> bool:
        """Whether it is a tag: what that names can be changed at any time."""
        return not is_digest(self.wanted)

    def pinned_to(self, digest: str) -> str:
        """The same repository with a digest, as --qemu image: takes it."""
        plain = not self.secure and not _LOOPBACK.fullmatch(self.registry)
        return f"{'http://' if plain else ''}{self.registry}/{self.repository}@{digest}"

    def __str__(self) -> str:
        mark = "@" if is_digest(self.wanted) else ":"
        return f"{self.registry}/{self.repository}{mark}{self.wanted}"


def parse_reference(text: str) -> Reference:
    """Read a reference as docker and podman take it; raises UsageProblem.

    A registry on the loopback is spoken to without TLS, as the engines do; any other one
    only where `http://` stands in front.
    """
    rest, secure = text, True
    for scheme, safe in (("http://", False), ("https://", True)):
        if text.startswith(scheme):
            rest, secure = text.removeprefix(scheme), safe
    rest, at, digest = rest.partition("@")
    first, slash, path = rest.partition("/")
    if not (slash and ("." in first or ":" in first or first == "localhost" or rest != text)):
        first, path = DOCKER_HUB, rest
    name, colon, tag = path.partition(":")
    if first == DOCKER_HUB and "/" not in name:
        name = f"library/{name}"
    named_well = _REGISTRY.fullmatch(first) and _REPOSITORY.fullmatch(name)
    tagged_well = not colon or _TAG.fullmatch(tag)
    if not named_well or not tagged_well or (at and not is_digest(digest)):
        raise UsageProblem(
            f"--qemu image:{text}: no reference of an image",
            hint="write it like image:tonistiigi/binfmt:latest or image:HOST:PORT/NAME@sha256:…",
        )
    if _LOOPBACK.fullmatch(first) and not text.startswith("https://"):
        secure = False
    return Reference(first, name, digest or tag or "latest", secure)
