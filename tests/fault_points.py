"""Killing a run, or failing one of its system calls, at each one that changes something.

strace injects the fault, so nothing of the code under test is replaced. A point is the n-th call
of a name that the main process makes; which calls there are is seen in a run without a fault.
What such a run leaves behind is what every later state is compared with.

What follows a disturbed run depends on the state that it left, and on nothing else. So each state
(every name, mode and content below /etc and /run, every entry) is followed up once.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from binfmt_setup.model.boot_facts import RETURNED_PATH
from binfmt_setup.model.registration import Registration, parse_entry
from binfmt_setup.model.targets import target_named
from binfmt_setup.system.made_names import TEMPORARY
from tests.foreign_starts import starts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.sandbox.conftest import Sandbox

CHANGING = (
    "write", "rename", "unlink", "mkdir", "rmdir", "symlink", "fchmod", "fsync", "mount",
    "openat", "ftruncate", "link",
)  # fmt: skip
"""Where a kernel has variants of a call, `rename` stands for `renameat` and so on."""
CALLS = tuple(f"/^{name}(at|at2|dir)?$" for name in CHANGING)
REGISTRY = "/proc/sys/fs/binfmt_misc"
STORE = "/run/store"
SCRATCH = "/run/scratch"
WISHES = "/run/wishes.toml"
PLACES = (REGISTRY, "/etc/", "</etc>", "/run/", "</run>", "/usr/local/")
TOOL = (sys.executable, "-m", "binfmt_setup")
ARM64 = (*TOOL, "install", "arm64", "--private")
UNINSTALL = (*TOOL, "uninstall", "--private")
SCRIPT = ("sh", "/etc/binfmt-setup/register", "/etc/binfmt.d/qemu-aarch64.conf")
MISSING = (*SCRIPT[:2], "--missing", SCRIPT[2])
_DROPPED = f"""(
until [ -e {REGISTRY}/qemu-aarch64 ] || ! kill -0 $$; do sleep 0.1; done
sleep 1; echo -1 >{REGISTRY}/qemu-aarch64
until [ -e {REGISTRY}/qemu-aarch64 ] || ! kill -0 $$; do sleep 0.1; done
sleep 1; kill $$
) >/dev/null 2>&1 & exec "$@\""""
HOLD = ("sh", "-c", _DROPPED, "sh", *ARM64, "--hold")
"""It ends by the signal that whoever started it sends, after its entry was dropped once."""
_VOLATILE = f"/run/binfmt.d /run/binfmt-setup-keep {STORE} {SCRATCH}"
OFF = "\noff"
"""Behind the line of an entry that is disabled."""
_OURS = f"/etc/binfmt.d /etc/systemd /etc/binfmt-setup {_VOLATILE}"
_LOOKED_AT = f"/etc {_VOLATILE}"
_SAVED = "/run/saved"
_LOOK = f"""find {_LOOKED_AT} -printf '%p\\t%y %m %U %l\\n' 2>/dev/null; echo SUMS
find {_OURS} -type f -exec sha256sum {{}} + 2>/dev/null; echo ENTRIES; cd {REGISTRY}
for e in $(ls -U); do case $e in register|status) ;; *) echo "ENTRY $e"; cat "$e" ;; esac; done"""
_MADE_UP = re.compile(rf"{re.escape(TEMPORARY)}[a-z0-9_]+")
_OWN = f"mountpoint -q /etc && mountpoint -q /run && mountpoint -q {REGISTRY} || exit 9; "


@dataclass(frozen=True)
class Scenario:
    """What stands before, the command that is disturbed, and the one that comes next."""

    name: str
    before: tuple[tuple[str, ...], ...]
    command: tuple[str, ...]
    next: tuple[str, ...]
    entry: str = ""
    """A registration of somebody else's, made by hand before all."""
    lost: bool = False
    """Whether the entries are gone, as at boot, when the command comes."""
    about: str = ""
    """What a call must be about to be a point; the others are those of another scenario."""


@dataclass(frozen=True)
class Point:
    """The n-th call of a name, and what it was about."""

    call: str
    number: int
    about: str


