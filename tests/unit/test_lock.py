"""requirements/*.txt: that they fit, and that scripts/lock finds what does not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.one_python

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    loader = SourceFileLoader("lock", str(TOP / "scripts" / "lock"))
    spec = importlib.util.spec_from_loader("lock", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules["lock"] = module
    loader.exec_module(module)
    return module


def test_what_is_listed_fits() -> None:
    done = subprocess.run(
        [sys.executable, TOP / "scripts" / "lock", "--check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "requirements/*.txt: as they should be\n")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("typer==0.", "typer==9.", "is no file of typer"),
        ("# typer-", "# tyqer-", "is no file of typer"),
        ("    --hash=sha256:", "    --hash=sha1:", "no release with a SHA-256"),
        ("# for: jinja2", "# for: jinja3", "it is not for what pyproject.toml wants"),
        ("\njinja2==", "\n\njinja2==", "no release with a SHA-256"),
        ("# Released before 2", "# Released  before 2", "not as scripts/lock writes it"),
    ],
)
def test_what_does_not_is_found(lock: ModuleType, old: str, new: str, fault: str) -> None:
    good = (TOP / "requirements" / "tool.txt").read_text()
    wanted = lock.wanted()["tool.txt"]
    assert lock.faults(good, wanted) == []
    assert old in good
    assert fault in "\n".join(lock.faults(good.replace(old, new, 1), wanted))


def test_a_new_requirement_makes_the_list_old(lock: ModuleType) -> None:
    good = (TOP / "requirements" / "tool.txt").read_text()
    found = "\n".join(lock.faults(good, [*lock.wanted()["tool.txt"], "other>=1"]))
    assert "Python 3.14: other>=1 is not met by anything" in found


def test_sources_are_listed_where_some_machine_has_no_wheel(lock: ModuleType) -> None:
    pins = lock.parsed((TOP / "requirements" / "tool.txt").read_text()).pins
    (safe,) = (pin for pin in pins if pin.name == "markupsafe")
    assert any(name.endswith(".tar.gz") for name in safe.files)
    left = {name: digest for name, digest in safe.files.items() if name.endswith(".whl")}
    lacking = lock.Pin(safe.name, safe.version, "", left)
    assert "nothing is listed for machines without a wheel" in str(lock._faults_of_files(lacking))
