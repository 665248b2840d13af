"""Pulling an image's layers straight from a registry, by the OCI distribution specification.

Only the pull part: manifests and blobs by GET, with token or password, every byte verified
by its digest before anything looks into it. HTTP is urllib3's business, its bounds are those of
`bounded_http`; this module decides what to ask for, when to try again, and when to stop.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress

import urllib3
from urllib3.exceptions import HTTPError, SSLError

from binfmt_setup.emulators.store import content_digest
from binfmt_setup.model.errors import BinfmtSetupError, NoEmulator, OtherProgramFailed
from binfmt_setup.model.records import Record
from binfmt_setup.sources import image_manifests
from binfmt_setup.sources.bounded_http import Allowance, BoundedHttp, TryAgain
from binfmt_setup.sources.image_logins import (
    LOOPBACK,
    Login,
    challenge,
    find_login,
    proxy_for,
    tls_context,
)
from binfmt_setup.sources.image_names import Reference, parse_reference
from binfmt_setup.sources.streams import Limits, too_large

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import IO, TypeVar

    from binfmt_setup.sources.image_manifests import Descriptor, Image
    from binfmt_setup.system.host import Host

    Got = TypeVar("Got")


_CHUNK = 65536
_DOCUMENT_MOST = 4 * 1024 * 1024  # bytes of a manifest, as registries limit it
_ACCEPT = ", ".join(image_manifests.MANIFEST_TYPES + image_manifests.INDEX_TYPES)
_HEAD_MOST = 1024 * 1024  # bytes of an answer before its body, with those that are none yet
_TOKEN_MOST = 1024 * 1024
_TOKEN = re.compile(r"[\x21-\x7e]+")  # what may stand in a header: no space, no end of the line
_TRANSIENT = (408, 429, 500, 502, 503, 504)


class Patience(Record):
    """How long to wait, in seconds, and how often to try.

    `document` is for an answer up to its body, and for a body that is a document. Any body that
    comes slower than `slowest` bytes a second, over `window` seconds, is given up.
    """

    connect: float = 10.0
    read: float = 30.0
    document: float = 60.0
    whole: float = 3600.0
    attempts: int = 4
    pause: float = 0.5
    longest_pause: float = 60.0
    slowest: int = 1024
    window: float = 60.0


class ImageRepository:
    """One repository of container images, on a server of them."""

    def __init__(
        self,
        reference: str,
        environment: Mapping[str, str],
        host: Host,
        patience: Patience | None = None,
    ) -> None:
        self.reference: Reference = parse_reference(reference)
        self._patience = patience or Patience()
        self._host = host
        self._environment = environment
        self._authorization = ""
        self.digest = ""
        """Of what the reference names: all platforms' index, or one manifest."""
        limits, registry = Limits(), self.reference.registry
        self._allowance = Allowance(self._patience.whole, 2 * limits.total)
        self._http = BoundedHttp(
            self._allowance,
            urllib3.Timeout(self._patience.connect, self._patience.read),
            proxy_for(self.reference.base, environment),
            lambda: tls_context(registry),
        )

    def __enter__(self) -> ImageRepository:  # noqa: PYI034 - typing.Self is newer than Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._http.close()

    def image(self, architecture: str) -> Image:
        """The image for this architecture; raises NoEmulator or OtherProgramFailed."""
        document = self._document(self.reference.wanted)
        self.digest = image_manifests.digest_of(document)
        if image_manifests.is_digest(self.reference.wanted):
            image_manifests.verified(document, self.reference.wanted)
        return image_manifests.choose_image(document, self._manifest, architecture)

    def _manifest(self, wanted: Descriptor) -> bytes:
        return image_manifests.verified(self._document(wanted.digest), wanted.digest)

    def _document(self, name: str) -> bytes:
        """A manifest or an index, which are small."""

        def get() -> bytes:
            proven = image_manifests.is_digest(name)
            with self._open(f"manifests/{name}", {"Accept": _ACCEPT}, proven=proven) as response:
                data = self._body(response, _DOCUMENT_MOST)
                if len(data) > _DOCUMENT_MOST:
                    raise too_large("its manifest has more than 4 MiB")
                return data

        return self._persistently(get)

    def pull(self, layer: Descriptor, file: IO[bytes], limits: Limits) -> None:
        """Write a layer to a file and verify it; what a cut connection left is kept.

        Raises NoEmulator for a wrong digest, OtherProgramFailed when the registry fails.
        """
        if layer.size > limits.total:
            raise too_large(f"a layer of it has {layer.size >> 20} MiB")
        try:
            self._persistently(lambda: self._continue(layer, file))
        finally:
            self._host.show_progress("")
        file.seek(0)
        algorithm, _, expected = layer.digest.partition(":")
        if content_digest(file, algorithm) != expected:
            raise image_manifests.wrong_digest(layer.digest)

    def _continue(self, layer: Descriptor, file: IO[bytes]) -> None:
        """Fetch what is missing of a layer."""
        have = file.seek(0, 2)
        wanted = {"Range": f"bytes={have}-"} if have else {}
        with self._open(f"blobs/{layer.digest}", wanted, proven=True) as response:
            if have and not _goes_on_at(response, have):
                file.seek(0)
                file.truncate()
                have = 0
            patience = self._patience
            self._allowance.begin(
                patience.whole, 2 * layer.size + _HEAD_MOST, patience.slowest, patience.window
            )
            while piece := response.read1(_CHUNK):
                have += len(piece)
                if have > layer.size:
                    raise image_manifests.wrong_digest(layer.digest)
                file.write(piece)
                self._show(have, layer.size)
        if have < layer.size:
            raise TryAgain("the connection ended too early")

    def _show(self, have: int, size: int) -> None:
        done = f"{have / 1048576:.1f} of {size / 1048576:.1f} MiB"
        self._host.show_progress(f"fetching {self.reference}: {done}")

    def _body(self, response: urllib3.BaseHTTPResponse, most: int) -> bytes:
        """A body that is a document, up to one byte more than it may have."""
        self._allowance.begin(self._patience.document, 2 * most + _HEAD_MOST)
        data = b""
        while len(data) <= most and (piece := response.read1(_CHUNK)):
            data += piece
        return data[: most + 1]

    def _persistently(self, get: Callable[[], Got]) -> Got:
        """Try, and try again after a pause; raises OtherProgramFailed when that does not help."""
        for attempt in range(1, self._patience.attempts + 1):
            try:
                return get()
            except SSLError as error:
                raise self._unreachable(str(error)) from error
            except (TryAgain, HTTPError) as error:
                reason = getattr(error, "reason", None) or error  # MaxRetryError wraps one
                if isinstance(reason, SSLError) or attempt == self._patience.attempts:
                    raise self._unreachable(str(reason)) from error
                pause = self._patience.pause * 2 ** (attempt - 1)
                pause = max(pause, getattr(error, "pause", 0.0))
                pause = min(pause, self._patience.longest_pause)
                self._host.say(f"{self.reference.registry}: {reason}; trying again in {pause:g} s")
                time.sleep(pause)
        raise AssertionError("attempts is at least 1")

    def _unreachable(self, why: str) -> BinfmtSetupError:
        return OtherProgramFailed(
            f"the registry {self.reference.registry} does not give {self.reference}: {why}",
            hint="try again later, or fetch the image elsewhere and use --qemu FILE",
            code="registry-failed",
        )

    def _open(
        self, path: str, headers: dict[str, str], *, proven: bool
    ) -> urllib3.BaseHTTPResponse:
        """An answer with its body still to come; raises for every status but success.

        `proven` is what is known by its digest. The body of any other answer is not read.
        """
        response = self._get(path, headers, proven=proven)
        if response.status == 401:
            response.close()
            if self._log_in(response):
                response = self._get(path, headers, proven=proven)
        if response.status in (200, 206):
            return response
        status = response.status
        response.close()
        if status in _TRANSIENT:
            raise TryAgain(f"it answered {status}", _seconds(response.headers.get("Retry-After")))
        raise self._refusal(status, path)

    def _get(self, path: str, headers: dict[str, str], *, proven: bool) -> urllib3.BaseHTTPResponse:
        if self._authorization:
            headers = {**headers, "Authorization": self._authorization}
        return self._asked(f"{self.reference.base}/{path}", headers, proven=proven)

    def _asked(
        self, url: str, headers: dict[str, str], *, proven: bool
    ) -> urllib3.BaseHTTPResponse:
        self._allowance.begin(self._patience.document, _HEAD_MOST)
        return self._http.get(url, headers, proven=proven)

    def _log_in(self, response: urllib3.BaseHTTPResponse) -> bool:
        """Do what a 401 asks for; False when it was done before, or cannot be done."""
        asked = challenge(response.headers.get("WWW-Authenticate", ""))
        login = self._login() or Login("", "")
        before, self._authorization = self._authorization, ""
        if asked.scheme == "basic" and login.user:
            self._authorization = login.basic
        elif asked.scheme == "bearer":
            self._authorization = (
                f"Bearer {self._token(asked.url(self.reference.repository), login)}"
            )
        return bool(self._authorization) and not before

    def _token(self, url: str, login: Login) -> str:
        """A token from the place that the registry names; a password goes by https only."""
        local = LOOPBACK.match(url) is not None
        secret = login.user and (url.startswith("https://") or local)
        headers = {"Authorization": login.basic} if secret else {}
        with self._asked(url, headers, proven=False) as response:
            status = response.status
            data = self._body(response, _TOKEN_MOST) if status == 200 else b""
            response.close()  # the rest of it is not read
        if status in _TRANSIENT:
            raise TryAgain(f"its token service answered {status}")
        if status != 200:
            raise self._refusal(401, "token")
        return self._token_in(data[:_TOKEN_MOST])

    def _token_in(self, document: bytes) -> str:
        """The token in an answer; raises OtherProgramFailed, which does not show it."""
        token: object = None
        with suppress(NoEmulator):  # it is no JSON
            data = image_manifests.parsed(document)
            token = data.get("token") or data.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise OtherProgramFailed(
                f"the token service of {self.reference.registry} gave something that is no token",
                hint="try again later, or fetch the image elsewhere and use --qemu FILE",
                code="registry-failed",
            )
        return token

    def _login(self) -> Login | None:
        base = self.reference.base
        if base.startswith("https://") or LOOPBACK.match(base):
            return find_login(self.reference.registry, self._environment)
        return None

    def _refusal(self, status: int, path: str) -> BinfmtSetupError:
        if status in (401, 403):
            return OtherProgramFailed(
                f"the registry {self.reference.registry} denies access to {self.reference}",
                hint=f"log in first: docker login {self.reference.registry}   (or podman login)",
                code="registry-denied",
            )
        if status == 404:
            return NoEmulator(
                f"there is no {self.reference} in the registry ({path.partition('/')[0]})",
                hint="see that name and tag are right", code="image-not-found",
            )  # fmt: skip
        return OtherProgramFailed(
            f"the registry {self.reference.registry} answered {status} for {self.reference}",
            hint="fetch the image elsewhere and use --qemu FILE", code="registry-failed",
        )  # fmt: skip


def _goes_on_at(response: urllib3.BaseHTTPResponse, offset: int) -> bool:
    """Whether a partial answer starts where ours ended; a whole one starts over."""
    words = response.headers.get("Content-Range", "")
    return response.status == 206 and words.startswith(f"bytes {offset}-")


def _seconds(retry_after: str | None) -> float:
    """The pause a server asks for; its form with a date is as good as none."""
    return float(retry_after) if retry_after and retry_after.isdigit() else 0.0