@dataclass(frozen=True)
class State:
    """All files by name, with their form (type, mode, owner, target), their sums, the entries.

    The names under which files are written are made up each time; here all are one.
    """

    files: tuple[tuple[str, str], ...]
    sums: str
    entries: tuple[tuple[str, str], ...]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in (*self.files, *self.entries)}

    def besides(self, other: State) -> str:
        """The files and entries that this has, and another state has not."""
        return " ".join(sorted(self.names - other.names))

    def unlike(self, other: State) -> str:
        """What one has and the other has not, or has in another form."""
        mine, theirs = {*self.files, *self.entries}, {*other.files, *other.entries}
        return " ".join(sorted(f"{name} ({form})" for name, form in mine ^ theirs))


@dataclass(frozen=True)
class Following:
    """What became of the runs after a disturbed one."""

    wrong: str
    left: str
    changed_again: bool


@dataclass
class Outcome:
    """What became of one disturbed run, and of those after it; empty words are good."""

    point: Point
    status: int
    said: str
    hit: bool
    """Whether the run came to the point at all."""
    wrong: str = ""
    left: str = ""
    changed_again: bool = False

    @property
    def traceback(self) -> bool:
        return "Traceback" in self.said or self.status == 70

    @property
    def fine(self) -> bool:
        return not (self.wrong or self.left or self.changed_again or self.traceback)


def began(status: int, said: str) -> bool:
    """Whether it was the tool that met the trouble, and not Python before it has run any of it."""
    python_fell = "Traceback" in said or "Fatal Python error" in said or status == -signal.SIGABRT
    return not python_fell or "/binfmt_setup/" in said


def scenarios(other: Path, archive: Path | None = None) -> tuple[Scenario, ...]:
    """`other` is a directory with another emulator for arm64, `archive` a .deb or .tar with one."""
    qemu = (*ARM64, "--qemu", str(other))
    taking = (*ARM64, "--take-over")
    rights = (*ARM64, "--credentials")
    for_now = (*ARM64, "--no-persist")
    theirs = foreign_line(other)
    keeping = (*ARM64, "--keep")
    taken_back = (*ARM64, "--no-keep")
    named = (*ARM64, "--emulator", str(other / "qemu-aarch64-static"))
    wished = (*TOOL, "install", "--private", "--config", WISHES)
    wish = ("sh", "-c", f"printf 'platforms = [\"arm64\"]\\nkeep = true\\n' >{WISHES}")
    deep = ("env", f"TMPDIR={SCRATCH}", *qemu, "--deep")
    found = [
        Scenario("install", (), ARM64, ARM64),
        Scenario("install --no-persist", (), for_now, for_now),
        Scenario("a replacement", (ARM64,), rights, ARM64),
        Scenario("a replacement, asked for again", (ARM64,), rights, rights),
        Scenario("install --qemu DIR", (ARM64,), qemu, qemu),
        Scenario("install --take-over", (), taking, taking, theirs),
        Scenario("install over a disabled entry", (), taking, taking, theirs + OFF),
        Scenario("uninstall", (ARM64,), UNINSTALL, ARM64),
        Scenario("uninstall that puts back", (taking,), UNINSTALL, taking, theirs + OFF),
        Scenario("the boot script, at boot", (ARM64,), SCRIPT, ARM64, lost=True),
        Scenario("the boot script, after an upgrade", (ARM64,), SCRIPT, ARM64),
        Scenario("install --keep", (ARM64,), keeping, keeping),
        Scenario("install --no-keep", (keeping,), taken_back, taken_back),
        Scenario("uninstall after --keep", (keeping,), UNINSTALL, keeping),
        Scenario("the script of --keep", (keeping,), MISSING, keeping, lost=True),
        Scenario("install by a wish list", (wish,), wished, wished),
        Scenario("install --emulator FILE", (ARM64,), named, named),
        Scenario("install --hold, and entries dropped", (ARM64,), HOLD, ARM64, lost=True),
        Scenario("install --deep, its scratch", (ARM64,), deep, deep, about=SCRATCH),
    ]
    if archive is not None:
        brought = (*ARM64, "--qemu", str(archive), "--qemu-store", STORE)
        found.insert(5, Scenario("install --qemu ARCHIVE", (ARM64,), brought, brought))
    return tuple(found)


