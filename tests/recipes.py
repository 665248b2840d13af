"""The recipes of CONTRIBUTING.md, each taken at its word in a copy of the tree.

A step is quoted by a few words of its text, and done as somebody would who adds a thing named
`dummy`: mostly by changing what lies there for another one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import toolchains

if TYPE_CHECKING:
    from collections.abc import Callable

TOP = Path(__file__).resolve().parents[1]
PROBES = "binfmt_setup/data/probes"


@dataclass(frozen=True)
class Tree:
    """A copy of the sources; its files are links, so a changed one is written anew."""

    top: Path

    def read(self, path: str) -> str:
        return (self.top / path).read_text(encoding="utf-8")

    def write(self, path: str, text: str) -> None:
        (self.top / path).unlink(missing_ok=True)
        (self.top / path).write_text(text, encoding="utf-8")

    def insert(self, path: str, before: str, text: str) -> None:
        """Put something in front of the only place where some words stand."""
        old = self.read(path)
        assert old.count(before) == 1, f"{path}: {before!r} stands there {old.count(before)} times"
        self.write(path, old.replace(before, text + before))

    def derive(self, path: str, name: str) -> None:
        """A file made out of its neighbour: one of another engine, manager or format."""
        at = Path(path)
        self.write(str(at.with_name(f"dummy{at.suffix}")), renamed(self.read(path), name))

    def row(self, path: str, start: str, name: str) -> None:
        """Another row of a table in a document."""
        line = next(line for line in self.read(path).splitlines() if line.startswith(start))
        self.insert(path, line + "\n", renamed(line, name) + "\n")

    def script(self, *words: str) -> None:
        """Run a script of the tree."""
        subprocess.run([sys.executable, *words], cwd=self.top, check=True, capture_output=True)


def renamed(text: str, name: str) -> str:
    """Text about one thing, said of `dummy`; recorded files and their parts keep their names."""
    return re.sub(rf'(?<!"part": ")\b{name}\b(?!-[0-9])', "dummy", text, flags=re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """Words of its text, what it does, and what the tests say where it is left out."""

    words: str
    done: Callable[[Tree], None]
    missed: str


@dataclass(frozen=True)
class Recipe:
    """A section of CONTRIBUTING.md, its steps, the tests that it names, and a program it needs."""

    section: str
    tests: tuple[str, ...]
    steps: tuple[Step, ...]
    program: str = "true"

    def text(self) -> str:
        """What the section says."""
        whole = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
        return whole.partition(f"## {self.section}\n")[2].partition("\n## ")[0]

    def numbered(self) -> list[str]:
        """The text of each of its steps."""
        return re.split(r"^\d+\. ", self.text().partition("\n\n`")[0], flags=re.MULTILINE)[1:]


# -- a target -------------------------------------------------------------------------------

# The x32 ABI: a real one that nobody emulates, and whose probe every compiler for amd64 makes.
_TARGET = '    Target("dummy", 62, 32, "little", "dummy", _one("", "dummy")),\n'
_PROBE = """    Probe("dummy", X86, "-mx32 -fcf-protection=none",
          Header(32, "little", 62), "-m elf32_x86_64"),
