"""Runs inside a private namespace: two comparisons with the kernel, for tests and scripts.

`matcher FILES ENTRIES SEED FOLDER`: registers entries by chance, writes files by chance, and has
the kernel pick an entry for each; prints those for which this tool picks another one.
`states FOLDER [all]`: brings the registry into each state, and compares what `check` says of an
architecture with what Debian's arch-test says in an empty directory; prints all as
[state, architecture, ok, arch-test].
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.commands.check import check
from binfmt_setup.commands.request import asked_for
from binfmt_setup.inspect.process import standing
from binfmt_setup.inspect.snapshot import with_entries
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.probe_headers import HEADERS
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import TARGETS, parse_platform, target_named, targets_of
from binfmt_setup.system.host import Host
from binfmt_setup.system.registry import Registry
from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from binfmt_setup.model.registry_facts import RegistryFacts
    from binfmt_setup.model.targets import Target

LETTERS = b"abc"
ENDINGS = ("", ".x", ".y.x", ".jar", ".")
ARCHITECTURES = {
    "arm64": "linux/arm64", "armhf": "linux/arm/v7", "riscv64": "linux/riscv64",
    "s390x": "linux/s390x", "ppc64el": "linux/ppc64le", "mips64el": "linux/mips64le",
}  # fmt: skip
STATES = (
    "right", "nothing", "without F", "disabled", "switched off", "interpreter missing",
    "a broken one in front", "a good one in front", "mask too narrow", "another target's emulator",
    "a wrapper script", "a program that is no emulator",
)  # fmt: skip


class Matcher:
    """Entries and files by chance; each entry's interpreter is told by its name."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same in every run
        self.folder = folder
        self.probe = (PROBES / os.uname().machine).read_bytes()

    def _entry(self, name: str) -> Registration:
        """An entry that does not take the interpreters themselves."""
        interpreter = str(self.folder / name)
        while True:
            if self.chance.randrange(7) == 0:
                ending = self.chance.choice(("x", "jar"))
                return Registration(name, interpreter, "", extension=ending)
            size, offset = self.chance.randrange(1, 6), self.chance.choice([0, 0, 1, 7, 250])
            magic = bytes(self.chance.choice(LETTERS) for _ in range(size))
            mask = bytes(self.chance.choice([0xFF, 0xFF, 0xFE, 0x03, 0]) for _ in range(size))
            rule = Registration(name, interpreter, "", magic, mask, offset)
            if any(mask) and not rule.matches(self.probe):
                return rule

    def register(self, count: int) -> None:
        """Make the registry: some entries are disabled, some were taken out and put back."""
        registry = Registry(Host())
        names = [f"e{number}" for number in range(count)]
        rules = {name: self._entry(name) for name in names}
        source = self.folder / "interpreter"
        source.write_bytes(self.probe)
        source.chmod(0o755)
        for name in names:
            os.link(source, self.folder / name)
            registry.register(rules[name])
        for name in self.chance.sample(names, count // 5):
            Path(BINFMT_MISC, name).write_text("0")
        for name in self.chance.sample(names, count // 5):
            registry.delete(name)
            registry.register(rules[name])

    def file(self, number: int) -> Path:
        """A file that some entries may take."""
        path = self.folder / f"f{number}{self.chance.choice(ENDINGS)}"
        length = self.chance.choice([0, 1, 3, 9, 40, 255, 256, 300])
        path.write_bytes(bytes(self.chance.choice(LETTERS) for _ in range(length)))
        path.chmod(0o755)
        return path


def picked(path: Path) -> str:
    """The entry that the kernel picks: the probe prints the name by which it was started."""
    read, write = os.pipe()
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, write, 1)
    ]  # fmt: skip
    process = 0
    with suppress(OSError):
        process = os.posix_spawn(path, [str(path)], {}, file_actions=actions)
    os.close(write)
    said = os.read(read, 4096).decode()
    os.close(read)
    if process:
        os.waitpid(process, 0)
    return said.partition("argv0=")[2].strip().rpartition("/")[2]


def matcher(files: int, entries: int, seed: int, folder: Path) -> list[tuple[str, str, str]]:
    """The files for which kernel and tool pick different entries."""
    made = Matcher(seed, folder)
    made.register(entries)
    facts = with_entries(Host(), standing(Host()).registry)
    wrong, taken = [], 0
    for number in range(files):
        path = made.file(number)
        really, told = picked(path), expected(facts, path)
        taken += bool(really)
        if really != told:
            wrong.append((path.name, really, told))
        path.unlink()
    assert files // 4 < taken, f"only {taken} of {files} files were taken by any entry"
    return wrong


