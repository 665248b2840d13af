"""explain --chroot: what a tree holds means the tree's own files, as the kernel sees it there."""

from __future__ import annotations

import platform
import subprocess
import sys

from tests.own_namespace import PROBES
from tests.sandbox.test_explain import Scene, probe, pytestmark, scene, with_loader

__all__ = ["pytestmark", "scene"]  # for pytest


def test_what_a_tree_holds_is_looked_up_in_it(scene: Scene) -> None:
    """Links and loaders mean the tree's files; a slash at the end wants a directory."""
    native = (PROBES / platform.machine()).read_bytes()
    scene.entry("e")
    root = scene.folder / "root"
    files: dict[str, bytes | str] = {
        "bin/true": native, "hello": probe(), "script": "#!/abs\n", "relative": "#!bin/true\n",
        "foreign-loader": with_loader(native, "/abs"), "loader": with_loader(native, "bin/true"),
        "no-loader": with_loader(native, "/usr/lib/ld.so"), "out": "#!/link-out\n",
        "slash": "#!/bin/true/\n",
    }  # fmt: skip
    for path, content in files.items():
        scene.put(f"root/{path}", content)
    (root / "abs").symlink_to("/hello")
    (root / "up").symlink_to("../../../../hello")
    (root / "link-out").symlink_to(scene.put("host-only", probe()))
    names = ("hello", "abs", "up", "script", "relative", "foreign-loader", "loader", "no-loader",
             "out", "slash", "bin/../hello", "/hello", "bin")  # fmt: skip
    errors = [answer.errno for answer in scene.ask(*(f"/{n}" for n in names), chroot=str(root))]
    assert errors == ["", "", "", "", "", "ELIBBAD", "", "ENOENT", "ENOENT", "ENOTDIR",
                      "", "", "EACCES"]  # fmt: skip
    for name in ("hello/", "hello/.", "nowhere", "link-out"):
        assert tool_says(f"{root}/{name}", "--chroot", str(root)) == 2


def tool_says(*arguments: str) -> int:
    """The exit code of explain."""
    argv = [sys.executable, "-m", "binfmt_setup", "explain", *arguments]
    return subprocess.run(argv, capture_output=True, check=False).returncode
