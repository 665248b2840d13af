"""A folder that nobody but the tester can change; everybody can write to the one for tests."""

from __future__ import annotations

import os
import pwd
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder in the tester's own home, as the system knows it; gone at the end."""
    home = pwd.getpwuid(os.geteuid()).pw_dir
    with tempfile.TemporaryDirectory(prefix=".binfmt-setup-test-", dir=home) as name:
        yield Path(name)
