"""A stand-in for the API server of Kubernetes: it keeps the labels of a node, over TLS."""

from __future__ import annotations

import json
import ssl
import subprocess
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Empty, Queue
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKEN = "of-the-service-account"  # noqa: S105 - nobody else's
SECONDS = 20
_CERTIFICATE = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=127.0.0.1", "-addext",
                "subjectAltName=IP:127.0.0.1", "-days", "2")  # fmt: skip


class ApiServer:
    """What was asked of it, in that order; `refuse` makes it answer as RBAC does."""

    def __init__(self, port: int, folder: Path, asked: Queue[str]) -> None:
        self.port, self.folder, self._asked = port, folder, asked
        self.refuse = False

    def next(self) -> str:
        """The next request: the path, the token and the body."""
        try:
            return self._asked.get(timeout=SECONDS)
        except Empty:
            raise AssertionError("the API server was not asked any more") from None


@contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """One that listens on the loopback; the folder becomes what a pod finds of it."""
    made = [*_CERTIFICATE, "-keyout", str(folder / "key"), "-out", str(folder / "ca.crt")]
    subprocess.run(made, check=True, capture_output=True)
    (folder / "token").write_text(TOKEN)
    asked: Queue[str] = Queue()

    class Handler(BaseHTTPRequestHandler):
        """Answers a PATCH."""

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.put(f"{self.path} {self.headers['Authorization']} "
                      f"{self.headers['Content-Type']} {json.dumps(body)}")  # fmt: skip
            said = b'{"message": "nodes is forbidden"}' if server.refuse else b"{}"
            self.send_response(403 if server.refuse else 200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trusted.load_cert_chain(folder / "ca.crt", folder / "key")
        http.socket = trusted.wrap_socket(http.socket, server_side=True)
        server = ApiServer(http.server_address[1], folder, asked)
        Thread(target=http.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            http.shutdown()
