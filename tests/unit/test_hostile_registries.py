"""Registries that never come to an end, send one elsewhere, or hand out what is no token."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.errors import BinfmtSetupError
from binfmt_setup.sources import streams
from binfmt_setup.sources.image_logins import Proxy, find_login
from binfmt_setup.sources.image_pull import ImageRepository, Patience
from binfmt_setup.system.host import Host
from tests.packing import Image, digest, emulators, image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Where requests are counted, a slow machine makes no more of them.
USUAL = Patience(attempts=2, pause=0.01)
QUICK = Patience(
    connect=5, read=5, document=0.3, whole=20, attempts=2, pause=0.01, slowest=10_000, window=0.3
)
IMAGE = image(emulators("arm"))
Send = "Callable[[bytes], object]"
FLOOD = b"x" * 65536


class Server:
    """A server on the loopback: what it does with each request is said by a function."""

    def __init__(
        self, answer: Callable[[Server, str, Callable[[bytes], object]], object],
        context: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.sent = 0
        self._answer = answer
        self._context = context
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: list[socket.socket] = [self._listening]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._open.append(connection.dup())
                self._start(partial(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                while head := self._request(connection):
                    path = head.split()[1]
                    self.asked.append(path)
                    self.heads.append(head)
                    self._answer(self, path, lambda data: self._send(connection, data))

    def _request(self, connection: socket.socket) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := connection.recv(65536)):
                return ""
            data += piece
        return data.decode()

    def _send(self, connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        self.sent += len(data)

    def close(self) -> None:
        """End all threads: the next test may want to change its namespace, which one alone can."""
        for end in self._open:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        for thread in self._threads:
            thread.join()


@contextmanager
def serving(
    answer: Callable[[Server, str, Callable[[bytes], object]], object],
    context: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    server = Server(answer, context)
    try:
        yield server
    finally:
        server.close()


def good(path: str, packed: Image = IMAGE) -> bytes:
    """What a registry answers."""
    name = path.rpartition("/")[2]
    body = packed.blobs.get(name, packed.index)
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def pull(reference: str, patience: Patience = QUICK, **environment: str) -> bytes:
    file = io.BytesIO()
    with ImageRepository(reference, environment, Host(), patience) as client:
        found = client.image("amd64")
        client.pull(found.layers[0], file, streams.Limits())
    return file.getvalue()


def refused(reference: str, patience: Patience = QUICK, **environment: str) -> BinfmtSetupError:
    with pytest.raises(BinfmtSetupError) as caught:
        pull(reference, patience, **environment)
    assert caught.value.hint
    return caught.value


def forever(send: Callable[[bytes], object], piece: bytes, pause: float = 0.0) -> None:
    while True:
        send(piece)
        time.sleep(pause)


# --- without end: fast (a flood is cut by its bytes), and slow (drops by the time) --------------

UNAUTHORIZED = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'


def flood_behind_401(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    send(UNAUTHORIZED)
    forever(send, FLOOD)


def flood_behind_a_redirection(server: Server, _: str, send: Callable[[bytes], object]) -> None:
    where = f"http://{server.address}/again"
    send(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\n\r\n".encode())
    forever(send, FLOOD)


def flood_of_continue(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    forever(send, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def drops_of_continue(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    forever(send, b"HTTP/1.1 100 Continue\r\n\r\n", 0.02)


def drops_of_headers(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    send(b"HTTP/1.1 200 OK\r\n")
    forever(send, b"X: y\r\n", 0.02)


def drops_in_a_header(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    send(b"HTTP/1.1 200 OK\r\nX: ")
    forever(send, b"y", 0.02)


def drops_of_a_manifest(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    send(b"HTTP/1.1 200 OK\r\n\r\n")
    forever(send, b" ", 0.02)


def flood_of_a_manifest(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    send(b"HTTP/1.1 200 OK\r\n\r\n")
    forever(send, FLOOD)


def flood_between_chunks(_: Server, __: str, send: Callable[[bytes], object]) -> None:
    """A byte at a time, each announced with 60 KiB of words."""
    send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    forever(send, b"1;" + b"w" * 60_000 + b"\r\n \r\n")


def flood_of_a_layer(_: Server, path: str, send: Callable[[bytes], object]) -> None:
    if "/blobs/" not in path:
        send(good(path))
        return
    send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    forever(send, b"1;" + b"w" * 60_000 + b"\r\n \r\n")


def drops_of_a_layer(_: Server, path: str, send: Callable[[bytes], object]) -> None:
    if "/blobs/" not in path:
        send(good(path))
        return
    send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    forever(send, b"1\r\n", 0.02)


@pytest.mark.parametrize(
    "answer",
    [
        flood_behind_401, flood_behind_a_redirection, flood_of_continue, drops_of_continue,
        drops_of_headers, drops_in_a_header, drops_of_a_manifest, flood_of_a_manifest,
        flood_between_chunks, flood_of_a_layer, drops_of_a_layer,
    ],
)  # fmt: skip
def test_an_answer_without_end(
    answer: Callable[[Server, str, Callable[[bytes], object]], object],
) -> None:
    """Each of these went on for as long as the server liked."""
    with serving(answer) as server:
        error = refused(f"{server.address}/a/qemu:1", HOME="/nonexistent")
        assert error.code in ("registry-failed", "registry-denied", "archive-too-large")
        # What lies in the buffers of the two sockets besides was never read.
        assert server.sent < 64 << 20
        assert len(server.asked) <= 2 * 6


def test_all_together_have_a_limit_too() -> None:
    """A server that asks for patience again and again."""

    def busy(_: Server, __: str, send: Callable[[bytes], object]) -> None:
        send(b"HTTP/1.1 503 No\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n")

    patience = Patience(attempts=100_000, pause=0.0, longest_pause=0.0, whole=0.5)
    with serving(busy) as server:
        assert refused(f"{server.address}/a/qemu:1", patience).code == "registry-slow"


def test_a_name_with_addresses_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them together have the time of one request."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(1)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))] * 1000
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        error = refused(f"127.0.0.1:{port}/a/qemu:1")
        assert error.code == "registry-failed"
        for connection in waiting:
            connection.close()


# --- elsewhere ----------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for the loopback, which this process trusts."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    return context


def test_a_tag_is_not_taken_from_http_where_https_was_asked(certificate: ssl.SSLContext) -> None:
    """Anybody on the way could say what the tag is; a digest says it itself."""

    def plain(_: Server, path: str, send: Callable[[bytes], object]) -> None:
        send(good(path))

    with serving(plain) as open_to_all:

        def secure(_: Server, path: str, send: Callable[[bytes], object]) -> None:
            where = f"http://{open_to_all.address}{path}"
            send(f"HTTP/1.1 307 X\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())

        with serving(secure, certificate) as server:
            error = refused(f"https://{server.address}/a/qemu:1")
            assert "from https to http://" in error.message
            assert open_to_all.asked == []
            layer = pull(f"https://{server.address}/a/qemu@{digest(IMAGE.index)}")
            assert layer in IMAGE.blobs.values()


def test_https_is_bounded_as_well(certificate: ssl.SSLContext) -> None:
    with serving(flood_of_continue, certificate) as server:
        assert refused(f"https://{server.address}/a/qemu:1").code == "registry-failed"
        assert server.sent < 64 << 20
    with serving(drops_of_headers, certificate) as server:
        error = refused(f"https://{server.address}/a/qemu:1")
        assert error.code == "registry-failed"


def test_a_redirection_in_a_circle() -> None:
    def circle(server: Server, path: str, send: Callable[[bytes], object]) -> None:
        where = f"http://{server.address}{path}"
        send(f"HTTP/1.1 302 X\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())

    with serving(circle) as server:
        assert "more than 5 redirections" in refused(f"{server.address}/a/qemu:1", USUAL).message
        assert len(server.asked) == 6


# --- secrets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "token", ["s3cret\r\nX-Evil: 1", "s3cret\n", "s3cret x", "s3cretü", "", 17, {"s3cret": 1}]
)
def test_a_token_that_is_none_is_not_shown(token: object) -> None:
    def answer(server: Server, path: str, send: Callable[[bytes], object]) -> None:
        if path.startswith("/token"):
            body = json.dumps({"token": token}).encode()
            send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            return
        where = f'Bearer realm="http://{server.address}/token"'
        send(f"HTTP/1.1 401 X\r\nWWW-Authenticate: {where}\r\nContent-Length: 0\r\n\r\n".encode())

    with serving(answer) as server:
        error = refused(f"{server.address}/a/qemu:1", HOME="/nonexistent")
        assert error.code == "registry-failed"
        assert "s3cret" not in error.message + error.hint + repr(error.__cause__)


def test_a_token_goes_to_its_registry_alone() -> None:
    def answer(server: Server, path: str, send: Callable[[bytes], object]) -> None:
        if path.startswith("/token"):
            send(b'HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{"token":"s3cret"}')
            return
        if "s3cret" not in server.heads[-1]:
            where = f'Bearer realm="http://{server.address}/token"'
            send(f"HTTP/1.1 401 X\r\nWWW-Authenticate: {where}\r\n"
                 "Content-Length: 0\r\n\r\n".encode())  # fmt: skip
        elif "/blobs/" in path:
            where = f"http://{elsewhere.address}{path}"
            send(f"HTTP/1.1 307 X\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
        else:
            send(good(path))

    def plain(_: Server, path: str, send: Callable[[bytes], object]) -> None:
        send(good(path))

    with serving(plain) as elsewhere, serving(answer) as server:
        assert pull(f"{server.address}/a/qemu:1", HOME="/nonexistent") in IMAGE.blobs.values()
        assert elsewhere.asked
        assert not any(re.search("(?i)authorization", head) for head in elsewhere.heads)


def test_a_proxys_password_may_have_any_letters() -> None:
    proxy = Proxy("http://p", "jörg:pä:ß€")
    assert base64.b64decode(proxy.basic.partition(" ")[2]).decode() == "jörg:pä:ß€"


@pytest.mark.parametrize("kind", ["fifo", "device", "endless", "deep", "directory"])
def test_a_file_of_passwords_that_is_none(tmp_path: Path, kind: str) -> None:
    """The first would wait for ever, the second and third have no end."""
    where = tmp_path / "config.json"
    if kind == "fifo":
        os.mkfifo(where)
    elif kind == "device":
        where.symlink_to("/dev/zero")
    elif kind == "endless":
        with where.open("wb") as file:
            file.truncate(1 << 40)
    elif kind == "deep":
        where.write_text('{"auths":' * 100_000)
    else:
        where.mkdir()
    assert find_login("r.example", {"DOCKER_CONFIG": str(tmp_path), "HOME": "/nonexistent"}) is None
