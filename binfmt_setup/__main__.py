"""The way in for the ``binfmt-setup`` command and for ``python -m binfmt_setup``."""

import gc
import os
import sys

# `python -m` looks for every module in the current directory first, and so does an empty part of
# PYTHONPATH, which may be anybody's: what lies there is not to be our `json`. This package is found
# by now, and so is all that it holds. Modules that Python needs to come this far (runpy) it has
# looked for there already; the command that is installed never does, nor does `python -P -m` from
# Python 3.11 on. A directory that PYTHONPATH names stays.
try:
    _here = os.getcwd()  # noqa: PTH109 - pathlib takes long to load
except FileNotFoundError:  # the current directory is gone
    _here = ""
_named = _here in os.environ.get("PYTHONPATH", "").split(":")
sys.path[:] = [
    path for at, path in enumerate(sys.path) if path not in ("", _here) or (path and at and _named)
]


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        # A command lives for a moment: looking for garbage, and tearing down modules at the
        # end, would take a fifth of it.
        gc.disable()
        status = _status(sys.argv[1:])
    except BaseException as end:
        # Python's own KeyboardInterrupt comes before `listen` only, and knows no number.
        status, word = getattr(end, "status", 130), getattr(end, "word", "interrupted")
        ours = str(getattr(end, "name", "")).startswith("binfmt_setup")
        if isinstance(end, OSError | MemoryError | ImportError) and not ours:
            # Not even the modules that tell it better could be loaded.
            status, word = 4, f"binfmt-setup cannot start: {str(end) or 'too little memory'}"
        elif not (isinstance(end, KeyboardInterrupt) or hasattr(end, "word")):
            sys.excepthook(type(end), end, end.__traceback__)
            status, word = 70, "this is a defect of binfmt-setup: report it with the lines above"
        _say(word)
    # It was imported where something was unpacked out of a single file.
    if packaged := sys.modules.get("binfmt_setup.system.packaged"):
        packaged.leave()
    os._exit(status)


def _status(arguments: list[str]) -> int:
    from binfmt_setup.cli.signals import listen, raise_what_came

    listen()
    try:
        return _answered(arguments)
    except Exception:
        raise_what_came()
        raise


def _answered(arguments: list[str]) -> int:
    from binfmt_setup.cli import streams

    streams.guard()
    from binfmt_setup.cli import reader, table
    from binfmt_setup.cli.border import answered

    call = reader.read(arguments, table.COMMANDS)
    # Where a shell asks for words to complete a line with, the library answers.
    if call is not None and "_BINFMT_SETUP_COMPLETE" not in os.environ:
        return answered(lambda: reader.with_values(call, table.COMMANDS), arguments)
    from binfmt_setup.cli.app import run_command_line

    return run_command_line(arguments)


def _say(word: str) -> None:
    """One word on standard error, which may not be ready yet, or closed."""
    try:  # noqa: SIM105 - importing contextlib takes longer than Ctrl-C may come too early
        os.write(2, f"{word}\n".encode())
    except OSError:
        pass


if __name__ == "__main__":
    main()