"""


def _probe(tree: Tree) -> None:
    tree.insert("scripts/build-probes", '    Probe("hexagon"', _PROBE)
    for name in ("SHA256SUMS", "BUILT-WITH"):
        tree.write(f"{PROBES}/{name}", tree.read(f"{PROBES}/{name}"))
    tree.script("scripts/build-probes", "--only", "dummy")


def _probe_known(tree: Tree) -> None:
    tests, probe = "tests/unit/test_probe_files.py", tree.top / PROBES / "dummy"
    compiler = re.findall("^x86_64 ([^ ]+)", tree.read(f"{PROBES}/BUILT-WITH"), re.MULTILINE)[0]
    size = probe.stat().st_size if probe.exists() else 1000
    tree.insert(tests, '    "hexagon": (32', '    "dummy": (32, "little", "EM_X86_64"),\n')
    tree.insert("docs/probes.md", "| hexagon |", f"| dummy | {size} | {compiler} |\n")


TARGET = Recipe(
    "Add a target",
    ("tests/unit/test_targets.py", "tests/unit/test_probe_files.py"),
    (
        Step(
            "A row in `TARGETS`",
            lambda tree: tree.insert(
                "binfmt_setup/model/targets.py", '    Target("hexagon"', _TARGET
            ),
            "'dummy'",
        ),
        Step(
            "`NO_ORACLE`",
            lambda tree: tree.insert("tests/unit/test_targets.py", '"nios2"}', '"dummy", '),
            "'dummy'",
        ),
        Step("`scripts/build-probes --only NAME`", _probe, "'dummy'"),
        Step("`EXPECTED`", _probe_known, "'dummy'"),
    ),
    toolchains.X86.compiler,
)

# -- a finding ------------------------------------------------------------------------------

_FACT = '''class Dummy(Fact):
    """What is made up."""

    code = "dummy-found"


'''
_RULE = "    made_up = known.Dummy()\n"
_WORDS = """@tells(known.Dummy)
def _(fact: known.Dummy) -> Words:
    return Words("made up")


"""
_PARAGRAPH = """### dummy-found
**Cause:** none.
**Detected:** never.
**Remedy:** none.

"""
_HOST = """title = "Made up"
like = "common/arm64"
seen = "made up"
source = "nowhere"

[expect]
platforms = []
findings = ["error dummy-found linux/arm64"]
install = []
security = []
"""
FINDING = Recipe(
    "Add a finding",
    ("tests/unit/test_catalogue.py",),
    (
        Step(
            "`binfmt_setup/diagnosis/catalogue/`",
            lambda tree: tree.insert(
                "binfmt_setup/diagnosis/catalogue/registry.py", "class EntryDisabled", _FACT
            ),
            "Dummy",
        ),
        Step(
            "`binfmt_setup/diagnosis/`",
            lambda tree: tree.insert(
                "binfmt_setup/diagnosis/failed_probes.py",
                "    install = install_command(facts, platform)\n    other =",
                _RULE,
            ),
            "Dummy",
        ),
        Step(
            "`binfmt_setup/report/words/`",
            lambda tree: tree.insert(
                "binfmt_setup/report/words/registry.py", "@tells(known.EntryDisabled)", _WORDS
            ),
            "Dummy",
        ),
        Step(
            "`tests/cases/findings/`",
            lambda tree: tree.write("tests/cases/findings/dummy-found.toml", _HOST),
            "dummy-found",
        ),
        Step(
            "`docs/findings.md`",
            lambda tree: tree.insert("docs/findings.md", "### entry-disabled\n", _PARAGRAPH),
            "dummy-found",
        ),
        Step(
            "`tests/remedies.py`",
            lambda tree: tree.insert(
                "tests/remedies.py", '    "entry-unreadable"', '    "dummy-found": "a dummy",\n'
            ),
            "dummy-found",
        ),
    ),
)

# -- an engine, a package manager, an output format -----------------------------------------

ENGINE = Recipe(
    "Add a container engine",
    ("tests/unit/test_engine_contract.py",),
    (
        Step(
            "`binfmt_setup/engines/NAME.py`",
            lambda tree: tree.derive("binfmt_setup/engines/podman.py", "podman"),
            "binfmt_setup.engines.dummy",
        ),
        Step(
            "`ENGINES`",
            lambda tree: tree.insert(
                "binfmt_setup/engines/interface.py", '    "podman",\n', '    "dummy",\n'
            ),
            "'dummy'",
        ),
        Step(
            "`binfmt_setup/data/schema.json`",
            lambda tree: tree.insert(
                "binfmt_setup/data/schema.json", '"podman",\n', '"dummy",\n            '
            ),
            "'dummy'",
        ),
        Step(
            "`docs/engines.md`",
            lambda tree: tree.row("docs/engines.md", "| `podman` |", "podman"),
            "no row in docs/engines.md",
        ),
        Step(
            "`tests/cases/engines/conversations/NAME.json`",
            lambda tree: tree.derive("tests/cases/engines/conversations/podman.json", "podman"),
            "no recorded conversation",
        ),
    ),
)
_MANAGERS = "binfmt_setup/emulators/package_managers"
_CASE = """ {
  "name": "dummy-1",
  "os-release": "ID=dummy;VERSION_ID=1",
  "targets": "aarch64",
  "remedy": "run: dummy-install --sync --yes qemu-user-static   (or use --install-qemu)"
 },
