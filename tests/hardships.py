"""What a host may be like when the tool is called: crowded, full, starved, odd, or not patient.

Each hardship is tried a number of times (its points) and tells what was wrong at which.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from binfmt_setup.model.registration import Registration
from tests.fault_points import ARM64, REGISTRY, UNINSTALL, Lab, Scenario, began
from tests.foreign_starts import starts
from tests.sandbox.conftest import held_system

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.sandbox.conftest import Sandbox

TOOL = (sys.executable, "-m", "binfmt_setup")
CHECK = (*TOOL, "check", "arm64")
STATUS = (*TOOL, "status")
COMMANDS = {"check": CHECK, "status": STATUS, "install": ARM64, "uninstall": UNINSTALL}
DESIGNED = frozenset({0, 1, 2, 3, 4, 5, 6})
"""The exit codes that are an answer; 70 is a defect, more than 128 a signal."""


@dataclass
class Hardship:
    """What was tried, how often, and what was wrong at some points."""

    name: str
    points: int = 0
    wrong: list[str] = field(default_factory=list)

    def look(self, what: str, done: subprocess.CompletedProcess[str], *, yes: bool = True) -> None:
        """One more point: it ended as designed, without a traceback, and 0 only for a yes."""
        self.points += 1
        said = done.stdout + done.stderr
        if done.returncode not in DESIGNED or "Traceback" in said:
            self.wrong.append(f"{what}: {done.returncode} {said[-400:]}")
        elif done.returncode == 0 and not yes:
            self.wrong.append(f"{what}: 0 for a no: {said[-400:]}")


def right_again(sandbox: Sandbox, found: Hardship, what: str) -> None:
    """After whatever was: an install is right, and the second one changes nothing."""
    found.points += 1
    done = [sandbox.run(*ARM64, "--format", "json") for _ in range(2)]
    changed = json.loads(done[1].stdout)["changed"] if done[1].returncode == 0 else None
    if done[0].returncode or changed is not False or not starts(sandbox):
        found.wrong.append(f"{what}: the next install: {[d.stdout[-200:] for d in done]}")


def at_once(rounds: int, many: int = 16) -> Hardship:
    """Installs, uninstalls, checks at the same time, and all entries deleted meanwhile."""
    found = Hardship(f"{many} commands at once, entries deleted all the while")
    mix = [ARM64, CHECK, (*ARM64, "--credentials"), STATUS, UNINSTALL, (*ARM64, "--take-over")]
    delete = f"for e in {REGISTRY}/qemu-*; do [ ! -e $e ] || echo -1 > $e; done; sleep 0.02"
    for number in range(rounds):
        with held_system() as sandbox:
            running = [_started(sandbox, mix[(number + index) % len(mix)]) for index in range(many)]
            while any(one.poll() is None for one in running):
                sandbox.sh(delete)
            for one in running:
                out, err = one.communicate()
                done = subprocess.CompletedProcess(one.args, one.returncode, out, err)
                found.look(f"round {number}, {_words(one.args)}", done)
            right_again(sandbox, found, f"round {number}")
    return found


def crowded(entries: int) -> Hardship:
    """Thousands of entries of others, before ours and after it."""
    found = Hardship(f"{entries:,} entries of others")
    with held_system() as sandbox:
        lines = "".join(
            f"printf %s '{Registration(f'other-{n}', '/bin/true', '', f'#{n}!'.encode()).line}' "
            f"> {REGISTRY}/register\n"
            for n in range(entries)
        )
        assert sandbox.run("sh", stdin=lines).returncode == 0
        for name, command in COMMANDS.items():
            found.look(name, sandbox.run(*command), yes=name != "check")
        found.points += 1
        left = len(sandbox.run("ls", REGISTRY).stdout.split()) - 2
        if left != entries:
            found.wrong.append(f"{left} entries are left of {entries}")
        right_again(sandbox, found, "at the end")
    return found


GARBAGE = {
    "a fifo": "mkfifo {}",
    "a directory": "mkdir {}",
    "a link to itself": "ln -s {} {}",
    "a link to /dev/zero": "ln -s /dev/zero {}",
    "a link to nothing": "ln -s /nowhere {}",
    "random bytes": "head -c 100000 /dev/urandom > {}",
    "20,000 bad lines": "yes nonsense | head -n 20000 > {}",
    "a terabyte of nothing": "truncate -s 1T {}",
    "nobody may read it": "touch {}; chmod 0 {}",
}
PLACES = (
    "/etc/binfmt.d/qemu-aarch64.conf", "/etc/binfmt.d/other.conf",
    "/run/binfmt.d/qemu-aarch64.conf",
    "/etc/systemd/system/binfmt-setup.service", "/etc/binfmt-setup/register",
    "/etc/binfmt-setup.toml", "/etc/fstab", "/etc/os-release",
)  # fmt: skip


def garbage(every: int = 1) -> Hardship:
    """Nonsense of each kind in the place of each file that is read."""
    found = Hardship("garbage, fifos, endless files in place of each file that is read")
    pairs = list(product(GARBAGE.items(), PLACES))[::every]
    with held_system() as sandbox:
        for (kind, how), place in pairs:
            made = how.replace("{}", place)
            sandbox.sh(f"mkdir -p $(dirname {place}); mv {place} /run/away; {made}")
            for name, command in COMMANDS.items():
                what = f"{name}, {kind} at {place}"
                try:
                    done = sandbox.run("timeout", "60", *command)
                except subprocess.TimeoutExpired:
                    found.points += 1
                    found.wrong.append(f"{what}: no end")
                    continue
                found.look(what, done, yes=name != "check" or starts(sandbox))
            sandbox.sh(f"rm -rf {place}; [ ! -e /run/away ] || mv /run/away {place}")
            sandbox.run(*UNINSTALL)
        right_again(sandbox, found, "at the end")
    return found


LIMITS = (
    *(f"-n {number}" for number in (4, 5, 6, 7, 8, 10, 12, 16, 20, 24)),
    *(f"-v {number}" for number in (40_000, 80_000, 200_000, 1_000_000)),
    *(f"-f {number}" for number in (0, 1)),
    *("-u 1", "-s 64", "-t 1", "-l 0", "-c 0", "-d 20000"),
)
"""Of the shell's `ulimit`."""


