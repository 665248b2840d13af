"""What of this machine no test may change: its registry, its configuration, what runs at boot.

scripts/test compares it before and after.
"""

from __future__ import annotations

import os
from pathlib import Path

WATCHED = (
    *("/proc/sys/fs/binfmt_misc", "/etc/binfmt.d", "/usr/lib/binfmt.d", "/usr/local/lib/binfmt.d"),
    *("/run/binfmt.d", "/etc/binfmt-setup", "/usr/local/lib/binfmt-setup", "/var/lib/binfmts"),
)
PATTERNS = ("etc/systemd/system/**/binfmt-setup*", "run/binfmt*", "usr/local/bin/binfmt-setup*")


def traces() -> dict[str, str]:
    """Each watched file with its kind, mode, size and content's date; mounts of registries."""
    found = [path for top in map(Path, WATCHED) for path in (top, *sorted(top.rglob("*")))]
    found += [path for pattern in PATTERNS for path in sorted(Path("/").glob(pattern))]
    seen = {str(path): words for path in found if (words := _words(path))}
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    registries = [line.split(" ", 5)[-1] for line in mounts if "binfmt_misc" in line]
    return seen | {f"mount {line}": "there" for line in registries}


def _words(path: Path) -> str:
    """What to compare of a file; nothing for one that is not there."""
    if not os.path.lexists(path):
        return ""
    facts = path.lstat()
    if path.parent == Path("/proc/sys/fs/binfmt_misc"):
        # Its dates are those of the moment; what an entry says is what counts.
        return path.read_text(errors="replace") if path.name != "register" else "there"
    date = "" if path.is_dir() else facts.st_mtime_ns
    return f"{facts.st_mode:o} {facts.st_uid} {facts.st_size if date else ''} {date}"


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What came, went, or changed."""
    words = {(True, False): "is gone", (False, True): "is new", (True, True): "was changed"}
    names = sorted(before.keys() | after.keys())
    return [
        f"{name} {words[name in before, name in after]}"
        for name in names
        if before.get(name) != after.get(name)
    ]