"""
MANAGER = Recipe(
    "Add a package manager",
    ("tests/unit/test_package_manager_contract.py",),
    (
        Step(
            "`binfmt_setup/emulators/package_managers/NAME.py`",
            lambda tree: tree.derive(f"{_MANAGERS}/xbps.py", "xbps"),
            "package_managers.dummy",
        ),
        Step(
            "`MANAGERS`",
            lambda tree: tree.insert(
                f"{_MANAGERS}/interface.py", '    Row("xbps"', '    Row("dummy", ("dummy",)),\n'
            ),
            "dummy",
        ),
        Step(
            "`docs/emulators.md`",
            lambda tree: tree.row("docs/emulators.md", "| `xbps` |", "xbps"),
            "no row in docs/emulators.md",
        ),
        Step(
            "`tests/unit/data/packages.json`",
            lambda tree: tree.insert(
                "tests/unit/data/package_advice.json", ' {\n  "name": "gentoo"', _CASE
            ),
            "no recorded case",
        ),
    ),
)
_FORMATS = "binfmt_setup/report/formats"
_VERDICT = """    if shown.name == "dummy":
        return "::error " not in text
"""
FORMAT = Recipe(
    "Add an output format",
    ("tests/unit/test_format_contract.py",),
    (
        Step(
            "`binfmt_setup/report/formats/NAME.py`",
            lambda tree: tree.derive(f"{_FORMATS}/github.py", "github"),
            "'dummy'",
        ),
        Step(
            "`FORMATS`",
            lambda tree: tree.insert(f"{_FORMATS}/interface.py", ', "junit")', ', "dummy"'),
            "'dummy'",
        ),
        Step(
            "`binfmt_setup/cli/choices.py`",
            lambda tree: tree.insert(
                "binfmt_setup/cli/choices.py", '    junit = "junit"', '    dummy = "dummy"\n'
            ),
            "'dummy'",
        ),
        Step(
            "README",
            lambda tree: tree.insert("README.md", "**In CI**", "`dummy` is made up.\n\n"),
            "README.md does not name it",
        ),
        Step(
            "`_verdict`",
            lambda tree: tree.insert(
                "tests/unit/test_format_contract.py", '    if shown.name == "github":', _VERDICT
            ),
            "it is told as a success",
        ),
    ),
)
_INITS = "binfmt_setup/boot/inits"
_HOSTS = "tests/cases/hosts"
INIT = Recipe(
    "Add an init",
    ("tests/unit/test_init_contract.py",),
    (
        Step(
            "`binfmt_setup/boot/inits/NAME.py`",
            lambda tree: tree.derive(f"{_INITS}/runit.py", "runit"),
            "inits.dummy",
        ),
        Step(
            "`INITS`",
            lambda tree: tree.insert(
                f"{_INITS}/interface.py",
                '    Row("runit"',
                '    Row("dummy", processes=("dummy",), programs=("/sbin/dummy",)),\n',
            ),
            "dummy",
        ),
        Step(
            "`docs/persistence.md`",
            lambda tree: tree.row("docs/persistence.md", "| `runit` |", "runit"),
            "no row in docs/persistence.md",
        ),
        Step(
            "`tests/cases/hosts`",
            lambda tree: tree.write(
                f"{_HOSTS}/dummy.toml", renamed(tree.read(f"{_HOSTS}/void.toml"), "runit")
            ),
            "no recorded host",
        ),
    ),
)
RECIPES = (TARGET, FINDING, ENGINE, MANAGER, INIT, FORMAT)
