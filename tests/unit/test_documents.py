"""The documents: every link leads somewhere, every symptom to a code, every command is one."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.cli.reader import read
from binfmt_setup.cli.table import COMMANDS
from tests.own_namespace import TOP
from tests.report_schema import SCHEMA, assert_fits, assert_part_fits
from tests.scripts import script
from tests.unit.test_catalogue import FACTS, error_codes

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.one_python

DOCUMENTS = sorted([*TOP.glob("*.md"), *(TOP / "docs").rglob("*.md"), *TOP.glob("packaging/*.md")])
TASKS = ("trouble", "ci", "images")
# Who takes the commands of a page out of it, and runs them. What needs programs that Debian has
# not, or many minutes, a script does, and the page says what came of it.
RUN_BY = {
    "ansible": ("scripts/ansible_hosts.py",),
    "ci": ("tests/root/test_ci.py", "tests/root/test_single_file.py"),
    "emulators": ("tests/sandbox/test_sources.py",),
    "engines": ("tests/engines/test_answers.py",),
    "image": ("tests/root/test_image.py", "scripts/try-image", "scripts/image_lines.py"),
    "images": ("tests/unit/test_offline.py", "scripts/try-images"),
    "keep": (
        "tests/boot/test_keep.py",
        "tests/sandbox/test_keep.py",
        "scripts/try-rootless",
        "scripts/try-audit",
    ),
    "kubernetes": ("scripts/try-cluster",),
    "monitoring": ("tests/sandbox/test_monitoring.py", "tests/boot/test_keep.py"),
    "other-emulators": ("tests/sandbox/test_other_emulators.py",),
}


def name(path: Path) -> str:
    return str(path.relative_to(TOP))


def anchors(path: Path) -> set[str]:
    """What the headings of a document can be reached by, as GitHub and the site name them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name)
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    # Also those in tags, at which the site's builder does not look.
    for link in re.findall(r"(?:\]\(|(?:href|src)=[\"'])([^)\"'\s]+)", text):
        if link.startswith(("http:", "https:")):
            continue
        target, _, anchor = link.partition("#")
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


@pytest.fixture(scope="module")
def site() -> ModuleType:
    return script("build-site")


def test_every_document_is_in_the_navigation_once(site: ModuleType, tmp_path: Path) -> None:
    site.stage(tmp_path / "docs")
    staged = {str(p.relative_to(tmp_path / "docs")) for p in (tmp_path / "docs").rglob("*.md")}
    listed = [page for pages in site.PAGES.values() for page in pages.values()]
    assert len(set(listed)) == len(listed)
    decisions = {page for page in staged if page.startswith("decisions/")}
    assert staged - decisions == set(listed) - {"decisions/README.md"}
    for page in (tmp_path / "docs").rglob("*.md"):
        links = re.findall(r"\]\(([^)#\s]+\.md)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).is_file()] == [], page


def test_every_symptom_leads_to_a_code_that_exists() -> None:
    text = (TOP / "docs" / "trouble.md").read_text(encoding="utf-8")
    known = {kind.code for kind in FACTS} | error_codes()
    named = set(re.findall(r"`([a-z]+(?:-[a-z0-9]+)+)`", text))
    assert len(re.findall("^## ", text, re.MULTILINE)) >= 11
    assert named - known <= {"binfmt-setup"}
    assert "## exec format error" in text


@pytest.mark.parametrize("page", TASKS)
def test_every_command_of_a_task_is_one_that_is_understood(page: str) -> None:
    text = (TOP / "docs" / f"{page}.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (?:sudo )?(?:\./)?binfmt-setup(?:\.pyz)? (.+)$", text, re.MULTILINE)
    assert lines
    assert [line for line in lines if read(shlex.split(line), COMMANDS) is None] == []


@pytest.mark.parametrize("page", RUN_BY)
def test_the_commands_of_a_page_are_run(page: str) -> None:
    for path in RUN_BY[page]:
        assert f"{page}.md" in (TOP / path).read_text(encoding="utf-8"), path


def test_what_minutes_are_needed_for_is_taken_from_the_page() -> None:
    """These unpack all blocks of a page: one that is new there has to be thought of."""
    images, audit = script("try-images"), script("try-audit")
    assert images.MMDEBSTRAP.startswith("mmdebstrap --mode=root ")
    assert images.BUILDAH.startswith("buildah build ")
    assert (audit.RULE.split()[0], audit.LOOK.split()[0]) == ("auditctl", "ausearch")
    _, commands = script("try-rootless").lines()
    assert [line.split()[0] for line in commands] == [
        "systemctl", "systemctl", "loginctl", "journalctl",
    ]  # fmt: skip


def test_examples_of_reports_are_as_the_schema_says() -> None:
    text = (TOP / "docs" / "json.md").read_text(encoding="utf-8")
    examples = [
        json.loads(e) for e in re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    ]
    assert len(examples) >= 3
    assert_fits(examples[0])
    for example in examples[1:]:
        assert_part_fits(example)
    table = text.partition("| key |")[2].partition("\n\n")[0]
    keys = re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:]))
    assert sorted(keys) == sorted(SCHEMA["properties"])
