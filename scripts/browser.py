"""What a headless Chromium sees of the documentation: pictures, widths, and what its search finds.

scripts/build-site calls it.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PROGRAM = "chromium"
# A window of Chromium is never as narrow as a phone, a frame in it is. Pages are loaded into it one
# after the other; what is found is posted. The browser takes the window for loaded, and takes its
# picture, when the image has come, which the server holds back until then.
_FRAME = b"""<!doctype html><body style="margin:0"><iframe></iframe><img src="/wait" hidden><script>
const asked = new URLSearchParams(location.search), frame = document.querySelector('iframe');
frame.style = `border:0;width:${asked.get('width')}px;height:${asked.get('height')}px`;
const load = url => new Promise(done => { frame.onload = done; frame.src = url; });
const searched = async () => {
  const place = frame.contentDocument.querySelector('#properdocs-search-results');
  for (let i = 0; i < 250 && !place.children.length; i++)
    await new Promise(again => setTimeout(again, 20));
  return [...place.querySelectorAll('a')].map(link => link.pathname + link.hash);
};
(async () => {
  const found = [];
  for (const url of asked.getAll('url')) {
    await load(url);
    const links = url.includes('?q=') ? await searched() : [];
    found.push([frame.contentDocument.documentElement.scrollWidth, links]);
  }
  await fetch('/found', {method: 'POST', body: JSON.stringify(found)});
})();
</script>"""
_SECONDS = 300


class Seen(NamedTuple):
    """How wide a page comes out, and where the links of its search lead."""

    width: int
    links: list[str]


class _Server(ThreadingHTTPServer):
    """Serves the pages of a folder, the window that they are looked at in, and takes its answer."""

    daemon_threads = True

    def __init__(self, site: Path) -> None:
        super().__init__(("127.0.0.1", 0), partial(_Handler, directory=str(site)))
        self.over = Event()
        self.answer = b""
        self.searches = False

    def handle_error(self, *_about: object) -> None:
        """The browser drops what it no longer needs."""


class _Handler(SimpleHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path.startswith("/frame.html"):
            self._say(200, _FRAME)
        elif self.path == "/wait":
            self.server.over.wait(_SECONDS)
            self._say(404)
        elif "/search/" in self.path and not self.server.searches:
            self._say(404)  # each page would make an index of all of them
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.server.answer = self.rfile.read(int(self.headers["Content-Length"]))
        self._say(200)
        self.server.over.set()

    def _say(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_words: object) -> None:
        """Each request would be a line."""


@contextmanager
def opened(site: Path) -> Iterator[_Server]:
    """Serve a folder on the loopback network: pages in files may not search."""
    with _Server(site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def see(
    server: _Server, urls: Sequence[str], size: tuple[int, int], picture: Path | None = None
) -> list[Seen]:
    """Load pages into a window of a size; a picture is taken of the last one."""
    server.over.clear()
    width, height = size
    asked = urlencode({"width": width, "height": height, "url": urls}, doseq=True)
    wanted = f"--screenshot={picture}" if picture else "--dump-dom"
    browse = [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", wanted,
              f"--window-size={width},{height}",
              f"http://127.0.0.1:{server.server_port}/frame.html?{asked}"]  # fmt: skip
    subprocess.run(browse, capture_output=True, check=True, timeout=_SECONDS)
    return [Seen(*row) for row in json.loads(server.answer)]


def search(server: _Server, words: Sequence[str]) -> list[list[str]]:
    """Where the search leads with each of these, the best first."""
    server.searches = True
    urls = [f"index.html?q={quote(each, safe='')}" for each in words]
    return [seen.links for seen in see(server, urls, (1366, 900))]
