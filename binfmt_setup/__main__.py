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
    arguments = sys.argv[1:]
    failed = _fast_run(arguments[1:]) if arguments[:1] == ["run"] else None
    from binfmt_setup.cli import run_command_line

    status = run_command_line(arguments, failed)
    with suppress(OSError):  # what cannot be written has been reported by now
        sys.stdout.flush()
    os._exit(status)


def _fast_run(arguments: list[str]) -> BaseException | None:
    """Do a plain `run` before the command line library is there, which takes longer than it.

    Gives what stopped it, or None when the command line is not plain.
    """
    try:
        from binfmt_setup import run

        options = run.plain_options(arguments)
        if options:
            from binfmt_setup.host import Host

            run.execute(Host(verbose=options.verbose), options)
    except BaseException as problem:
        return problem
    return None


if __name__ == "__main__":
    main()
