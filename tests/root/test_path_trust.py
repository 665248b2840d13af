"""Paths that an unprivileged user prepares, and how root judges them, on the real kernel."""

from __future__ import annotations

import sys

import pytest

from tests.planted import in_own_tree

JUDGE = (
    "import sys\n"
    "from binfmt_setup.system.path_trust import why_not_trusted\n"
    "found = why_not_trusted(sys.argv[1])\n"
    "print(found.fault.upper() + ' ' + found.path if found else 'trusted')\n"
)
ACL_FOR_NOBODY = (
    "import os, struct, sys\n"
    "rows = (1, 7, 0), (2, 7, 65534), (4, 5, 0), (16, 7, 0), (32, 5, 0)\n"
    'packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)\n'
    'os.setxattr(sys.argv[1], "system.posix_acl_access", packed)\n'
)
SET_ACL = f"mkdir -m 755 /mnt/ours/d && {sys.executable} -c '{ACL_FOR_NOBODY}' /mnt/ours/d"

THEIR_PROCESS = (
    "nobody sh -c 'sleep 5 >/dev/null 2>&1 & echo $! >/mnt/theirs/pid'\n"
    "ln -s /proc/$(cat /mnt/theirs/pid)/root/bin /mnt/ours/l"
)
SEALED = "mount --bind /mnt/ours/d /mnt/ours/d && mount -o remount,bind,ro /mnt/ours/d"


def judged(prepare: str, path: str) -> str:
    """Prepare a tree below /mnt, of which nobody owns `/mnt/theirs`, and judge a path in it."""
    return in_own_tree(
        f"mkdir -m 755 /mnt/ours && mkdir /mnt/theirs && chown 65534 /mnt/theirs\n{prepare}\n",
        [sys.executable, "-c", JUDGE, path],
    ).strip()


@pytest.mark.parametrize(
    ("prepare", "path", "verdict"),
    [
        ("touch /mnt/ours/f", "/mnt/ours/f", "trusted"),
        ("", "/mnt/ours/yet/to/come", "trusted"),
        ("touch /mnt/ours/f", "/mnt/ours/f/../x", "trusted"),
        # Owned by root, where somebody else owns the directory above.
        ("touch /mnt/theirs/f", "/mnt/theirs/f", "OWNER /mnt/theirs"),
        ("nobody touch /mnt/theirs/f", "/mnt/theirs/f", "OWNER /mnt/theirs"),
        ("", "/mnt/theirs/yet-to-come", "OWNER /mnt/theirs"),
        # Sticky: nobody put the name there first.
        (
            "mkdir -m 1777 /mnt/ours/tmp && nobody mkdir /mnt/ours/tmp/d",
            "/mnt/ours/tmp/d/f",
            "SHARED /mnt/ours/tmp",
        ),
        ("mkdir -m 1775 /mnt/ours/d && touch /mnt/ours/d/f", "/mnt/ours/d/f",
         "SHARED-GROUP /mnt/ours/d"),
        # As on NixOS: nobody can put a name there, nor replace root's; others' are others'.
        (f"mkdir -m 1775 /mnt/ours/d && touch /mnt/ours/d/f && {SEALED}", "/mnt/ours/d/f",
         "trusted"),
        (f"mkdir -m 1777 /mnt/ours/d && nobody touch /mnt/ours/d/f && {SEALED}", "/mnt/ours/d/f",
         "OWNER /mnt/ours/d/f"),
        (f"mkdir -m 775 /mnt/ours/d && touch /mnt/ours/d/f && {SEALED}", "/mnt/ours/d/f",
         "GROUP /mnt/ours/d"),
        ("touch /mnt/ours/f && chmod g+w /mnt/ours/f", "/mnt/ours/f", "GROUP /mnt/ours/f"),
        ("mkdir -m 775 /mnt/ours/d", "/mnt/ours/d/f", "GROUP /mnt/ours/d"),
        # Links: whose they are, what is in between, and where they lead.
        ("ln -s /mnt/theirs/f /mnt/ours/l && touch /mnt/theirs/f", "/mnt/ours/l",
         "OWNER /mnt/theirs"),
        ("ln -s ../theirs /mnt/ours/l", "/mnt/ours/l/f", "OWNER /mnt/theirs"),
        ("ln -s l2 /mnt/ours/l && ln -s /mnt/theirs /mnt/ours/l2", "/mnt/ours/l/../ours",
         "OWNER /mnt/theirs"),
        ("touch /mnt/ours/f && ln -s /mnt/ours/f /mnt/ours/l && chown -h 65534 /mnt/ours/l",
         "/mnt/ours/l", "OWNER /mnt/ours/l"),
        ("nobody ln -s /mnt/ours /mnt/theirs/l", "/mnt/theirs/l/f", "OWNER /mnt/theirs"),
        ("ln -s l /mnt/ours/l", "/mnt/ours/l", "UNREADABLE /mnt/ours/l"),
        # Another process's view of the files.
        (THEIR_PROCESS, "/mnt/ours/l/sh", "PROCESS /proc"),
        (SET_ACL, "/mnt/ours/d/f", "ACL /mnt/ours/d"),
    ],
)  # fmt: skip
def test_who_can_change_a_path(prepare: str, path: str, verdict: str) -> None:
    assert judged(prepare, path) == verdict
