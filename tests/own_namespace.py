"""A private namespace with an empty registry of its own, made by the package itself.

As a program it becomes a command in there, as root of the namespace:
`python -m tests.own_namespace COMMAND…`, or with `--bare` before it, and no registry mounted
yet. For tests:
`in_namespace(argv)` runs a command so, `python_in_namespace(code)` some Python, and `as_user(argv)`
gives the command that runs `argv` as an ordinary user.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

TOP = Path(__file__).resolve().parents[1]
CLI = (sys.executable, "-m", "binfmt_setup")
PACKAGE = TOP / "binfmt_setup" / "__init__.py"
PROBES = TOP / "binfmt_setup" / "data" / "probes"
USER = 1000
"""The uid of the ordinary user: without a capability, but owner of what the tester owns."""
SECONDS = 120.0


def in_namespace(
    argv: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as root of a fresh namespace that has an empty registry of its own."""
    return run([sys.executable, "-m", "tests.own_namespace", *argv], environment)


def python_in_namespace(
    code: str, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> str:
    """Run some Python in there, which must succeed; what it printed."""
    done = in_namespace([sys.executable, "-c", code, *arguments], environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_user(argv: Sequence[str | Path]) -> list[str]:
    """The command that runs another one as an ordinary user.

    In a user namespace, where the tester's own id appears as one that is not root's: so the
    Python of the tests stays within reach, even when it lies in root's home.
    """
    ids = (f"--map-user={USER}", f"--map-group={USER}")
    return ["unshare", "--user", *ids, *map(str, argv)]


def run(
    argv: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command from the top of the repository with nothing on standard input."""
    return subprocess.run(
        [str(word) for word in argv],
        cwd=TOP,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def by_user(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`binfmt-setup run` as an ordinary user."""
    return run(as_user([*CLI, "run", *arguments]))


def unmeasured() -> dict[str, str]:
    """The tester's environment without what makes Python measure its coverage."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


@contextmanager
def folder_for_everybody() -> Iterator[Path]:
    """A folder that every user can reach: pytest closes its own to others, again and again."""
    with tempfile.TemporaryDirectory(prefix="binfmt-setup-", dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def copy_for_everybody(where: Path) -> Path:
    """Copy the package and the libraries of its command line to where every user may read.

    The tester's own may lie in root's home. For /usr/bin/python3, by PYTHONPATH: of what
    `run` needs, nothing is built for one version of Python.
    """
    modules = "{name.partition('.')[0] for name in sys.modules}"
    files = f"(getattr(sys.modules[name], '__file__', '') for name in {modules})"
    wanted = "import sys, typer, psutil, elftools.elf.elffile, jinja2"
    code = f"{wanted}; print(*(file for file in {files} if 'site-packages' in str(file)))"
    libraries = run([sys.executable, "-c", code], unmeasured()).stdout.split()
    where.mkdir()
    shutil.copytree(TOP / "systemd", where / "systemd")
    for file in (PACKAGE, *(Path(library) for library in libraries)):
        if file.name == "__init__.py":
            leave_out = shutil.ignore_patterns("__pycache__")
            shutil.copytree(file.parent, where / file.parent.name, ignore=leave_out)
        else:
            shutil.copy(file, where)
    return where


def main() -> None:
    """Become the command, inside."""
    from binfmt_setup.system import registry
    from binfmt_setup.system.host import Host
    from binfmt_setup.userns import namespace
    from binfmt_setup.userns.identity import Users, choose

    host = Host()
    before = registry.outside(host)
    namespace.enter(host, choose(namespace.caller(host, ranges=False), Users.one, as_root=True))
    command = sys.argv[1:]
    if command[0] == "--bare":
        command = command[1:]
    else:
        namespace.own_registry(host, before).close()
    os.execvp(command[0], command)  # noqa: S606 - a shell would be in the way


if __name__ == "__main__":
    main()
