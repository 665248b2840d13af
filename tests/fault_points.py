"""Killing a run, or failing one of its system calls, at each one that changes something.

strace injects the fault, so nothing of the code under test is replaced. A point is the n-th call
of a name that the main process makes; which calls there are is seen in a run without a fault.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence

    from tests.sandbox.conftest import Sandbox

CHANGING = (
    "write", "rename", "unlink", "mkdir", "rmdir", "symlink", "fchmod", "fsync", "mount",
    "openat", "ftruncate", "link",
)  # fmt: skip
"""Where a kernel has variants of a call, `rename` stands for `renameat` and so on."""
CALLS = tuple(f"/^{name}(at|at2|dir)?$" for name in CHANGING)
PLACES = ("/proc/sys/fs/binfmt_misc", "/etc/", "/run/", "/usr/local/")
TOOL = (sys.executable, "-m", "binfmt_setup")
ARM64 = ("install", "arm64", "--private")
_OURS = "/etc/binfmt.d /run/binfmt.d /etc/systemd /etc/binfmt-setup"
_TREE = f"find {_OURS} /usr/local/lib/binfmt-setup"
_SWAP = "binfmt-setup-swap-"


@dataclass(frozen=True)
class Scenario:
    """What stands before, the command that is disturbed, and the one that comes next."""

    name: str
    before: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    next: tuple[str, ...]
    entry: str = ""
    """A registration of somebody else's, made by hand before all."""


@dataclass(frozen=True)
class Point:
    """The n-th call of a name, and what it was about."""

    call: str
    number: int
    about: str


@dataclass
class Outcome:
    """What became of one disturbed run."""

    point: Point
    status: int
    said: str
    wrong: str = ""
    left: str = ""
    changed_again: bool = False

    @property
    def traceback(self) -> bool:
        return "Traceback" in self.said or self.status == 70


def scenarios(other: Path) -> tuple[Scenario, ...]:
    """`other` is a directory with another emulator for arm64."""
    qemu = (*ARM64, "--qemu", str(other))
    theirs = _foreign_line(other)
    return (
        Scenario("fresh", (), ARM64, ARM64),
        Scenario("fresh, --no-persist", (), (*ARM64, "--no-persist"), (*ARM64, "--no-persist")),
        Scenario("replace", (ARM64,), (*ARM64, "--credentials"), ARM64),
        Scenario("replace, asked again", (ARM64,), (*ARM64, "--credentials"),
                 (*ARM64, "--credentials")),
        Scenario("--qemu", (ARM64,), qemu, qemu),
        Scenario("take over", (), (*ARM64, "--take-over"), (*ARM64, "--take-over"), theirs),
        Scenario("uninstall", (ARM64,), ("uninstall", "--private"), ARM64),
        Scenario("uninstall, puts back", ((*ARM64, "--take-over"),), ("uninstall", "--private"),
                 (*ARM64, "--take-over"), theirs),
    )  # fmt: skip


def _foreign_line(directory: Path) -> str:
    from binfmt_setup.model.registration import Registration
    from binfmt_setup.model.targets import target_named

    target = target_named("aarch64")
    path = str(directory / "qemu-aarch64-static")
    return Registration(target.entry_name, path, "OCF", target.magic, target.mask).line


class Lab:
    """A namespace in which runs are disturbed, one after the other."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def points(self, scenario: Scenario) -> list[Point]:
        """Every changing call of a scenario's command, in order."""
        self._reset(scenario)
        with tempfile.NamedTemporaryFile("r") as trace:
            done = self._strace("-y", "-o", trace.name, command=scenario.command)
            assert done.returncode == 0, done.stdout + done.stderr
            return list(_points(Path(trace.name).read_text().splitlines()))

    def disturb(self, scenario: Scenario, point: Point, fault: str) -> Outcome:
        """Disturb a run at one point, and see what the next two come to."""
        self._reset(scenario)
        how = f"inject={point.call}:{fault}:when={point.number}"
        done = self._strace("-e", how, command=scenario.command)
        found = Outcome(point, done.returncode, done.stdout + done.stderr)
        ran = self._sandbox.run(*TOOL, "check", "arm64").returncode == 0
        if "error=" in fault:
            found.wrong = self._lie(scenario, done, ran=ran)
        status, data, said = self._json(scenario.next)
        rows = data.get("platforms", [])
        if status or not rows or not all(row["ok"] for row in rows):  # type: ignore[attr-defined]
            found.wrong += f"next run: {status} {said[-300:]}"
        if self._sandbox.run(*TOOL, "check", "arm64").returncode:
            found.wrong += " and does not run after it"
        names = self._sandbox.run("ls", "/proc/sys/fs/binfmt_misc").stdout.split()
        left = [name for name in names if name.startswith(_SWAP)]
        tree = self._sandbox.sh(f"{_TREE} 2>/dev/null").stdout.splitlines()
        left += [path for path in tree if re.search(r"/\.", path)]
        found.left = " ".join(left)
        again, data, said = self._json(scenario.next)
        found.changed_again = bool(data.get("changed"))
        found.wrong += f"second run: {again} {said}" if again else ""
        return found

    def _lie(self, scenario: Scenario, done: subprocess.CompletedProcess[str], *, ran: bool) -> str:
        """What is wrong with a run that met an error: what ran must run, 0 must be true."""
        if not ran and (scenario.before or scenario.entry) and scenario.command[0] == "install":
            return "what ran before runs no more; "
        if not ran and done.returncode == 0 and scenario.command[0] == "install":
            return "exit 0, and it does not run; "
        return ""

    def _json(self, command: Sequence[str]) -> tuple[int, dict[str, object], str]:
        done = self._sandbox.run(*TOOL, *command, "--format", "json")
        try:
            return done.returncode, json.loads(done.stdout), done.stderr
        except ValueError:
            return done.returncode, {}, done.stdout + done.stderr

    def _strace(self, *options: str, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command of the tool under strace, its main process alone."""
        trace = f"trace={','.join(CALLS)}"
        quiet = () if "-o" in options else ("-o", "/dev/null")
        return self._sandbox.run("strace", "-qq", "-e", trace, *quiet, *options, *TOOL, *command)

    def _reset(self, scenario: Scenario) -> None:
        """Have the registry and the files as a scenario wants them."""
        registry = "/proc/sys/fs/binfmt_misc"
        files = "/etc/binfmt.d /run/binfmt.d /etc/systemd/system /etc/binfmt-setup"
        # The namespace's own registry: see the fixture, which looks at it.
        self._sandbox.sh(
            f"for e in {registry}/*-*; do [ ! -e $e ] || echo -1 > $e; done; rm -rf {files}; "
            "mkdir -p /etc/systemd/system"
        )
        if scenario.entry:
            self._sandbox.run("sh", "-c", f"cat > {registry}/register", stdin=scenario.entry)
        for command in scenario.before:
            done = self._sandbox.run(*TOOL, *command)
            assert done.returncode == 0, done.stdout + done.stderr


def _points(lines: Sequence[str]) -> Iterator[Point]:
    """The calls of a trace that change a file of the host or an entry."""
    counts: dict[str, int] = {}
    for line in lines:
        found = re.match(r"(\w+)\((.*)", line)
        if not found:
            continue
        call, about = found[1], found[2]
        counts[call] = counts.get(call, 0) + 1
        opens = call.startswith("open")
        if opens and not re.search("O_WRONLY|O_RDWR|O_CREAT", about):
            continue
        if any(place in about for place in PLACES) and "/dev/null" not in about:
            yield Point(call, counts[call], about[:120])
