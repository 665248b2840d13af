"""Runs inside a namespace that owns its files: systemd's own programs against what was foretold.

`COUNT SEED`: writes trees of binfmt.d and of sysctl.d by chance, foretells the registry of the
next boot, has systemd-binfmt and systemd-sysctl of this machine do it in a registry of the
namespace's own, and prints the trees with which they come to something else.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from binfmt_setup.boot.next_registry import next_registry
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.system.host import Host
from binfmt_setup.system.registry import Registry

SYSTEMD = Path("/usr/lib/systemd")
PLACES = ("/etc", "/usr/local/lib", "/usr/lib")
FILES = (
    "a.conf", "b.conf", "B.conf", "10-a.conf", "9-a.conf", "qemu-arm.conf", ".hidden.conf",
    "c.conf~", "plain", "_.conf", "é.conf",
)  # fmt: skip
NAMES = ("a", "b", "c", "qemu-arm", "x.y", "UP", "z z")
INTERPRETERS = (
    "/bin/true", "/bin/true", "/bin/busybox", "/nowhere/x", "relative", "/usr/lib",
    "/usr/lib/os-release", "",
)  # fmt: skip
FLAGS = ("", "", "F", "F", "O", "OC", "P", "POCF", "Q", "FF")
MAGIC = (
    "MZ", r"\x7fELF", r"\x4", r"\xZZ", r"ab\x00", r"\x41\x42", "a:b", "", "\\\\",
    r"\x7f\x45\x4c\x46\x02",
)  # fmt: skip
MASKS = ("", "", r"\xff\xff", r"\xff", r"\x00\x00")
OFFSETS = ("", "", "0", "4", "-1", "300", "+1", "0x4", "010")
ENDINGS = ("x", "jar", "a/b", "", ".z")
OTHER_LINES = ("# a", "; a", "", "   ", ":", "::", "nonsense", ":a:M", ":a:E::x:/bin/true")
SWITCHES = (
    "fs.binfmt_misc.status = 0", "fs.binfmt_misc.status=1", "-fs.binfmt_misc.status=0",
    "fs/binfmt_misc/status = 0", "  fs.binfmt_misc.status =0  ", "# fs.binfmt_misc.status = 0",
    "; fs.binfmt_misc.status = 0", "fs.binfmt_misc.status", "-fs.binfmt_misc.status",
    "kernel.x = 0", "fs.binfmt_misc.* = 0", "fs/binfmt_misc/s*=0",
    "fs.binfmt_misc.status = 00", "=0", "-",
)  # fmt: skip


class Trees:
    """Trees by chance, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.any = random.Random(seed)  # noqa: S311 - the same in every run
        self.made: dict[str, str] = {}

    def fresh(self) -> None:
        """Another one in the place of the last."""
        self.made = {}
        for place in PLACES:
            for folder, lines in (("binfmt.d", self._line), ("sysctl.d", self._switch)):
                where = Path(place, folder)
                where.mkdir(exist_ok=True)
                for old in where.iterdir():
                    old.unlink()
                for _ in range(self.any.randrange(3)):
                    text = "\n".join(lines() for _ in range(self.any.randrange(1, 4)))
                    self._put(where / self.any.choice(FILES), text)

    def _put(self, path: Path, text: str) -> None:
        """One file: as it is, empty, or a mask."""
        if path.is_symlink() or path.exists():
            return
        text = self.any.choice((text, text + "\n", text + "\n\n", text + "\n", ""))
        if self.any.randrange(6) == 0:
            text = self.any.choice(("/dev/null", "/nowhere"))
            path.symlink_to(text)
        else:
            path.write_text(text)
        self.made[str(path)] = text

    def _line(self) -> str:
        pick, name = self.any.choice, self.any.choice(NAMES)
        kind = self.any.randrange(12)
        rest = f"{pick(INTERPRETERS)}:{pick(FLAGS)}"
        line = f":{name}:M:{pick(OFFSETS)}:{pick(MAGIC)}:{pick(MASKS)}:{rest}"
        if kind == 0:
            return pick(OTHER_LINES)
        if kind < 4:
            line = f":{name}:E::{pick(ENDINGS)}::{rest}"
        middle = self.any.randrange(len(line))
        broken = line[:middle] + pick("\0\r\f\v\u00a0") + line[middle:]
        two = line + pick("\0\r") + line.replace(name, pick(NAMES), 1)
        changed = (
            "  " + line, line + "  ", line.replace(":", "|"), line + "\r", line[:-1], line + "\0",
            line + pick("\f\v\u00a0"), broken, two,
        )  # fmt: skip
        return pick((*changed, *[line] * 10))

    def _switch(self) -> str:
        line, end = self.any.choice(SWITCHES), self.any.choice("\0\r\f\v\u00a0")
        return self.any.choice((line, line, line + end, line + end + self.any.choice(SWITCHES)))


def differing(count: int, seed: int) -> list[dict[str, object]]:
    """The trees of which something else was foretold than came."""
    trees, wrong, host = Trees(seed), [], Host()
    Path("/run/systemd/system").mkdir(parents=True, exist_ok=True)
    for _ in range(count):
        trees.fresh()
        facts = snapshot(Host())
        foretold = [line.registration.name for line in next_registry(facts).lines]
        for words in (["systemd-sysctl", "--prefix=fs/binfmt_misc"], ["systemd-binfmt"]):
            subprocess.run([SYSTEMD / words[0], *words[1:]], capture_output=True, check=False)
        came = [name for name, _ in Registry(host).texts()]
        off = Path(BINFMT_MISC, "status").read_text() == "disabled\n"
        if came != foretold or off != bool(facts.boot.switched_off):
            wrong.append({"came": came, "foretold": foretold, "off": off, "tree": trees.made})
        for name in came:
            Registry(host).delete(name)
        Path(BINFMT_MISC, "status").write_text("1")
    return wrong


if __name__ == "__main__":
    json.dump(differing(*map(int, sys.argv[1:])), sys.stdout)
