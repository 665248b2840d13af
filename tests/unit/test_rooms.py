"""The shape of the code: pure rooms import no door, commands import no more than they need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import binfmt_setup

PACKAGE = Path(binfmt_setup.__file__).parent
PURE = (
    "records",
    "errors", "targets", "elf", "registration", "facts", "findings", "steps", "plan", "boot",
    "abi", "specimen", "explanation", "explain", "advice", "origins", "identity",
    "boot_plan", "mounts", "mountinfo", "persistence", "preparation", "result", "verdict",
    "oci", "references", "emulators", "store",
)  # fmt: skip
DOORS = {
    "host",
    "programs",
    "writes",
    "guards",
    "interpreters",
    "snapshot",
    "apply",
    "probes",
    "syscalls",
    "standing",
    "asked",
    "check",
    "commands",
    "install",
    "provision",
    "foresight",
    "removal",
    "answer",
    "plain",
    "cli",
}
OUTSIDE = {"subprocess", "os", "psutil", "shutil", "socket", "ctypes", "fcntl"}


COSTLY = {"psutil", "elftools", "jinja2", "rich", "ctypes", "json.decoder", "xml", "hashlib"}
UNNEEDED_BY_CHECK = {
    "typer", "subprocess", "tempfile", "difflib", "json", "dataclasses", "inspect", "pathlib",
}  # fmt: skip


def imported(module: str) -> set[str]:
    """What a module imports when it runs; imports for type checking do not count."""
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("module", PURE)
def test_pure_rooms_import_no_door(module: str) -> None:
    names = imported(module)
    assert not names & {f"binfmt_setup.{door}" for door in DOORS}
    assert not names & OUTSIDE


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    # An empty environment: measuring coverage would load more.
    done = subprocess.run(
        [sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import binfmt_setup.cli",
        "import binfmt_setup.commands",
        "import binfmt_setup.check",
        "import binfmt_setup.foresight",
        "import binfmt_setup.removal",
    ],
)
def test_starting_a_command_loads_nothing_that_costs(statement: str) -> None:
    assert not loaded_by(statement) & COSTLY


def loaded_by_command(*arguments: str) -> set[str]:
    """The modules that a whole run of the tool imports, from Python's own list of them."""
    command = [sys.executable, "-X", "importtime", "-m", "binfmt_setup", *arguments]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 1, 5), done.stderr
    rows = (line.rpartition("|") for line in done.stderr.splitlines() if "|" in line)
    return {name.strip() for _, _, name in rows}


def own(modules: set[str]) -> set[str]:
    """Those of this package, without its name."""
    return {name.partition(".")[2] for name in modules if name.startswith("binfmt_setup.")}


def test_a_command_that_does_nothing_loads_the_command_line_alone() -> None:
    loaded = loaded_by_command("--version")
    assert COSTLY & loaded == set()
    assert own(loaded) == {"plain", "records", "answer", "errors", "cli"}


def test_check_loads_neither_the_command_line_library_nor_what_changes_hosts() -> None:
    loaded = loaded_by_command("check", "arm64", "s390x")
    assert (COSTLY | UNNEEDED_BY_CHECK) & loaded == set()
    not_for_check = {"cli", "install", "provision", "apply", "plan", "steps", "document", "engines"}
    assert own(loaded) & not_for_check == set()


def test_install_loads_no_command_line_library() -> None:
    loaded = loaded_by_command("install", "--check", "--no-persist", "arm64", "s390x")
    assert (COSTLY | {"typer", "dataclasses", "inspect", "pathlib"}) & loaded == set()
    assert own(loaded) & {"cli", "engines", "explain", "run", "namespace"} == set()


def test_subprocesses_are_started_behind_the_doors_only() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.stem not in ("programs", "probes", "namespace"):
            assert "subprocess" not in imported(path.stem), path