def limited(every: int = 1) -> Hardship:
    """The caller's own limits: descriptors, memory, file size, processes, time."""
    found = Hardship("the caller's own limits (ulimit), each with each command")
    with held_system() as sandbox:
        sandbox.run(*ARM64)
        for limit, (name, command) in list(product(LIMITS, COMMANDS.items()))[::every]:
            nothing = (sys.executable, "-c", "pass")
            if sandbox.run("sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *nothing).returncode:
                continue  # Python itself falls
            done = sandbox.run("sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *command)
            if not began(done.returncode, done.stderr):
                continue
            found.look(f"ulimit {limit}, {name}", done)
            if name == "uninstall":
                right_again(sandbox, found, f"ulimit {limit}")
    return found


def closed(every: int = 1) -> Hardship:
    """Closed or full standard streams: the exit code is the answer all the same."""
    found = Hardship("standard streams closed, full or read by nobody")
    ways = [
        *("".join(way) for way in product(("", " <&-"), ("", " >&-"), ("", " 2>&-"))),
        " >/dev/full", " 2>/dev/full", " >/dev/full 2>/dev/full",
    ]  # fmt: skip
    formats = ("text", "json")
    with held_system() as sandbox:
        for there, way, form in list(product((True, False), ways, formats))[::every]:
            sandbox.run(*(ARM64 if there else UNINSTALL))
            for command, expected in ((CHECK, 0 if there else 1), (STATUS, 0)):
                words = (*command, "--format", form)
                done = sandbox.run("sh", "-c", f'exec "$@"{way}', "sh", *words)
                found.look(f"{_words(words)}{way}", done)
                if done.returncode != expected:
                    found.wrong.append(f"{_words(words)}{way}: {done.returncode}, not {expected}")
            piped = sandbox.run("sh", "-c", '{ "$@"; echo $? >&2; } | true', "sh", *CHECK)
            found.points += 1
            if piped.stderr.split()[-1:] != ["0" if there else "1"]:
                found.wrong.append(f"check | true: {piped.stderr}")
    return found


def signalled(scenario: Scenario, moments: int, seed: int = 13) -> Hardship:
    """A signal at any moment of a run; the next ones are as after any other fault."""
    found = Hardship(f"a signal at a random moment of: {scenario.name}")
    chosen = random.Random(seed)  # noqa: S311 - moments, the same in every run
    with held_system() as sandbox:
        lab = Lab(sandbox)
        lab.points(scenario)
        started = time.monotonic()
        sandbox.run(*scenario.command)
        longest = time.monotonic() - started
        for _ in range(moments):
            number = chosen.choice((signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL))
            after = chosen.uniform(0, longest)
            outcome = lab.signalled(scenario, number, after)
            if not began(outcome.status, outcome.said):
                continue
            found.points += 1
            if not outcome.fine:
                found.wrong.append(f"{number.name} after {after:.3f} s: {outcome}")
    return found


REFUSED = {
    "openat": ("EMFILE", "EIO"), "clone": ("EAGAIN",), "clone3": ("EAGAIN",), "vfork": ("EAGAIN",),
    "pipe2": ("EMFILE",), "mmap": ("ENOMEM",), "getdents64": ("EIO",), "write": ("ENOSPC", "EIO"),
    "read": ("EIO",),
}  # fmt: skip


def starved(every: int = 1) -> Hardship:
    """No descriptor, process, memory or space for one call, whichever it is."""
    found = Hardship("one call of check, status, uninstall refused (EMFILE, EAGAIN, ENOMEM, EIO)")
    strace = ("strace", "-qq", "-o", "/run/trace", "-e", f"trace={','.join(REFUSED)}")
    with held_system() as sandbox:
        for name in ("check", "status", "uninstall"):
            sandbox.run(*ARM64)
            sandbox.run(*strace, *COMMANDS[name])
            calls = _since_main(sandbox.run("cat", "/run/trace").stdout.splitlines())
            points = [(call, n, error) for call, n in calls for error in REFUSED[call]]
            for call, number, error in points[::every]:
                sandbox.run(*ARM64)
                how = f"inject={call}:error={error}:when={number}"
                done = sandbox.run(*strace, "-e", how, *COMMANDS[name])
                found.look(f"{name}, {call} {number}: {error}", done)
    return found


def _since_main(lines: Sequence[str]) -> list[tuple[str, int]]:
    """The calls, each with its number, since the tool's own code runs; before, Python starts."""
    counts: dict[str, int] = {}
    calls: list[tuple[str, int]] = []
    ours = False
    for line in lines:
        call = line.partition("(")[0]
        counts[call] = counts.get(call, 0) + 1
        ours = ours or "/binfmt_setup/cli/" in line
        if ours and call in REFUSED:
            calls.append((call, counts[call]))
    return calls


def _started(sandbox: Sandbox, command: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*sandbox.inside, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _words(command: object) -> str:
    words = [str(word) for word in command] if isinstance(command, list | tuple) else [str(command)]
    return " ".join(words[words.index("binfmt_setup") + 1 :] if "binfmt_setup" in words else words)
