"""Where an answer goes that does not go to standard output: a file, or systemd's journal."""

from __future__ import annotations

import os
import socket

from binfmt_setup.model.errors import EnvironmentUnfit, UsageProblem
from binfmt_setup.model.escaping import safe
from binfmt_setup.system.registry import explained
from binfmt_setup.system.tree import Tree

_JOURNAL = "/run/systemd/journal/socket"


def to_file(path: str, text: str) -> None:
    """Put an answer into a file, whole or not at all: a reader never meets half of it.

    Everybody may read it. Raises UsageProblem, EnvironmentUnfit or PrivilegesMissing.
    """
    whole = os.path.abspath(path)
    folder = os.path.dirname(whole)
    if not os.path.isdir(folder):
        raise UsageProblem(f"--output {path}: no such directory: {folder}", hint="make it first")
    if os.path.exists(whole) and not os.path.isfile(whole):
        # It would take the place of a device: root's, and for everybody.
        raise UsageProblem(
            f"--output {path}: is no regular file",
            hint="name a file, or leave --output out and redirect standard output",
        )
    try:
        Tree().write_file(whole, safe(text))
    except OSError as error:
        raise explained(error, f"cannot write {path}") from error


def to_journal(text: str) -> bool:
    """Send entries to the journal; False where none runs. Raises EnvironmentUnfit."""
    if not os.path.exists(_JOURNAL):
        return False
    entries = [entry + "\n" for entry in safe(text).split("\n\n") if entry]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            for entry in entries:
                sender.sendto(entry.encode(), _JOURNAL)
    except OSError as error:
        raise EnvironmentUnfit(
            f"the journal at {_JOURNAL} takes no entries: {os.strerror(error.errno or 0)}",
            hint="look at: systemctl status systemd-journald",
        ) from error
    return True
