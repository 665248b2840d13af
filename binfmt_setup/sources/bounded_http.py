"""HTTP within bounds of time and bytes, whatever the other end does.

A registry is a stranger, and locks are held while it is spoken to. A limit for each wait is none
for the whole: who sends a header line every few seconds, or one `100 Continue` after the other,
never lets it pass. So the socket itself counts: what a request may take, and all of them.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import contextmanager
from urllib.parse import urljoin

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.util import parse_url

from binfmt_setup.model.errors import OtherProgramFailed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from typing_extensions import Buffer

    from binfmt_setup.sources.image_logins import Proxy


_REDIRECTS = 5
_ADDRESSES = 8  # of one name that are tried


class TryAgain(Exception):
    """An attempt failed in a way that the next one may not; `pause` is what the server asks."""

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


class Allowance:
    """The bytes and seconds that the present request, and all together, may still take."""

    def __init__(self, seconds: float, size: int) -> None:
        self._whole_seconds, self._ends = seconds, time.monotonic() + seconds
        self._whole_left = size
        self._began, self._seconds = time.monotonic(), seconds
        self._come, self._most = 0, size
        self._slowest, self._window = 0, 0.0

    def begin(self, seconds: float, size: int, slowest: int = 0, window: float = 0.0) -> None:
        """A new request, or its body, may take so long, and be so long.

        After `window` seconds it must have come with `slowest` bytes a second on average.
        """
        self._began, self._seconds = time.monotonic(), seconds
        self._come, self._most = 0, size
        self._slowest, self._window = slowest, window

    def seconds_left(self) -> float:
        """How long one may still wait for the next byte; raises when that is not at all."""
        now = time.monotonic()
        if now >= self._ends:
            raise OtherProgramFailed(
                f"fetching the image took more than {self._whole_seconds:g} s",
                hint="try again, or fetch the image elsewhere and use --qemu FILE",
                code="registry-slow",
            )
        passed = now - self._began
        if passed >= self._seconds:
            raise TryAgain(f"it did not come to an end in {self._seconds:g} s")
        if self._slowest and passed > self._window and self._come < self._slowest * passed:
            raise TryAgain(f"only {self._come} bytes came in {passed:.0f} s")
        return min(self._ends - now, self._seconds - passed)

    def take(self, size: int) -> None:
        """Count bytes that have come; raises OtherProgramFailed beyond the limit."""
        self._come += size
        self._whole_left -= size
        if self._come > self._most or self._whole_left < 0:
            raise OtherProgramFailed(
                f"the registry sends more than it may: over {self._most >> 10} KiB for one answer",
                hint="do not trust it; or fetch the image elsewhere and use --qemu FILE",
                code="registry-failed",
            )


def _bounded_sockets(
    allowance: Allowance,
) -> tuple[type[socket.socket], type[ssl.SSLSocket]]:
    """Sockets that ask before they wait, and count what comes."""

    @contextmanager
    def waiting(own: socket.socket) -> Iterator[None]:
        left, usual = allowance.seconds_left(), own.gettimeout()
        if usual is None or left < usual:
            own.settimeout(left)
        try:
            yield
        except TimeoutError:
            allowance.seconds_left()  # says what took too long, if it was the whole
            raise

    class Plain(socket.socket):
        def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
            with waiting(self):
                size = super().recv_into(buffer, nbytes, flags)
            allowance.take(size)
            return size

    class Tls(ssl.SSLSocket):
        def recv_into(self, buffer: Buffer, nbytes: int | None = None, flags: int = 0) -> int:
            with waiting(self):
                size = super().recv_into(buffer, nbytes, flags)
            allowance.take(size)
            return size

        def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
            with waiting(self):
                data = super().recv(buflen, flags)
            allowance.take(len(data))
            return data

    return Plain, Tls


def _connection_classes(
    allowance: Allowance, plain: type[socket.socket]
) -> tuple[type[HTTPConnection], type[HTTPSConnection]]:
    """urllib3's connections, on these sockets; the addresses of a name share one limit."""

    def connect(own: HTTPConnection, host: str) -> socket.socket:
        try:
            found = socket.getaddrinfo(host, own.port, 0, socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(own.host, own, error) from error
        problem: OSError = OSError("it has no address")
        for family, kind, protocol, _, address in found[:_ADDRESSES]:
            made = plain(family, kind, protocol)
            try:
                seconds = own.timeout if isinstance(own.timeout, (int, float)) else None
                left = allowance.seconds_left()
                made.settimeout(left if seconds is None else min(seconds, left))
                for option in own.socket_options or ():
                    made.setsockopt(*option)
                made.connect(address)
            except OSError as error:
                made.close()
                problem = error
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise NewConnectionError(own, f"no connection: {problem}") from problem

    class Http(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, self._dns_host)

    class Https(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, self._dns_host)

    return Http, Https


class BoundedHttp:
    """GET requests of one pull, with its redirections, passwords and limits."""

    def __init__(
        self, allowance: Allowance, timeout: urllib3.Timeout, proxy: Proxy | None,
        contexts: Callable[[], ssl.SSLContext],
    ) -> None:  # fmt: skip
        plain, tls = _bounded_sockets(allowance)
        http, https = _connection_classes(allowance, plain)

        def context() -> ssl.SSLContext:
            made = contexts()
            made.sslsocket_class = tls
            return made

        class HttpPool(urllib3.HTTPConnectionPool):
            ConnectionCls = http

        class HttpsPool(urllib3.HTTPSConnectionPool):
            ConnectionCls = https

        self._pool: urllib3.PoolManager
        if proxy:
            headers = {"proxy-authorization": proxy.basic} if proxy.password else {}
            self._pool = urllib3.ProxyManager(
                proxy.url, proxy_headers=headers, ssl_context=context(), timeout=timeout,
                proxy_ssl_context=context(),
            )  # fmt: skip
        else:
            self._pool = urllib3.PoolManager(ssl_context=context(), timeout=timeout)
        self._pool.pool_classes_by_scheme = {"http": HttpPool, "https": HttpsPool}

    def close(self) -> None:
        """Close all connections; clear() alone leaves that to the garbage collector."""
        for key in self._pool.pools.keys():  # noqa: SIM118 - it is no dict and cannot be iterated
            if (connections := self._pool.pools.get(key)) is not None:
                connections.close()
        self._pool.clear()

    def get(
        self, url: str, headers: Mapping[str, str], *, proven: bool
    ) -> urllib3.BaseHTTPResponse:
        """The answer to a GET, its body still to come, after the redirections.

        A password stays with the host that it is for. From https to http only what is `proven`
        goes on, by a digest that is known. What comes with a redirection is not read.
        """
        sent = dict(headers)
        for _ in range(_REDIRECTS + 1):
            response = self._pool.request(
                "GET", url, headers=sent, preload_content=False, decode_content=False,
                redirect=False, retries=False,
            )  # fmt: skip
            location = response.get_redirect_location()
            if not location:
                return response
            response.close()
            target = urljoin(url, location)
            _refuse_downgrade(url, target, proven=proven)
            if _origin(url) != _origin(target):
                sent.pop("Authorization", None)
            url = target
        raise OtherProgramFailed(
            f"the registry sends one on and on: more than {_REDIRECTS} redirections",
            hint="fetch the image elsewhere and use --qemu FILE", code="registry-failed",
        )  # fmt: skip


def _refuse_downgrade(url: str, target: str, *, proven: bool) -> None:
    if url.startswith("https:") and not target.startswith("https:") and not proven:
        raise OtherProgramFailed(
            f"the registry sends from https to {target[:200]}, where anybody on the way could "
            "change the answer",
            hint="name the image by its digest (NAME@sha256:…), or see why the registry does that",
            code="registry-failed",
        )


def _origin(url: str) -> tuple[str | None, str | None, int]:
    parts = parse_url(url)
    return parts.scheme, parts.host, parts.port or (443 if parts.scheme == "https" else 80)
