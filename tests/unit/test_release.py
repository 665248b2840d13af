"""scripts/release: the changelog decides the version, which is then the same everywhere."""

from __future__ import annotations

import shutil
import sys
from datetime import date
from typing import TYPE_CHECKING

import pytest

from binfmt_setup import __version__
from tests.own_namespace import TOP
from tests.scripts import script

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.one_python

DAY = date(2030, 1, 2)


@pytest.fixture(scope="module")
def release() -> ModuleType:
    return script("release")


def changelog(kinds: str, last: str = "") -> str:
    unreleased = "".join(f"\n### {kind}\n\n- something\n" for kind in kinds.split())
    before = f"\n## [{last}] - 2029-01-01\n\n### Added\n\n- all of it\n" if last else ""
    return f"# Changelog\n\n## [Unreleased]\n{unreleased}{before}"


@pytest.mark.parametrize(
    ("kinds", "last", "version"),
    [
        ("Added", "", "0.1.0"), ("Fixed", "0.1.0", "0.1.1"), ("Security", "1.2.3", "1.2.4"),
        ("Fixed Added", "0.1.0", "0.2.0"), ("Changed", "0.1.9", "0.2.0"),
        ("Added", "1.2.3", "1.3.0"), ("Removed", "1.2.3", "2.0.0"), ("Changed", "1.0.0", "2.0.0"),
    ],
)  # fmt: skip
def test_what_changed_decides_the_version(
    release: ModuleType, kinds: str, last: str, version: str
) -> None:
    assert release.next_version(changelog(kinds, last), "0.1.0") == version


def test_nothing_to_release_is_refused(release: ModuleType) -> None:
    with pytest.raises(ValueError, match="Unreleased"):
        release.next_version(changelog("", "0.1.0"), "0.1.0")


def copy_of(top: Path, release: ModuleType) -> Path:
    for name in (*release.PLACES, "packaging/debian/changelog"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TOP / name, top / name)
    return top


def test_a_release_is_written_down_in_every_place(release: ModuleType, tmp_path: Path) -> None:
    top = copy_of(tmp_path, release)
    (top / "CHANGELOG.md").write_text(changelog("Removed", "4.0.0"))
    assert release.prepare(top, DAY) == "5.0.0"
    for name, before in release.PLACES.items():
        assert f"{before}5.0.0" in (top / name).read_text()
    assert "## [Unreleased]\n\n## [5.0.0] - 2030-01-02\n" in (top / "CHANGELOG.md").read_text()
    debian = (top / "packaging/debian/changelog").read_text()
    assert debian.startswith("binfmt-setup (5.0.0-1) unstable;")
    assert "Wed, 02 Jan 2030 12:00:00 +0000" in debian.partition(f"({__version__}-1)")[0]
    with pytest.raises(ValueError, match="Unreleased"):
        release.prepare(top, DAY)


def test_the_first_release_is_the_version_that_is_there(
    release: ModuleType, tmp_path: Path
) -> None:
    top = copy_of(tmp_path, release)
    (top / "CHANGELOG.md").write_text(changelog("Added"))
    assert release.prepare(top, DAY) == __version__
    debian = (top / "packaging/debian/changelog").read_text()
    assert debian.count("binfmt-setup (") == 1


def test_the_list_of_contents_is_one_of_a_version(release: ModuleType) -> None:
    text = (TOP / "pyproject.toml").read_text(encoding="utf-8")
    was, told = tomllib.loads(text), tomllib.loads(release.described(text, "5.0.0"))
    assert was["project"].pop("dynamic") == ["version"]
    assert told["project"].pop("version") == "5.0.0"
    assert told == was


def test_this_changelog_has_something_to_release(release: ModuleType) -> None:
    text = (TOP / "CHANGELOG.md").read_text(encoding="utf-8")
    assert release.next_version(text, __version__)