def expected(facts: RegistryFacts, path: Path) -> str:
    """The entry that this tool says the kernel picks."""
    head = path.read_bytes()[:256]
    hits = (e for e in facts.entries if e.enabled and e.registration.matches(head, str(path)))
    return next((entry.name for entry in hits), "")


def every_architecture() -> dict[str, str]:
    """Debian's name and the platform: those with a test of arch-test, a probe and an emulator."""
    platforms = (p for target in TARGETS for p in target.platforms if p.target.name in HEADERS)
    return {
        debian: p.name
        for p in (*platforms, *map(parse_platform, ARCHITECTURES.values()))
        for debian in p.variant.debian[:1]
        if Path("/usr/lib/arch-test", debian).exists() and Path(_emulator(p.target)).exists()
        and not p.target.runs(target_named(os.uname().machine))
        and not target_named(os.uname().machine).runs(p.target)
    }  # fmt: skip


def states(folder: Path, architectures: Mapping[str, str]) -> list[tuple[str, str, bool, bool]]:
    """What check and arch-test say of every architecture in every state."""
    rows = []
    names = list(architectures.values())
    for state in STATES:
        for registration, enabled in wanted(state, names, folder):
            Registry(Host()).register(registration)
            if not enabled:
                Path(BINFMT_MISC, registration.name).write_text("0")
        Path(BINFMT_MISC, "status").write_text("0" if state == "switched off" else "1")
        verdict = check(Host(), asked_for(names)).verdict
        ok = {str(row.platform): row.ok for row in verdict.platforms}
        rows += [(state, a, ok[name], judged(folder, a)) for a, name in architectures.items()]
        for name, _ in Registry(Host()).texts():
            Registry(Host()).delete(name)
    return rows


def judged(folder: Path, architecture: str) -> bool:
    """The word of arch-test, which runs a program of its own in an empty directory."""
    empty = folder / "empty"
    empty.mkdir(exist_ok=True)
    done = subprocess.run(
        ["arch-test", "-c", str(empty), architecture], capture_output=True, check=False
    )
    return done.returncode == 0


def _emulator(target: Target) -> str:
    return f"/usr/bin/qemu-{target.name}-static"


def wanted(state: str, names: Sequence[str], folder: Path) -> list[tuple[Registration, bool]]:
    """The entries of a state, oldest first, and whether each is enabled."""
    found = []
    for target in targets_of([parse_platform(name) for name in names]):
        emulator = _emulator(target)
        good = Registration(target.entry_name, emulator, "OF", target.magic, target.mask)
        found += _entries(state, good, folder)
    return found


def _entries(state: str, good: Registration, folder: Path) -> list[tuple[Registration, bool]]:
    def like(name: str = good.name, **changes: object) -> Registration:
        fields = {**vars(good), "name": name, **changes}
        return Registration(**fields)

    # Of a target that nobody is judged for, so that it runs none of their programs.
    other = "/usr/bin/qemu-hexagon-static"
    wrapper = folder / "wrapper"
    if not wrapper.exists():
        wrapper.write_text('#!/bin/sh\nexec "$@"\n')
        wrapper.chmod(0o755)
    narrow = good.mask[:7] + b"\xff" + good.mask[8:]
    wants = good.magic[:7] + b"\x63" + good.magic[8:]
    table = {
        "right": [(good, True)], "nothing": [], "switched off": [(good, True)],
        "without F": [(like(flags="O"), True)], "disabled": [(good, False)],
        "interpreter missing": [(like(interpreter="/nowhere/qemu", flags=""), True)],
        "a broken one in front": [(good, True), (like("x" + good.name, interpreter=other), True)],
        "a good one in front": [(like("x" + good.name, interpreter=other), True), (good, True)],
        "mask too narrow": [(like(magic=wants, mask=narrow), True)],
        "another target's emulator": [(like(interpreter=other), True)],
        "a wrapper script": [(like(interpreter=str(wrapper), flags="F"), True)],
        "a program that is no emulator": [(like(interpreter=shutil.which("true") or ""), True)],
    }  # fmt: skip
    return table[state]


def main() -> int:
    """Do one of the two."""
    what, *words = sys.argv[1:]
    if what == "matcher":
        files, entries, seed, folder = words
        json.dump(matcher(int(files), int(entries), int(seed), Path(folder)), sys.stdout)
    else:
        architectures = every_architecture() if "all" in words else ARCHITECTURES
        json.dump(states(Path(words[0]), architectures), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
