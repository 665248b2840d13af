"""Trees that root and an unprivileged user prepare, seen by nobody but their test.

Needs root: in a mount namespace of its own, an empty file system that belongs to root lies on
/mnt. What a user does to it is done by a real other user, without any capability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.own_namespace import run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence

NOBODY = 65534
_PREPARE = (
    "set -e\n"
    "mount -t tmpfs -o mode=755 none /mnt\n"
    "nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all "
    '--no-new-privs -- "$@"; }\n'
    "{ %s\n} >&2\n"
    'exec "$@"\n'
)


def done_in_own_tree(
    prepare: str, argv: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as root after a script, in which `nobody COMMAND…` is done by that user."""
    script = _PREPARE.replace("%s", prepare)
    shell = ("sh", "-c", script, "sh", *argv)
    return run(["unshare", "--mount", "--propagation=private", *shell], environment)


def in_own_tree(prepare: str, argv: Sequence[str]) -> str:
    """The same for a command that must succeed; what it printed."""
    done = done_in_own_tree(prepare, argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