def foreign_line(directory: Path) -> str:
    """What somebody else would register for arm64."""
    target = target_named("aarch64")
    path = str(directory / "qemu-aarch64-static")
    return Registration(target.entry_name, path, "OCF", target.magic, target.mask).line


class Lab:
    """A namespace in which runs are disturbed, one after the other."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._scenario: Scenario | None = None

    def points(self, scenario: Scenario) -> list[Point]:
        """Every changing call of a scenario's command, in order; the lab is ready for it then."""
        self._prepare(scenario)
        # Once before: what Python compiles and keeps at first would be counted, and only then.
        self._sandbox.run(*scenario.command)
        self._reset()
        with tempfile.NamedTemporaryFile("r") as trace:
            done = self._strace(trace.name, "-y", command=scenario.command)
            assert done.returncode == 0, done.stdout + done.stderr
            seen = _points(Path(trace.name).read_text().splitlines())
            found = [point for point in seen if scenario.about in point.about]
        self._reached = self._state()
        assert self._again(scenario.next)[0] == 0
        self._finished = self._state()
        return found

    def disturb(self, scenario: Scenario, point: Point, fault: str) -> Outcome:
        """Disturb a run at one point, and see what becomes of it and of the next ones."""
        assert self._scenario == scenario, "points() comes first"
        self._reset()
        with tempfile.NamedTemporaryFile("r") as trace:
            how = f"inject={point.call}:{fault}:when={point.number}"
            done = self._strace(trace.name, "-e", how, command=scenario.command)
            text = Path(trace.name).read_text()
            hit = done.returncode < 0 or "INJECTED" in text or "--- SIGTERM" in text
        return self._outcome(scenario, point, done, hit=hit, failed="error=" in fault)

    def signalled(self, scenario: Scenario, number: signal.Signals, after: float) -> Outcome:
        """Send a signal to a run some seconds after its start, and see the same."""
        self._reset()
        with subprocess.Popen(
            [*self._sandbox.inside, *scenario.command], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        ) as running:  # fmt: skip
            time.sleep(after)
            running.send_signal(number)
            said = running.communicate()
        done = subprocess.CompletedProcess(running.args, running.returncode, *said)
        return self._outcome(scenario, Point("", 0, number.name), done, hit=True, failed=False)

    def _outcome(
        self, scenario: Scenario, point: Point, done: subprocess.CompletedProcess[str], *,
        hit: bool, failed: bool,
    ) -> Outcome:  # fmt: skip
        state = self._state()
        wrong = self._lie(scenario, done.returncode, state) if failed else ""
        if state not in self._known:
            self._known[state] = self._follow(scenario)
        follow = self._known[state]
        return Outcome(
            point, done.returncode, done.stdout + done.stderr, hit, wrong + follow.wrong,
            follow.left, follow.changed_again,
        )  # fmt: skip

    def _lie(self, scenario: Scenario, status: int, state: State) -> str:
        """What is wrong with a run that met an error: what ran must run, 0 must be true."""
        ran = any(OFF not in line for line in self._lines) and scenario.command != UNINSTALL
        if ran and not starts(self._sandbox):
            return "what ran before runs no more; "
        unlike = state.unlike(self._reached) if status == 0 else ""
        return f"exit 0, but: {unlike}; " if unlike else ""

    def _follow(self, scenario: Scenario) -> Following:
        """The next run must be right, the one after it change nothing, uninstall leave nothing."""
        status, data, said = self._again(scenario.next)
        rows = cast("list[dict[str, object]]", data.get("platforms", []))
        wrong = ""
        if status or not rows or not all(row["ok"] for row in rows) or not starts(self._sandbox):
            wrong = f"next run: {status} {said[-300:]}; "
        state = self._state()
        left = state.besides(self._finished)
        # What the run itself brought back, and when, is no other run's affair.
        lacks = [name for name in self._finished.names - state.names if name != RETURNED_PATH]
        if lacks:
            wrong += f"the next run did not bring: {lacks}; "
        again, data, said = self._again(scenario.next)
        wrong += f"second run: {again} {said[-300:]}; " if again else ""
        changed_again = bool(data.get("changed")) or self._state() != state
        again, data, said = self._again(UNINSTALL)
        unlike = self._state().unlike(self._nothing)
        if again or unlike:
            wrong += f"uninstall: {again}, {unlike} {said[-300:]}; "
        return Following(wrong, left, changed_again)

    def _state(self) -> State:
        """Read in one go: this is asked for often."""
        told = _MADE_UP.sub(TEMPORARY, self._sandbox.sh(_LOOK).stdout)
        files, _, rest = told.partition("SUMS\n")
        sums, _, entries = rest.partition("ENTRIES\n")
        named = (text.partition("\n")[::2] for text in entries.split("ENTRY ")[1:])
        found = (parse_entry(name, text) for name, text in named)
        return State(
            tuple((name, form) for name, _, form in (x.partition("\t") for x in files.split("\n"))),
            sums,
            tuple((e.name, e.registration.line + ("" if e.enabled else OFF)) for e in found),
        )

    def _again(self, command: Sequence[str]) -> tuple[int, dict[str, object], str]:
        done = self._sandbox.run(*command, "--format", "json")
        try:
            return done.returncode, json.loads(done.stdout), done.stderr
        except ValueError:
            return done.returncode, {}, done.stdout + done.stderr

    def _strace(
        self, trace: str, *options: str, command: Sequence[str]
    ) -> subprocess.CompletedProcess[str]:
        """Run a command under strace, its main process alone."""
        calls = f"trace={','.join(CALLS)}"
        return self._sandbox.run("strace", "-qq", "-e", calls, "-o", trace, *options, *command)

    def _prepare(self, scenario: Scenario) -> None:
        """Make what a scenario wants to stand before, and keep it for each of its runs."""
        self._scenario = scenario
        self._lines: tuple[str, ...] = ()
        self._known: dict[State, Following] = {}
        self._own("mkdir -p {saved} /etc/systemd/system; rm -rf {saved}/*")
        self._reset()
        self._own("mkdir -p /etc/systemd/system")
        if scenario.entry:
            self._register(scenario.entry)
        self._nothing = self._state()
        for command in scenario.before:
            done = self._sandbox.run(*command)
            assert done.returncode == 0, done.stdout + done.stderr
        entries = () if scenario.lost else self._state().entries
        self._lines = tuple(line for _, line in reversed(entries))
        self._own("cp -a --parents $(ls -d {ours} 2>/dev/null) {saved}")
        self._reset()

    def _reset(self) -> None:
        """Have the registry and the files as they were before the command."""
        self._own(
            "for e in {registry}/*-*; do [ ! -e $e ] || echo -1 > $e; done; "
            "rm -rf {ours}; cp -a {saved}/. /; mkdir -p -m 755 {scratch}"
        )
        for line in self._lines:
            self._register(line)

    def _register(self, entry: str) -> None:
        line, off, _ = entry.partition(OFF)
        switch = f"; echo 0 > {REGISTRY}/{line[1:].partition(line[0])[0]}" if off else ""
        self._sandbox.run("sh", "-c", f"cat > {REGISTRY}/register{switch}", stdin=line)

    def _own(self, script: str) -> None:
        """Change files and entries, where all of them are the namespace's own."""
        words = {"ours": _OURS, "saved": _SAVED, "registry": REGISTRY, "scratch": SCRATCH}
        done = self._sandbox.sh(_OWN + script.format(**words))
        assert done.returncode == 0, done.stderr


def _points(lines: Sequence[str]) -> Iterator[Point]:
    """The calls of a trace that change a file of the host or an entry.

    Of writes to one file, one right after the other, the first stands for all.
    """
    counts: dict[str, int] = {}
    before = ""
    for line in lines:
        found = re.match(r"(\w+)\((.*)", line)
        if not found:
            continue
        call, about = found[1], found[2]
        counts[call] = counts.get(call, 0) + 1
        written, before = before, f"{call} {about.partition(',')[0]}"
        if call == "write" and written == before:
            continue
        opens = call.startswith("open")
        if opens and not re.search("O_WRONLY|O_RDWR|O_CREAT", about):
            continue
        if any(place in about for place in PLACES) and "/dev/null" not in about:
            yield Point(call, counts[call], about[:120])
