"""The way in for the ``binfmt-setup`` command and for ``python -m binfmt_setup``."""

import sys


def main() -> None:
    """Run the command line and leave with its exit code."""
    from binfmt_setup.cli import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
