"""The container image's file tree, of this machine's packages: as its Containerfile makes it.

Made once for a state of the sources, and kept beside the engines; it needs a Debian with a Python
of its own and QEMU.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
STORE = TOP / ".engines"
PYTHON = Path("/usr/bin/python3")
TARGETS = ("aarch64", "riscv64")
SOURCES = ("binfmt_setup", "systemd", "deploy/image")
# What the command needs besides itself, from the environment that the tests run in.
LIBRARIES = ("annotated_doc", "elftools", "jinja2", "markupsafe", "shellingham", "tomli", "typer",
             "typing_extensions.py", "urllib3")  # fmt: skip


def why_not() -> str:
    """Why no image can be made of this machine; empty when it can."""
    if not PYTHON.exists() or not shutil.which("dpkg-query"):
        return "the image is made of a Debian's packages, and this is none"
    missing = [target for target in TARGETS if not shutil.which(f"qemu-{target}-static")]
    return "qemu-user-static is not installed" if missing else ""


def image_tree() -> Path:
    """The folder with the tree."""
    STORE.mkdir(exist_ok=True)
    with (STORE / "image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = STORE / f"image-{_state()}"
        if not tree.is_dir():
            for old in STORE.glob("image-*"):
                shutil.rmtree(old)
            half = STORE / "image.half"
            shutil.rmtree(half, ignore_errors=True)
            _make(half)
            half.rename(tree)
    return tree


def _state() -> str:
    """What the tree depends on, in one word."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted((TOP / folder).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(TOP)}\0".encode() + file.read_bytes())
    for target in TARGETS:
        digest.update(repr(Path(f"/usr/bin/qemu-{target}-static").stat().st_mtime_ns).encode())
    return digest.hexdigest()[:16]


def _make(half: Path) -> None:
    site = Path(sysconfig.get_path("purelib"))
    leave_out = shutil.ignore_patterns("__pycache__", "contrib", "*.so")
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        tool = Path(folder, "tool")
        for name in LIBRARIES:
            if (site / name).is_dir():
                shutil.copytree(site / name, tool / name, ignore=leave_out)
            elif (site / name).is_file():
                shutil.copy(site / name, tool)
        shutil.copytree(TOP / "binfmt_setup", tool / "binfmt_setup", ignore=leave_out)
        shutil.rmtree(tool / "binfmt_setup/systemd", ignore_errors=True)
        shutil.copytree(TOP / "systemd", tool / "binfmt_setup/systemd")
        shutil.copytree(TOP / "deploy/image/binfmt_image", tool / "binfmt_image", ignore=leave_out)
        words = (PYTHON, "-sS", TOP / "deploy/image/assemble.py", half, tool, *TARGETS)
        argv = [str(word) for word in words]
        plain = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONHASHSEED": "0"}
        subprocess.run(argv, check=True, env=plain)
