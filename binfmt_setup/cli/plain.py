"""Plain command lines: those that run most, done without the command line library.

Importing that library takes longer than what they ask for. `check` before every build and
`install` from configuration management consist of platforms and switches, `run` of a command:
such lines need no library to be read. Whatever else is there (an option with a value, a
mistake, a call for help) goes to `cli`, which also reads plain lines, to the same effect.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from binfmt_setup.cli import ending
from binfmt_setup.model.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_VERBOSE = frozenset(("--verbose", "-v"))
_QUIET = frozenset(("--quiet", "-q"))
_CHECK_SWITCHES = frozenset(("--strict", *_QUIET, *_VERBOSE))
_INSTALL_SWITCHES = frozenset(("--check", "--no-persist", "--private", *_VERBOSE))


class Words(Record):
    """The platforms and the switches of a command line."""

    platforms: tuple[str, ...]
    switches: frozenset[str]

    @property
    def verbose(self) -> bool:
        """Whether every step shall be told."""
        return bool(self.switches & _VERBOSE)


def plain_command(arguments: Sequence[str]) -> Callable[[], int] | None:
    """What a command line asks for, ready to be done; None when it is not plain."""
    name, words = (arguments[0], arguments[1:]) if arguments else ("", ())
    if name == "check" and (read := _words(words, _CHECK_SWITCHES)):
        return partial(_check, read)
    if name == "install" and (read := _words(words, _INSTALL_SWITCHES)):
        return partial(_install, read)
    return _run(words) if name == "run" else None


def _words(words: Sequence[str], known: frozenset[str]) -> Words | None:
    switches = frozenset(word for word in words if word.startswith("-"))
    platforms = tuple(word for word in words if not word.startswith("-"))
    return Words(platforms, switches) if switches <= known else None


def _check(words: Words) -> int:
    from binfmt_setup.commands.check import check

    quiet = bool(words.switches & _QUIET)
    result = check(
        ending.host_at(verbose=words.verbose), words.platforms,
        strict="--strict" in words.switches, versions=len(words.platforms) == 1 and not quiet,
    )  # fmt: skip
    return ending.show(result, "text", quiet=quiet)


def _install(words: Words) -> int:
    from binfmt_setup.commands.install import install
    from binfmt_setup.commands.request import InstallOptions

    options = InstallOptions(
        check="--check" in words.switches,
        persist="--no-persist" not in words.switches,
        private="--private" in words.switches,
    )
    ending.leave_cleanly_when_terminated()
    result = install(ending.host_at(verbose=words.verbose), words.platforms, options)
    return ending.show(result, "text")


def _run(words: Sequence[str]) -> Callable[[], int] | None:
    from binfmt_setup.commands import run

    options = run.plain_options(words)
    if options is None:
        return None
    return lambda: run.execute(ending.host_at(verbose=options.verbose), options)
