"""The pictures in docs/ show what the commands of today print."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

pytestmark = pytest.mark.one_python

DOCS = Path(__file__).parents[2] / "docs"
SHOWS = {
    "check": ("check linux/arm64", "[flag-f-missing]", "does not work: linux/arm64"),
    "install": ("install linux/arm64", "replace qemu-aarch64", "; changed"),
    "status": ("status", "ENTRY", "stays", "3 platforms emulated"),
}


@pytest.mark.parametrize("name", SHOWS)
def test_a_picture_shows_its_command_and_the_verdict(name: str) -> None:
    picture = ET.parse(DOCS / f"{name}.svg")  # noqa: S314 - our own file
    text = " ".join("".join(node.itertext()) for node in picture.iter() if node.tag[-4:] == "text")
    plain = " ".join(text.replace("\xa0", " ").split())
    for words in SHOWS[name]:
        assert words in plain
    # A host, as most are: no container, no namespace, and it boots.
    assert not [word for word in ("(in a ", "private", "--no-persist") if word in plain]


@pytest.mark.parametrize("name", SHOWS)
def test_a_picture_loads_nothing_from_elsewhere(name: str) -> None:
    text = (DOCS / f"{name}.svg").read_text(encoding="utf-8")
    assert "@font-face" not in text
    assert "url(http" not in text
