"""Debian's docker-registry on the loopback, and a proxy in front of it that breaks things."""

from __future__ import annotations

import http.client
import http.server
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.packing import INDEX, MANIFEST, Image, digest

if TYPE_CHECKING:
    from email.message import Message
    from pathlib import Path

PROGRAM = shutil.which("docker-registry") or ""
USER, PASSWORD = "ali", "open sesame"
_HASH = "$2b$04$Z/c7Ae4/kdWW3VBhb5A21O2d7fO8rTObm6sQxMTu3A7xbsV2dLwV6"
_SECONDS = 20.0


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def running(folder: Path, *, password: bool = False) -> Iterator[str]:
    """A real registry with its data in a folder; its address."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    config = [
        "version: 0.1",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}}}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
        "log: {level: error, accesslog: {disabled: true}}",
    ]
    if password:
        (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
        config.append(f"auth: {{htpasswd: {{realm: tests, path: {folder / 'htpasswd'}}}}}")
    (folder / "config.yml").write_text("\n".join(config) + "\n")
    with (folder / "log").open("w") as log, subprocess.Popen(
        [PROGRAM, "serve", str(folder / "config.yml")], stdout=log, stderr=log,
        env={"PATH": "/usr/bin:/bin", "OTEL_TRACES_EXPORTER": "none"},
    ) as registry:  # fmt: skip
        try:
            _wait_for(port, folder / "log")
            yield f"127.0.0.1:{port}"
        finally:
            registry.kill()


def _wait_for(port: int, log: Path) -> None:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError(f"docker-registry does not start:\n{log.read_text()}")


def push(address: str, repository: str, tag: str, image: Image) -> str:
    """Push an image; the digest of its index."""
    base = f"http://{address}/v2/{repository}"
    manifests = [data for data in image.blobs.values() if MANIFEST.encode() in data[:200]]
    for name, data in image.blobs.items():
        if data not in manifests:
            where = _send("POST", f"{base}/blobs/uploads/", b"", "")["Location"]
            mark = "&" if "?" in where else "?"
            _send("PUT", f"{where}{mark}digest={name}", data, "application/octet-stream")
    for data in manifests:
        _send("PUT", f"{base}/manifests/{digest(data)}", data, MANIFEST)
    _send("PUT", f"{base}/manifests/{tag}", image.index, INDEX)
    return digest(image.index)


def _send(method: str, url: str, data: bytes, kind: str) -> Message:
    kinds = {"Content-Type": kind}
    request = urllib.request.Request(url, data or None, kinds, method=method)  # noqa: S310 - http
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=_SECONDS) as response:
        headers: Message = response.headers
        return headers


@dataclass
class Answer:
    """What the registry answered, for a fault to change."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_at: int | None = None
    pause: float = 0.0


Fault = Callable[["Asked", Answer], Answer]


@dataclass(frozen=True)
class Asked:
    """One request: its place in the order of those for the same kind, path, and headers."""

    number: int
    path: str
    headers: dict[str, str]


@dataclass
class Proxy:
    """Passes requests on to a registry; `fault` may change every answer."""

    upstream: str
    fault: Fault = lambda _, answer: answer
    asked: list[Asked] = field(default_factory=list)
    address: str = ""

    def blobs(self) -> list[Asked]:
        """The requests for blobs."""
        return [asked for asked in self.asked if "/blobs/" in asked.path]


@contextmanager
def proxied(upstream: str) -> Iterator[Proxy]:
    """A proxy in front of a registry, as a server and as an HTTP proxy."""
    proxy = Proxy(upstream)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

        def do_GET(self) -> None:
            _pass_on(self, proxy)

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Say nothing: a client that hangs up is part of the tests."""

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy.address = f"127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()


def _pass_on(handler: http.server.BaseHTTPRequestHandler, proxy: Proxy) -> None:
    parts = urlsplit(handler.path)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    kind = "/blobs/" if "/blobs/" in path else "/manifests/" if "/manifests/" in path else path
    number = sum(kind in earlier.path for earlier in proxy.asked)
    asked = Asked(number, handler.path, dict(handler.headers))
    proxy.asked.append(asked)
    upstream = http.client.HTTPConnection(proxy.upstream, timeout=_SECONDS)
    skip = ("host", "connection", "accept-encoding")
    upstream.request(
        "GET", path, headers={k: v for k, v in asked.headers.items() if k.lower() not in skip}
    )
    response = upstream.getresponse()
    answer = Answer(response.status, dict(response.getheaders()), response.read())
    upstream.close()
    _answer(handler, proxy.fault(asked, answer))


def _answer(handler: http.server.BaseHTTPRequestHandler, answer: Answer) -> None:
    handler.send_response(answer.status)
    answer.headers.pop("Transfer-Encoding", None)
    for key, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
        handler.send_header(key, value)
    handler.end_headers()
    body = answer.body[: answer.cut_at]
    try:
        if answer.pause:
            for at in range(0, len(body), 64):
                handler.wfile.write(body[at : at + 64])
                handler.wfile.flush()
                time.sleep(answer.pause)
        else:
            handler.wfile.write(body)
    except OSError:
        pass  # the other end has had enough, which is what the test waits for
    if answer.cut_at is not None:
        handler.close_connection = True
