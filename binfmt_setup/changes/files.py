"""Single writes to files and links, each with a typed error for what went wrong."""

from __future__ import annotations

from binfmt_setup.model.binfmt_d import MADE_DIRECTORY
from binfmt_setup.model.boot_facts import RETURNED_PATH, SCRIPT_PATH
from binfmt_setup.system.registry import explained

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.changes.steps import ChangeFile, ChangeLink, Discard
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.system.host import Host


def change_file(host: Host, step: ChangeFile) -> None:
    """Write or remove a file; raises EnvironmentUnfit or PrivilegesMissing."""
    try:
        if step.after is not None:
            host.write_file(step.path, step.after, 0o755 if step.path == SCRIPT_PATH else 0o644)
            return
        if MADE_DIRECTORY in (step.before or "") or step.path == RETURNED_PATH:
            host.remove_with_directory(step.path)
        else:
            host.remove(step.path)
    except OSError as error:
        raise explained(error, f"cannot write {step.path}") from error


def change_link(host: Host, step: ChangeLink) -> None:
    """Make or remove a link; raises EnvironmentUnfit or PrivilegesMissing."""
    try:
        if step.after is not None:
            host.link(step.path, step.after)
            return
        host.remove_with_directory(step.path)
    except OSError as error:
        raise explained(error, f"cannot write {step.path}") from error


def discard_emulators(host: Host, step: Discard) -> BinfmtSetupError | None:
    """Remove a directory of emulators; what went wrong, if anything did."""
    from binfmt_setup.emulators import discard

    try:
        discard.remove(host, step.stored)
    except OSError as error:
        return explained(error, f"cannot remove {step.stored.directory}")
    return None
