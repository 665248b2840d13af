"""What users are told about packages that bring QEMU."""

from __future__ import annotations

from binfmt_setup.model.errors import NoEmulator, PrivilegesMissing
from binfmt_setup.model.shell import typed

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence


GIVE_BINARIES = "give static QEMU binaries: --qemu DIR, --qemu FILE or --qemu image:REF"
FAILED = "run the command by hand to see more"


def install_and_reboot(command: Sequence[str]) -> str:
    """A package that is there after the next boot."""
    return f"run: {typed(command)}; then reboot"


def configure_and_run(line: str, path: str, command: Sequence[str]) -> str:
    """A configuration that is the user's."""
    return f"put into {path}: `{line}`, then run: {typed(command)}"


def in_tree(root: str, command: Sequence[str]) -> str:
    """A package for an offline tree: this tool runs nothing there."""
    line = typed(("chroot", root, *command))
    return f"run: {line}   (or use --qemu DIR; --install-qemu is for the running host)"


def installing(command: str) -> str:
    """What is going on."""
    return f"installing QEMU: {command}"


def ran_in_vain(command: str) -> str:
    """A package manager ended well, and no emulator came."""
    return f"`{command}` brought none: run it by hand to see why; or {GIVE_BINARIES}"


def root_needed() -> PrivilegesMissing:
    """Packages are installed by root."""
    return PrivilegesMissing("installing packages needs root", hint="run it with sudo")


def not_by_this_tool(distribution: str, hint: str) -> NoEmulator:
    """There is nothing that this tool could run."""
    return NoEmulator(f"cannot install QEMU on {distribution or 'this system'}", hint=hint)
