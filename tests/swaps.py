"""Ways to put another emulator into an entry's place, over and over: this tool's, and others'."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.boot import units
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from tests.foreign_starts import Starts, starting
from tests.own_namespace import TOP
from tests.sandbox.conftest import REGISTRY, held_system

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.sandbox.conftest import Sandbox

    Swap = Callable[[], None]

ARM64 = target_named("aarch64")
INSTALL = (sys.executable, "-m", "binfmt_setup", "install", "arm64", "--private")
SCRIPT = TOP / "systemd" / "register"
SYSTEMD_BINFMT = "/usr/lib/systemd/systemd-binfmt"
PAUSE = 0.05
"""Between two swaps, for those that are done at once: so that starts fall in between."""
ROUND = 50
"""Swaps after which the starts are counted."""
BAD = {
    "crashes": 'if (write(2, "no pages\\n", 9)) abort();',
    "exits 0 without doing anything": "return 0;",
    "fails": "return 3;",
    "hangs": "for (;;) pause();",
}
"""Emulators that do not work, in C."""


@dataclass
class Swapped:
    """What was done, how often, and what came of the programs that were started meanwhile."""

    name: str
    swaps: int
    starts: Starts


def registration(directory: Path) -> Registration:
    """An entry for the emulator in a directory."""
    path = str(directory / "qemu-aarch64-static")
    return Registration(ARM64.entry_name, path, "OF", ARM64.magic, ARM64.mask)


def bad_emulator(directory: Path, what: str) -> None:
    """Put one where `--qemu` finds it."""
    source = directory / "bad.c"
    headers = "#include <stdlib.h>\n#include <unistd.h>\n"
    source.write_text(f"{headers}int main(void) {{ {BAD[what]} }}\n")
    image = directory / "qemu-aarch64-static"
    subprocess.run(["gcc", "-static", "-o", image, source], check=True)


class Contenders:
    """All ways, between the emulators of two directories."""

    def __init__(self, work: Path, one: Path, other: Path, update_binfmts: Sequence[str]) -> None:
        self._work, self._pair = work, (one, other)
        self._update_binfmts = update_binfmts

    def all(self) -> dict[str, Callable[[Sandbox], Iterator[Swap]]]:
        """Each by its name; those that are not on this machine are left out."""
        found: dict[str, Callable[[Sandbox], Iterator[Swap]]] = {
            "`binfmt-setup install --qemu DIR`": self.tool,
            "the unit's script, after an upgrade": self.script,
            "delete the entry, and add it": self.by_hand,
        }
        if Path(SYSTEMD_BINFMT).exists():
            found["`systemd-binfmt FILE`"] = self.systemd
        if self._update_binfmts:
            found["`update-binfmts --import`"] = self.debian
        return found

    def tool(self, sandbox: Sandbox) -> Iterator[Swap]:
        """The command as a user gives it."""
        _done(sandbox, *INSTALL)
        for directory in cycle(self._pair):
            yield partial(_done, sandbox, *INSTALL, "--qemu", str(directory))

    def script(self, sandbox: Sandbox) -> Iterator[Swap]:
        """The emulator's file is replaced as packages do it, and the script pins the new one."""
        file, config = self._work / "qemu-aarch64-static", self._work / "script.conf"
        shutil.copy(self._pair[0] / file.name, file)
        config.write_text(units.config_text(registration(self._work), None))
        command = ("sh", str(SCRIPT), str(config))
        _done(sandbox, *command)

        def swap() -> None:
            new = file.with_suffix(".dpkg-new")
            shutil.copy(self._pair[0] / file.name, new)
            new.rename(file)
            _done(sandbox, *command)

        while True:
            yield swap

    def by_hand(self, sandbox: Sandbox) -> Iterator[Swap]:
        """As most scripts do it: two writes of one shell, one right after the other."""
        lines = [registration(directory).line for directory in self._pair]
        sandbox.register(registration(self._pair[1]))
        where = f"{REGISTRY}/{ARM64.entry_name}"
        code = f'echo -1 > {where}; printf %s "$1" > {REGISTRY}/register'
        for line in cycle(lines):
            yield partial(_done, sandbox, "sh", "-c", code, "sh", line)

    def systemd(self, sandbox: Sandbox) -> Iterator[Swap]:
        """With the file named, so that all other entries stay."""
        for directory in self._pair:
            self._config(directory).write_text(registration(directory).line + "\n")
        _done(sandbox, SYSTEMD_BINFMT, str(self._config(self._pair[1])))
        for directory in cycle(self._pair):
            yield partial(_done, sandbox, SYSTEMD_BINFMT, str(self._config(directory)))

    def debian(self, sandbox: Sandbox) -> Iterator[Swap]:
        """What the scripts of a Debian package call when it is upgraded."""
        places = [self._work / f"import-{number}" for number in (0, 1)]
        for place, directory in zip(places, self._pair, strict=True):
            place.mkdir()
            magic, mask = registration(directory).line.split(":")[4:6]
            (place / ARM64.entry_name).write_text(
                f"package qemu-user-static\ninterpreter {directory}/qemu-aarch64-static\n"
                f"magic {magic}\noffset 0\nmask {mask}\ncredentials no\npreserve no\n"
                "fix_binary yes\n"
            )  # fmt: skip
        admin = self._work / "binfmts"
        admin.mkdir()
        for place in cycle(places):
            words = ("--admindir", str(admin), "--importdir", str(place), "--import")
            yield partial(_done, sandbox, *self._update_binfmts, *words, ARM64.entry_name)

    def _config(self, directory: Path) -> Path:
        return self._work / f"{directory.name}.conf"


def swapped(name: str, how: Callable[[Sandbox], Iterator[Swap]], swaps: int, least: int) -> Swapped:
    """Swap so often, and on until so many programs were started, in a namespace of its own."""
    done, found = 0, Starts()
    with held_system() as sandbox:
        ways = how(sandbox)
        next(ways)()
        while done < swaps or found.done < least:
            with starting(sandbox, loops=os.cpu_count() or 1) as starts:
                for _ in range(ROUND):
                    next(ways)()
                    time.sleep(PAUSE)
            done += ROUND
            found.done += starts.done
            found.failed += starts.failed
        assert list(sandbox.entries()) == [ARM64.entry_name], sandbox.entries()
        return Swapped(name, done, found)


def tried(what: str, emulators: Path, attempts: int, least: int) -> Swapped:
    """Offer an emulator that does not work, so often, where a good one is in use."""
    with held_system() as sandbox:
        _done(sandbox, *INSTALL)
        before = sandbox.entries()
        bad_emulator(emulators, what)
        with starting(sandbox, loops=os.cpu_count() or 1, least=least) as starts:
            for _ in range(attempts):
                done = sandbox.run(*INSTALL, "--qemu", str(emulators))
                assert done.returncode == 4, done.stdout + done.stderr
        assert sandbox.entries() == before
        return Swapped(f"a QEMU that {what} is tried", attempts, starts)


def _done(sandbox: Sandbox, *command: str) -> None:
    done = sandbox.run(*command)
    assert done.returncode == 0, done.stdout + done.stderr
