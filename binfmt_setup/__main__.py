"""The way in for the ``binfmt-setup`` command and for ``python -m binfmt_setup``."""

import gc
import os
import sys
from contextlib import suppress


def main() -> None:
    """Run the command line and leave with its exit code."""
    # A command lives for a moment: looking for garbage, and tearing down modules at the end,
    # would take a fifth of it.
    gc.disable()
    status = _status(sys.argv[1:])
    with suppress(OSError):  # what cannot be written has been reported by now
        sys.stdout.flush()
    os._exit(status)


def _status(arguments: list[str]) -> int:
    from binfmt_setup.cli.plain import plain_command

    if command := plain_command(arguments):
        from binfmt_setup.cli.ending import ended

        return ended(command)
    from binfmt_setup.cli.app import run_command_line

    return run_command_line(arguments)


if __name__ == "__main__":
    main()
