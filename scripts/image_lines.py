"""Build the container image by each line of docs/image.md, and let Docker run what came of it.

scripts/try-image uses it. Docker 28 and the registry are in namespaces of their own, with a
registration of their own (Linux 6.7); what a build wants of Debian's archive is handed in.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

from testbed import TOP, require
from tests.engines import toolbox
from tests.engines.conftest import CONTAINERD
from tests.engines.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PAGE = TOP / "docs/image.md"
NAME = "127.0.0.1:5000/binfmt"
DEBIAN = "127.0.0.1:5000/debian"
PROXY = ("127.0.0.1", 3128)
OWN = "amd64"
SKOPEO: dict[str, toolbox.Contents] = {
    "skopeo": (("bookworm", ("skopeo", *toolbox.OLD_LIBRARIES)),)
}
HOME = {
    "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}',
    "registries.conf": '[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n',
}
_NETWORK = 0x40000000  # CLONE_NEWNET


class Page:
    """What the page says of building."""

    def __init__(self) -> None:
        text = PAGE.read_text(encoding="utf-8").partition("\n## Building it\n")[2]
        (self.whole,) = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
        (self.copy,) = re.findall(r"`(skopeo copy [^`]+)`", text)
        (self.buildx,) = re.findall(r"`(docker buildx build [^`]+)`", text)
        self.options: list[str] = re.findall(r"^\| `(--[^`]+)` \|", text, re.MULTILINE)


class _Fetch(BaseHTTPRequestHandler):
    """A proxy for what apt asks for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Fetch it, and hand it on."""
        try:
            with urllib.request.urlopen(self.path) as found:  # noqa: S310 - apt's own addresses
                self.send_response(200)
                self.send_header("Content-Length", found.headers["Content-Length"])
                self.end_headers()
                shutil.copyfileobj(found, self.wfile)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@contextmanager
def archive_for(lab: Lab) -> Iterator[str]:
    """Debian's archive, within reach of the lab; the address of a proxy there."""
    made: list[socket.socket] = []

    def inside() -> None:  # of a process each thread may have a network of its own
        network = os.open(f"/proc/{lab.pid}/ns/net", os.O_RDONLY)
        if not ctypes.CDLL(None).setns(network, _NETWORK):
            made.append(socket.create_server(PROXY))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    server = ThreadingHTTPServer(PROXY, _Fetch, bind_and_activate=False)
    (server.socket,) = made
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{PROXY[0]}:{PROXY[1]}"
    server.shutdown()


class Site:
    """Where it is built, and where it runs then."""

    def __init__(self, lab: Lab, folder: Path, architectures: Sequence[str]) -> None:
        self.lab, self.folder, self.architectures = lab, folder, architectures
        self.page = Page()
        settings = folder / ".config/containers"
        settings.mkdir(parents=True)
        for name, text in HOME.items():
            (settings / name).write_text(text)

    def built(self, name: str, *options: str) -> Path:
        """Run scripts/build-image; where the result lies."""
        out = self.folder / name
        run([self.page.whole, "--out", str(out), *options])
        return out

    def skopeo(self, *words: str) -> None:
        """Run it in the network of the lab."""
        box = toolbox.fetch(SKOPEO) / "skopeo"
        settings = (f"HOME={self.folder}", f"LD_LIBRARY_PATH={box}/usr/lib/x86_64-linux-gnu")
        enter = ("nsenter", f"--target={self.lab.pid}", "--net", "--", "env", *settings)
        run([*enter, f"{box}/usr/bin/skopeo", *words])

    def pushed(self, out: Path, tag: str) -> None:
        """Do what the page says of a result."""
        places = {"oci:dist/image/oci": f"oci:{out}/oci", "docker://…": f"docker://{NAME}:{tag}"}
        _, *words = (places.get(word, word) for word in shlex.split(self.page.copy))
        self.skopeo(*words)

    def container(self, tag: str, *words: str, arch: str = OWN) -> str:
        """What a container says, which must succeed."""
        start = ("docker", "run", "--rm", "--privileged", f"--platform=linux/{arch}")
        done = self.lab.run(*start, f"{NAME}:{tag}", "--private", *words)
        line = f"{tag} ({arch}): {' '.join(words)}"
        require(done.returncode == 0, f"{line}: {done.stderr.strip()}", done.stdout + done.stderr)
        return done.stderr

    def debian(self) -> None:
        """A Debian of nothing but apt for each architecture, in the registry."""
        for arch in self.architectures:
            tree = str(self.folder / f"debian-{arch}.tar")
            source = f"deb [signed-by={toolbox.KEYRING}] {toolbox.mirror()} trixie main"
            run([
                sys.executable, "-m", "binfmt_setup", "run", "--map-root", "--map-users=auto",
                f"--platform=linux/{arch}", "--", "mmdebstrap", "--mode=root", "--variant=apt",
                "--quiet", f"--architectures={arch}", "--skip=output/dev", "trixie", tree, source,
            ])  # fmt: skip
            self.lab.ok("docker", "import", f"--platform=linux/{arch}", tree, f"{DEBIAN}:{arch}")
            self.lab.ok("docker", "push", "--quiet", f"{DEBIAN}:{arch}")
        names = [f"{DEBIAN}:{arch}" for arch in self.architectures]
        self.lab.ok("docker", "buildx", "imagetools", "create", f"--tag={DEBIAN}:all", *names)

    def buildx(self) -> None:
        """The line for it; where a base and an archive are is what the lab needs besides."""
        context = str(self.folder / "context")
        run([self.page.whole, "--context", context])
        line = self.page.buildx.replace("DIR", context)
        line = line.replace("linux/amd64,linux/arm64",
                            ",".join(f"linux/{arch}" for arch in self.architectures))  # fmt: skip
        with archive_for(self.lab) as proxy:
            more = ["--network=host", f"--build-arg=http_proxy={proxy}", "--progress=plain",
                    f"--build-arg=BASE={DEBIAN}:all", f"--tag={NAME}:buildx", "--push"]  # fmt: skip
            run(self.lab.command(*shlex.split(line), *more))


