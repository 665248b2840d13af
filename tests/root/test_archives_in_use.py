"""An archive that another user changes while root reads it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.emulators.store import content_digest
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.sources.qemu_source import _unchanging
from tests.packing import write
from tests.planted import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD, EVIL = b"good content", b"evil content"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that nobody but root can change."""
    with tempfile.TemporaryDirectory(dir="/run") as name:
        yield Path(name)


def test_what_others_can_change_is_read_from_a_copy(tmp_path: Path) -> None:
    archive = write(tmp_path / "qemu.tar", GOOD)
    with archive.open("rb") as file:
        digest = content_digest(file)
        with _unchanging(file, str(archive), digest, tempfile.TemporaryFile) as content:
            assert content is file
        os.chown(archive, NOBODY, NOBODY)
        with _unchanging(file, str(archive), digest, tempfile.TemporaryFile) as content:
            write(archive, EVIL)
            content.seek(0)
            assert content.read() == GOOD
        with (
            pytest.raises(NoEmulator) as caught,
            _unchanging(file, str(archive), digest, tempfile.TemporaryFile),
        ):
            pass
    assert caught.value.code == "digest-mismatch"
    assert "was changed while it was read" in caught.value.message
