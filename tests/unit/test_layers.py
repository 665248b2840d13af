"""The shape of the code: folders are layers that import downwards, and commands import little."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache

import pytest

from tests.own_sources import PACKAGE, parsed

LAYERS = (
    "cli", "commands", "report", "userns", "explain", "engines", "sources", "changes",
    "diagnosis", "inspect", "boot", "emulators", "workout", "system", "model",
)  # fmt: skip
"""Each may import from those behind it."""
MODULES = sorted(
    path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")
)
ALONE = ("__init__", "__main__")
"""What lies beside the folders: the version, and the way in."""
PURE = ("model",)
"""Layers that touch nothing outside of this process."""
TOUCHES = {"subprocess", "os", "psutil", "shutil", "socket", "ctypes", "fcntl", "tempfile"}
STARTS_PROGRAMS = {"system/programs", "userns/namespace"}
COSTLY = {"psutil", "elftools", "jinja2", "rich", "ctypes", "json.decoder", "xml", "hashlib"}
UNNEEDED_BY_CHECK = {
    "typer", "subprocess", "tempfile", "difflib", "json", "dataclasses", "inspect", "pathlib",
}  # fmt: skip


@cache
def imported(module: str, *, for_types: bool = False) -> set[str]:
    """What a module imports when it runs, or with `for_types` for the type checker too."""
    tree = parsed(PACKAGE / f"{module}.py")
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
        if not for_types
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


def own_imports(module: str) -> set[str]:
    """The folders of this package that a module imports from, for types too."""
    names = imported(module, for_types=True)
    return {name.split(".")[1] for name in names if name.startswith("binfmt_setup.")}


def test_every_folder_with_code_is_a_layer() -> None:
    assert {module.split("/")[0] for module in MODULES} - set(ALONE) == set(LAYERS)


@pytest.mark.parametrize("module", [module for module in MODULES if module not in ALONE])
def test_layers_import_downwards(module: str) -> None:
    layer = module.split("/", maxsplit=1)[0]
    allowed = set(LAYERS[LAYERS.index(layer) :]) | {"__version__"}
    assert own_imports(module) <= allowed


def test_modules_of_a_layer_import_each_other_in_no_circle() -> None:
    edges = {
        module: {
            name.removeprefix("binfmt_setup.").replace(".", "/")
            for name in imported(module, for_types=True)
            if name.startswith("binfmt_setup.")
        }
        & set(MODULES)
        for module in MODULES
    }

    def reached(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        for below in edges[module]:
            if below.split("/")[0] == module.split("/", maxsplit=1)[0]:
                reached(below, (*above, module))

    for module in MODULES:
        reached(module, ())


@pytest.mark.parametrize("module", [m for m in MODULES if m.split("/")[0] in PURE])
def test_pure_layers_touch_nothing(module: str) -> None:
    assert not imported(module) & TOUCHES


def test_programs_are_started_behind_the_door_only() -> None:
    starting = {module for module in MODULES if "subprocess" in imported(module)}
    assert starting <= STARTS_PROGRAMS


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    # An empty environment: measuring coverage would load more.
    done = subprocess.run(
        [sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.split("/")[0] in {"cli", "commands"} and m[-1] != "_"]
)
def test_importing_a_command_loads_nothing_that_costs(module: str) -> None:
    assert not loaded_by(f"import binfmt_setup.{module.replace('/', '.')}") & COSTLY


def loaded_by_command(*arguments: str) -> set[str]:
    """The modules that a whole run of the tool imports, from Python's own list of them."""
    command = [sys.executable, "-X", "importtime", "-m", "binfmt_setup", *arguments]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in (0, 1, 4, 5), done.stderr
    rows = (line.rpartition("|") for line in done.stderr.splitlines() if "|" in line)
    return {name.strip() for _, _, name in rows}


def own(modules: set[str]) -> set[str]:
    """Those of this package, as `folder/module`."""
    mine = (m.removeprefix("binfmt_setup.") for m in modules if m.startswith("binfmt_setup."))
    return {name.replace(".", "/") for name in mine if "." in name}


def test_a_command_that_does_nothing_loads_the_command_line_alone() -> None:
    loaded = loaded_by_command("--version")
    assert COSTLY & loaded == set()
    assert own(loaded) == {
        "cli/signals", "cli/streams", "cli/reader", "cli/table", "cli/border", "cli/answers",
        "cli/app", "cli/actions", "cli/options", "cli/choices", "userns/identity",
        "model/records", "model/errors", "model/escaping", "model/request",
    }  # fmt: skip


def test_check_loads_neither_the_command_line_library_nor_what_changes_hosts() -> None:
    loaded = loaded_by_command("check", "arm64", "s390x")
    assert (COSTLY | UNNEEDED_BY_CHECK) & loaded == set()
    folders = {name.split("/")[0] for name in own(loaded)}
    assert not folders & {"changes", "engines", "explain", "userns", "sources"}


def test_the_answer_about_a_host_in_order_loads_no_sentence() -> None:
    statement = (
        "from binfmt_setup.report.text_report import text_report\n"
        "from binfmt_setup.diagnosis.judge import judge\n"
        "from binfmt_setup.report.style import Style\n"
        "from binfmt_setup.report.result import CheckResult\n"
        "from binfmt_setup.model.facts import HostFacts, KernelFacts\n"
        "from binfmt_setup.model.mountinfo import BinfmtMount\n"
        "from binfmt_setup.model.registry_facts import RegistryFacts\n"
        "from binfmt_setup.model.targets import parse_platform\n"
        "from binfmt_setup.system.probes import ProbeResult\n"
        "registry = RegistryFacts(BinfmtMount('mounted'), enabled=True, listing=None)\n"
        "kernel = KernelFacts('6.12.0', 'x86_64', 'present')\n"
        "facts = HostFacts('/', kernel, registry=registry)\n"
        "ran = ProbeResult('x86_64', exit_status=0, fields={'target': 'x86_64', 'argc': '2'},"
        " native=True)\n"
        "amd64 = parse_platform('amd64')\n"
        "result = CheckResult(facts, judge(facts, [amd64], {amd64.probe: ran}))\n"
        "assert 'works: linux/amd64' in text_report(result, Style())"
    )
    loaded = loaded_by(statement)
    words = ("registry", "probes", "next_boot", "interpreters", "boot", "engines")
    catalogue = ("registry", "emulators", "probes", "next_boot")
    unneeded = {f"report/words/{topic}" for topic in words}
    unneeded |= {f"diagnosis/catalogue/{topic}" for topic in catalogue}
    assert not unneeded & own(loaded)
    costly = {"typing", "re", "shlex", "textwrap", "enum", "signal", "importlib"}
    assert not costly & (loaded - loaded_by("pass"))


def test_install_loads_no_command_line_library() -> None:
    loaded = loaded_by_command("install", "--check", "--no-persist", "arm64", "s390x")
    assert (COSTLY | {"typer", "dataclasses", "inspect", "pathlib"}) & loaded == set()
    folders = {name.split("/")[0] for name in own(loaded)}
    assert not folders & {"engines", "explain", "userns"}
