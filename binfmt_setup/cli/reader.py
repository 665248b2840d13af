"""Valid command lines, read without the command line library.

Importing that library takes longer than most commands do. It stays the one declaration of
commands and options: `table` is generated from it, and this reader understands a line by that
table as the library would. What the reader does not understand (a mistake, a call for help)
it leaves to the library, which then has the word.
"""

from __future__ import annotations

from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Option(Record):
    """One option: the parameter it sets, and what it takes.

    `choice` names the class of its value, as `module:class`; empty for a text.
    """

    parameter: str
    takes_value: bool = False
    repeats: bool = False
    choice: str = ""


class Command(Record):
    """One command: its options by all their names, and what may stand beside them.

    `operands` is the parameter that takes what is not an option, `many` whether it takes
    several. Where options are not `interspersed`, the first operand ends them.
    """

    options: Mapping[str, Option]
    operands: str = ""
    many: bool = False
    required: bool = False
    interspersed: bool = True


class Call(Record):
    """What a command line asks for: a command, and the parameters that were given."""

    command: str
    parameters: Mapping[str, object]


class _NotUnderstood(Exception):
    """The line is for the library to read, or to refuse."""


def read(arguments: Sequence[str], commands: Mapping[str, Command]) -> Call | None:
    """What a command line asks for; None for one that the library shall read."""
    command = commands.get(arguments[0]) if arguments else None
    if command is None:
        return None
    try:
        return Call(arguments[0], _parameters(command, arguments[1:]))
    except _NotUnderstood:
        return None


def with_values(call: Call, commands: Mapping[str, Command]) -> Call:
    """The call, whose options all say something; raises UsageProblem.

    An empty value is what an unset variable leaves: it must not mean that nothing was asked for.
    """
    operands = commands[call.command].operands  # the commands look at these
    for parameter, value in call.parameters.items():
        empty = value == "" or (isinstance(value, list) and "" in value)
        if empty and parameter != operands:
            from binfmt_setup.model.errors import UsageProblem

            option = parameter.replace("_", "-")
            raise UsageProblem(f"--{option} is empty", hint="give it a value, or leave it out")
    return call


def _parameters(command: Command, words: Sequence[str]) -> Mapping[str, object]:
    """The parameters that a command is given; they appear in no particular order."""
    found: dict[Option, list[str]] = {}
    operands: list[str] = []
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if word == "--":
            break
        if word[:1] == "-" and word != "-":
            _take_option(command, word, rest, found)
            continue
        operands.append(word)
        if not command.interspersed:
            break
    given = {option.parameter: _value(option, texts) for option, texts in found.items()}
    return {**given, **_operands(command, [*operands, *reversed(rest)])}


def _take_option(
    command: Command, word: str, rest: list[str], found: dict[Option, list[str]]
) -> None:
    """Note the options that a word holds; `rest` are the words behind it, the next one last."""
    name, equals, text = word.partition("=")
    if word.startswith("--"):
        option = _known(command, name)
        if equals and not option.takes_value:
            raise _NotUnderstood
        if equals:
            rest.append(text)
        _note(option, rest, found)
        return
    for at, letter in enumerate(word[1:], 2):
        option = _known(command, f"-{letter}")
        if option.takes_value and word[at:]:
            # `-Parm64`: what follows the letter is its value, even behind a "=".
            rest.append(word[at:])
        _note(option, rest, found)
        if option.takes_value:
            return


def _known(command: Command, name: str) -> Option:
    option = command.options.get(name)
    if option is None:
        raise _NotUnderstood
    return option


def _note(option: Option, rest: list[str], found: dict[Option, list[str]]) -> None:
    """Note one use of an option; its value is the next word, whatever that looks like."""
    texts = found.setdefault(option, [])
    if option.takes_value:
        if not rest:
            raise _NotUnderstood
        texts.append(rest.pop())


def _value(option: Option, texts: list[str]) -> object:
    """What an option's uses come to: the last one counts, unless it may be repeated."""
    if not option.takes_value:
        return True
    if option.repeats:
        return texts
    return _chosen(option.choice, texts[-1]) if option.choice else texts[-1]


def _chosen(choice: str, text: str) -> object:
    """The member of a class of choices; the library tells which ones there are."""
    module, _, name = choice.partition(":")
    try:
        return getattr(__import__(module, fromlist=[name]), name)(text)
    except ValueError:
        raise _NotUnderstood from None


def _operands(command: Command, words: list[str]) -> Mapping[str, object]:
    """The parameter that takes what is not an option."""
    if not words and not command.required:
        return {}
    if not words or not command.operands or (len(words) > 1 and not command.many):
        raise _NotUnderstood
    return {command.operands: words if command.many else words[0]}
