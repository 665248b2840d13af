"""The libraries that the tool needs, as they are listed with their SHA-256 in requirements/.

scripts/build-zipapp puts all of them into one file, scripts/build-packages some of them into the
package for a release of Debian that has too old ones.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from testbed import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEFT_OUT = frozenset({
    *("rich", "markdown_it", "markdown_it_py", "mdurl", "pygments", "bin", "share"),
    "psutil",
})  # fmt: skip
"""rich shows tracebacks and colours that are switched off, and all but one of the rest serves it;
psutil is nothing without its compiled part."""
_PARTS_LEFT_OUT = ("urllib3/contrib/emscripten", "typer/rich_utils.py", "typer/testing.py")


def install(folder: Path) -> None:
    """Fetch what is listed, and no other file; for whatever Python it is, as pure Python."""
    listed = folder.with_name(f"{folder.name}.txt")
    text = (TOP / "requirements" / "tool.txt").read_text(encoding="utf-8")
    listed.write_text(re.sub(r" ; python_\w+ < '[\d.]+'", "", text), encoding="utf-8")
    pip = [sys.executable, "-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run = [*pip, "--require-hashes", "--no-deps", "--no-compile", "--only-binary=:all:",
           "--target", str(folder), "-r", str(listed)]  # fmt: skip
    subprocess.run(run, check=True)


def sources(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every module that is needed: its file, and its path among the libraries."""
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder)
        if inside.parts[0] not in LEFT_OUT and not inside.as_posix().startswith(_PARTS_LEFT_OUT):
            yield path, inside.as_posix()


def notices(folder: Path) -> Iterator[tuple[Path, str]]:
    """Licences, and who made what."""
    for path in sorted(folder.glob("*.dist-info/**/*")):
        inside = path.relative_to(folder)
        named = path.name.upper().startswith(("LICEN", "COPYING", "METADATA"))
        if named and path.is_file() and inside.parts[0].partition("-")[0] not in LEFT_OUT:
            yield path, inside.as_posix()
