"""The border: a command line becomes a call, the call an answer, and that an exit status.

The only place where errors end.
"""

from __future__ import annotations

import time
from contextlib import suppress
from itertools import pairwise, takewhile

from binfmt_setup.cli import streams
from binfmt_setup.cli.answers import HOST, Answer, answer_of, style_of
from binfmt_setup.cli.reader import Call
from binfmt_setup.cli.signals import raise_what_came
from binfmt_setup.model.errors import BinfmtSetupError, ExitCode
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class _Wanted(Record):
    """What a report of a failure must know of the command line."""

    command: str
    format_: str
    check: bool
    output: str = ""


def answered(reading: Callable[[], Call | Answer], arguments: Sequence[str]) -> int:
    """Do what a command line asks for, print the answer and return the exit status.

    `arguments` tell in which format an error is to be answered while nobody has read them.
    """
    start = time.perf_counter()
    wanted = _guessed(arguments)
    try:
        found = reading()
        if isinstance(found, Call):
            wanted = _wanted(found)
            answer = _carried_out(found)
            _tell(found, answer, time.perf_counter() - start)
        else:
            answer = found
    except BinfmtSetupError as error:
        answer = _failure(error, wanted)
    except Exception as error:
        raise_what_came()
        from binfmt_setup.system.limits import beneath_python

        unfit = beneath_python(error)
        if unfit is None:
            return _defect(error)
        answer = _failure(unfit, wanted)
    if wanted.output or answer.journal:
        return _delivered(answer, wanted)
    streams.write_answer(answer.text, commands=answer.commands)
    if answer.hold is not None and (host := HOST.get()):
        from binfmt_setup.cli.holding import hold

        try:
            hold(host.registry, answer.hold)
        except BinfmtSetupError as error:
            return _failure(error, wanted).status
    return answer.status


def _delivered(answer: Answer, wanted: _Wanted) -> int:
    """Put the answer where it was asked for; that of a command that was stopped as well."""
    from binfmt_setup.cli import delivery

    try:
        if not wanted.output:
            if not delivery.to_journal(answer.text):
                streams.write_answer(answer.text)
        elif answer.text:
            delivery.to_file(wanted.output, answer.text)
    except BinfmtSetupError as error:
        return _failure(error, wanted).status
    return answer.status


def _carried_out(call: Call) -> Answer:
    from binfmt_setup.cli import actions

    answer = getattr(actions, call.command)(**call.parameters)
    assert isinstance(answer, Answer)  # noqa: S101 - each action gives one
    return answer


def _tell(call: Call, answer: Answer, seconds: float) -> None:
    """With --verbose: what was read, and how long everything took."""
    facts = answer.facts
    if not call.parameters.get("verbose") or facts is None:
        return
    from binfmt_setup.report.verdict_words import counted

    things = {
        "entry": facts.registry.entries,
        "interpreter": facts.emulators.files,
        "binfmt.d file": facts.boot.configs,
    }
    read = ", ".join(counted(len(found), thing) for thing, found in things.items())
    milliseconds = f"{seconds * 1000:.0f} ms"
    streams.say(f"{call.command}: read {read} in {milliseconds}; exit {answer.status}")


def _wanted(call: Call) -> _Wanted:
    given = call.parameters
    format_ = str(getattr(given.get("format_"), "value", "text"))
    check = bool(given.get("check") or given.get("diff"))
    return _Wanted(call.command, format_, check, str(given.get("output", "")))


def _guessed(arguments: Sequence[str]) -> _Wanted:
    """The same of a line that cannot be read."""
    # Behind a "--" are the words of the command that `run` starts.
    words = list(takewhile(lambda word: word != "--", arguments))
    given = (word for word in words if word.startswith("--format="))
    pairs = [("--format", word.removeprefix("--format=")) for word in given]
    named = (value for key, value in [*pairs, *pairwise(words)] if key == "--format")
    format_ = next(named, "text")
    command = next((word for word in words if not word.startswith("-")), "")
    return _Wanted(command, format_, "--check" in words)


def _failure(error: BinfmtSetupError, wanted: _Wanted) -> Answer:
    """Say on standard error what stopped the command; the answer is for what reads it."""
    from binfmt_setup.report import text_report
    from binfmt_setup.report.formats.interface import format_named

    for line in text_report.error_lines(error, style_of(errors=True)):
        streams.say(line)
    try:
        shown = format_named(wanted.format_)
    except LookupError:  # it is what the error is about
        shown = format_named("text")
    text = _described(error, wanted) or shown.failure(wanted.command, error)
    status = shown.failure_status(error)
    return Answer(text, status, commands=shown.commands, journal=shown.journal)


def _described(error: BinfmtSetupError, wanted: _Wanted) -> str:
    """The failure for programs, with the host as far as it is known; empty where it is not."""
    # What cannot be meant says nothing of a host; JSON alone tells of the host all the same.
    tells_host = wanted.format_ == "json" or error.exit_code != ExitCode.USAGE
    if tells_host and wanted.format_ != "text" and (host := HOST.get()):
        from binfmt_setup.commands.look import stopped

        with suppress(Exception):  # nothing may hide the error that is being reported
            result = stopped(host, wanted.command, error, check=wanted.check)
            return answer_of(result, wanted.format_).text
    return ""


def _defect(error: Exception) -> int:
    import traceback

    streams.say("".join(traceback.format_exception(error, limit=-5)).rstrip("\n"))
    streams.say("this is a defect of binfmt-setup: please report it with the lines above")
    return ExitCode.DEFECT
