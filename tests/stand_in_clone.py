"""A stand-in for a clone of this repository, which scripts/bootstrap installs without a network.

It brings a build backend of its own and has no dependencies, so real virtual environments are
made and pip really installs, in a few seconds and without a package index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BOOTSTRAP = Path(__file__).resolve().parents[1] / "scripts" / "bootstrap"

PYPROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["binfmt_setup"]
[project]
name = "binfmt-setup"
version = "1"
"""

BACKEND = """\
import pathlib
import zipfile


def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = "binfmt_setup-1.dist-info/"
    with zipfile.ZipFile(folder + "/binfmt_setup-1-py3-none-any.whl", "w") as wheel:
        for path in sorted(pathlib.Path("binfmt_setup").glob("*.py")):
            wheel.write(path)
        metadata = "Metadata-Version: 2.1\\nName: binfmt-setup\\nVersion: 1\\n"
        wheel.writestr(info + "METADATA", metadata)
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        script = "[console_scripts]\\nbinfmt-setup = binfmt_setup.__main__:main\\n"
        wheel.writestr(info + "entry_points.txt", script)
        wheel.writestr(info + "RECORD", "")
    return "binfmt_setup-1-py3-none-any.whl"
"""

# Leaves with 7, a code of the tool alone, when told to.
PROGRAM = """\
import sys

def main():
    print("answer", *sys.argv[1:])
    sys.exit(7 if "seven" in sys.argv else 0)

if __name__ == "__main__":
    main()
"""


@dataclass(frozen=True)
class Clone:
    """A clone of the stand-in and the prefix that it is installed to."""

    top: Path
    prefix: Path

    @property
    def link(self) -> Path:
        return self.prefix / "bin" / "binfmt-setup"

    @property
    def lib(self) -> Path:
        return self.prefix / "lib" / "binfmt-setup"

    def environment(self) -> Path:
        """Return the one environment that there must be."""
        (found,) = self.lib.glob("venv-*")
        return found

    def take_environment_of(self, other: Clone) -> None:
        """Have installed what another clone of the same sources has; that need not be built."""
        there = other.environment()
        shutil.copytree(there, self.lib / there.name, symlinks=True)
        self.link.parent.mkdir()

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.top / "scripts" / "bootstrap", "--prefix", self.prefix, *arguments],
            env={
                "PATH": os.environ["PATH"],
                "PYTHON": sys.executable,
                "PIP_NO_INDEX": "1",
                # As in an image that is to hold no compiled code: it must not slow the tool.
                "PYTHONDONTWRITEBYTECODE": "1",
                **variables,
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def make_clone(folder: Path) -> Clone:
    package = folder / "clone" / "binfmt_setup"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(PROGRAM)
    (package / "backend.py").write_text(BACKEND)
    (package.parent / "pyproject.toml").write_text(PYPROJECT)
    (package.parent / "systemd").mkdir()
    (package.parent / "scripts").mkdir()
    (package.parent / "requirements").mkdir()
    for name in ("tool.txt", "build.txt"):
        (package.parent / "requirements" / name).write_text("# nothing\n")
    shutil.copy(BOOTSTRAP, package.parent / "scripts")
    return Clone(package.parent, folder / "prefix")
