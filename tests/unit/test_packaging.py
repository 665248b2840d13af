"""Packages: what each says of this version, its libraries and its files, and what linters say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from binfmt_setup import __version__
from binfmt_setup.model.binfmt_d import MARKER
from binfmt_setup.model.targets import TARGETS
from tests.own_folder import own_folder
from tests.own_namespace import TOP
from tests.scripts import script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.one_python

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGING = TOP / "packaging"
DEBIAN = PACKAGING / "debian"
RECIPES = ("rpm/binfmt-setup.spec", "arch/PKGBUILD", "alpine/APKBUILD", "nix/default.nix")
SCRIPTS = [
    *DEBIAN.glob("binfmt-setup.p*"),
    *(path for path in (DEBIAN / "tests").iterdir() if path.name != "control"),
]
# Where a recipe lists libraries, and what it begins their names with. Fedora's macros read
# pyproject.toml instead.
LISTS = {
    "arch/PKGBUILD": (r"^depends=\((.*?)\)", "python-"),
    "alpine/APKBUILD": (r'^depends="(.*?)"', "py3-"),
    "nix/default.nix": (r"^  dependencies = .*?\[(.*?)\]", r"\s"),
    "debian/control": (r"^Depends:(.*?)^\w", "python3-"),
}
# What some distributions call one.
PROJECTS = {"jinja": "jinja2", "elftools": "pyelftools"}


def text(name: str) -> str:
    return (PACKAGING / name).read_text(encoding="utf-8")


def wanted() -> set[str]:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    # None of these distributions has a Python that needs what an old one lacks.
    plain = (line for line in project["dependencies"] if "; python_version <" not in line)
    return {re.match(r"[\w-]+", line)[0] for line in plain}  # type: ignore[index]  # each begins so


@pytest.mark.parametrize("name", [*RECIPES, "debian/changelog"])
def test_the_version_is_that_of_the_code(name: str) -> None:
    found = re.search(r"\((\S+)-\d|(?:Version: *|pkgver=|version = \")([\d.]+)", text(name))
    assert found
    assert (found[1] or found[2]) == __version__


@pytest.mark.parametrize("name", LISTS)
def test_the_libraries_are_those_of_the_project(name: str) -> None:
    place, begin = LISTS[name]
    (listed,) = re.findall(place, text(name), re.MULTILINE | re.DOTALL)
    named = {PROJECTS.get(word, word) for word in re.findall(rf"{begin}(\w+)", listed)}
    assert named == wanted()


def test_each_recipe_lists_libraries_or_has_macros_that_read_the_project() -> None:
    assert {*LISTS} == {*RECIPES, "debian/control"} - {RECIPES[0]}
    assert "\n%generate_buildrequires\n%pyproject_buildrequires\n" in text(RECIPES[0])


def test_what_bookworm_has_too_old_is_brought_along_and_the_rest_is_its_own() -> None:
    builder = (TOP / "scripts" / "build-packages").read_text()
    brought = set(re.search(r"VENDORED = \((.*)\)", builder)[1].replace('"', "").split(", "))  # type: ignore[index]  # it is there
    rules, control = text("bookworm/rules"), text("bookworm/control")
    for library in wanted():
        own = library in {PROJECTS.get(name, name) for name in brought}
        assert own == (f"python3-{library} (" not in control)
    assert [name for name in brought if f"vendor/{name}" not in rules] == []


def test_an_upgrade_of_any_emulator_is_heard_of() -> None:
    paths = re.findall(
        r"^interest-noawait (\S+)$", text("debian/binfmt-setup.triggers"), re.MULTILINE
    )
    programs = (f"/usr/bin/qemu-{target.name}" for target in TARGETS)
    assert paths[0] == "/usr/libexec/qemu-binfmt"
    assert set(paths[1:]) == {f"{path}{end}" for path in programs for end in ("", "-static")}


def test_maintainer_scripts_know_our_files_by_their_first_line() -> None:
    assert f"mark='{MARKER}'" in text("debian/binfmt-setup.postrm")
    for name in ("prerm", "postinst"):
        begin = re.search(r'case \$first in "(.*)"\*\)', text(f"debian/binfmt-setup.{name}"))
        assert begin
        assert MARKER.startswith(begin[1])


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean_and_stop_at_the_first_failure(path: Path) -> None:
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", path], capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert "\nset -e" in path.read_text()


@pytest.mark.parametrize(
    "name",
    [
        "debian/binfmt-setup.lintian-overrides", "debian/source/lintian-overrides",
        "bookworm/source/lintian-overrides",
    ],
)  # fmt: skip
def test_every_override_of_lintian_has_its_reason(name: str) -> None:
    lines = text(name).splitlines()
    overrides = [number for number, line in enumerate(lines) if line[:1] not in {"#", ""}]
    assert overrides
    assert [
        lines[n] for n in overrides if not lines[n - 1].startswith(("#", "binfmt-setup:"))
    ] == []


def test_what_was_not_built_is_marked() -> None:
    for name in RECIPES:
        assert "Not built here: see packaging/README.md" in text(name)


def test_rpm_reads_the_spec() -> None:
    spec = PACKAGING / "rpm" / "binfmt-setup.spec"
    for tool, quiet in ((["rpmspec", "-P"], "error:"), (["rpmlint"], " E: ")):
        if not shutil.which(tool[0]):
            pytest.skip(f"{tool[0]} is not installed")
        done = subprocess.run([*tool, spec], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert quiet not in done.stdout + done.stderr


def test_makepkg_reads_the_pkgbuild() -> None:
    if not shutil.which("makepkg"):
        pytest.skip("makepkg is not installed")
    with own_folder() as folder:
        shutil.copy(PACKAGING / "arch" / "PKGBUILD", folder)
        # It refuses to run as root; what it prints needs no source.
        lead = ["unshare", "--user", "--map-user=1000"] if os.geteuid() == 0 else []
        done = subprocess.run(
            [*lead, "makepkg", "--printsrcinfo"], cwd=folder, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"pkgver = {__version__}" in done.stdout


def test_a_shell_reads_the_apkbuild() -> None:
    script = f'. {PACKAGING / "alpine" / "APKBUILD"}; echo "$pkgver $arch"; command -v package'
    done = subprocess.run(["sh", "-euc", f"srcdir=/x; {script}"], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.stdout == f"{__version__} noarch\npackage\n"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    return script("build-packages")


def test_the_source_archive_depends_on_names_and_contents_alone(
    builder: ModuleType, tmp_path: Path
) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one")
    second.write_text("two")
    rows = [(first, "x/a"), (second, "b")]
    packed = builder.packed(rows, "top", 1)
    os.utime(first, (5, 5))
    first.chmod(0o600)
    assert builder.packed(rows[::-1], "top", 1) == packed
    first.write_text("three")
    assert builder.packed(rows, "top", 1) != packed


@pytest.mark.parametrize(("release", "number"), [("bookworm", 12), ("trixie", 13), ("forky", 14)])
def test_each_release_has_a_version_of_its_own(
    builder: ModuleType, tmp_path: Path, release: str, number: int
) -> None:
    changelog = tmp_path / "changelog"
    shutil.copy(DEBIAN / "changelog", changelog)
    builder.name_the_release(changelog, release)
    first = changelog.read_text().partition("\n")[0]
    assert first == f"binfmt-setup ({__version__}-1~deb{number}) {release}; urgency=medium"


def test_what_is_packed_is_what_git_knows(builder: ModuleType) -> None:
    names = {name for _, name in builder.clones_files()}
    assert {
        "pyproject.toml",
        "binfmt_setup/data/probes/SHA256SUMS",
        "man/man8/binfmt-setup.8",
    } <= names
    assert not [name for name in names if name.startswith(("packaging/", ".venvs", ".git/"))]