def run(argv: Sequence[str]) -> None:
    """Run a program at the top of the clone, which must succeed."""
    subprocess.run(argv, cwd=TOP, check=True, stdin=subprocess.DEVNULL)


def whole(site: Site) -> None:
    """The line alone, and what is said to push it with."""
    site.pushed(site.built("whole", *(f"--arch={arch}" for arch in site.architectures)), "whole")
    site.container("whole", "--install", "all")
    for arch in site.architectures:
        require("qemu/v10.0." in site.container("whole", "--version", arch=arch), "Debian 13's")


def options(site: Site) -> None:
    """Each row of the table, but for the one of another builder."""
    site.skopeo("copy", f"docker://{DEBIAN}:{OWN}", f"oci:{site.folder}/base")
    for number, row in enumerate(site.page.options):
        words = shlex.split(row.replace("IMAGE", f"oci:{site.folder}/base"))
        if words[0] == "--context":
            continue
        more = [] if "--arch" in words else ["--arch", OWN]
        tag = f"row{number}"
        site.pushed(site.built(tag, *words, *more), tag)
        version = site.container(tag, "--version")
        if "--suite" in words:
            require("qemu/v7.2." in version, row)
        if "--qemu" in words and ":" in words[-1]:
            require(f"qemu/v{words[-1].partition(':')[2].partition('+')[0]} " in version, row)
        if words[0] == "--targets":
            site.container(tag, "--uninstall", "qemu-*")
            said = site.container(tag, "--install", "all")
            lines = [line for line in said.splitlines() if line.startswith("installing")]
            require(lines == ["installing: arm64 OK", "installing: riscv64 OK"], row, said)


def other_builder(site: Site) -> None:
    """Buildx, for all architectures in one image."""
    site.container("whole", "--install", "all")
    site.buildx()
    for arch in site.architectures:
        require("qemu/v10.0." in site.container("buildx", "--version", arch=arch), "Debian 13's")


def build(architectures: Sequence[str]) -> None:
    """All of it."""
    lab = Lab(toolbox.fetch() / "new")
    with tempfile.TemporaryDirectory(prefix="try-image-", dir=toolbox.STORE) as folder:
        try:
            lab.start()
            # In a user namespace overlayfs does not rename folders, and dpkg wants that.
            lab.dockerd(CONTAINERD, "--storage-driver=native")
            lab.registry()
            site = Site(lab, Path(folder), architectures)
            whole(site)
            site.debian()
            other_builder(site)
            options(site)
        finally:
            lab.stop()
