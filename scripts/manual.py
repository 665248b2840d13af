#!/usr/bin/env python3
"""Write the manual pages in man/ and docs/commands.md.

They come out of the declared commands and options and of the documents.

To be run after every change of an option, of a finding's paragraph, or of scripts/manual/; a test
compares.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from binfmt_setup import __version__
from binfmt_setup.model.errors import ExitCode
from declared import TOP, Command, Word, commands, program_text
from roff import blocks, escaped, filled, inline, line, page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = TOP / "man"
SOURCES = TOP / "scripts" / "manual"
PROGRAM = "binfmt-setup"
CONFIGURATION = f"{PROGRAM}.toml.5"
REFERENCE = TOP / "docs" / "commands.md"
_RELEASED = re.compile(r"^## \[\d.*\] - (\d{4}-\d\d-\d\d)$", re.MULTILINE)
_BEFORE_ANY = "2026-11-26"
EXIT_STATUS = {
    ExitCode.OK: "reached, or nothing wrong",
    ExitCode.ANSWER_IS_NO: "the answer is no",
    ExitCode.USAGE: "the command line asks for what does not exist, or contradicts itself",
    ExitCode.PRIVILEGES: "privileges are missing",
    ExitCode.ENVIRONMENT: "this kernel or environment cannot do it",
    ExitCode.NO_EMULATOR: "there is no usable emulator",
    ExitCode.OTHER_PROGRAM: "another program failed (package manager, systemctl, an engine)",
    ExitCode.DEFECT: "a defect of this program",
}


def pages() -> dict[str, str]:
    """Every page by its name."""
    found = {f"{PROGRAM}.8": _program_page(), f"{PROGRAM}-findings.7": _findings_page()}
    found[CONFIGURATION] = _configuration_page()
    return found | {f"{PROGRAM}-{c.name}.8": _command_page(c) for c in commands()}


def place(name: str) -> Path:
    """Where a page lies: as below share/man."""
    return FOLDER / f"man{name[-1]}" / name


def _read(name: str) -> str:
    return (SOURCES / name).read_text(encoding="utf-8")


def _page(name: str, *parts: str) -> str:
    title, _, section = name.rpartition(".")
    # The day of the release: a page that is made again is the same.
    days = _RELEASED.findall((TOP / "CHANGELOG.md").read_text(encoding="utf-8"))
    day = next(iter(days), _BEFORE_ANY)
    head = f'.TH {escaped(title.upper())} {section} {day} "{PROGRAM} {__version__}"'
    note = '.\\" Written by scripts/manual.py.'
    return page(note, head, *parts)


def _program_page() -> str:
    text, _ = program_text()
    listed = "\n".join(
        f".TP\n.BR {escaped(PROGRAM)}\\-{command.name} (8)\n{filled(command.short)}"
        for command in commands()
    )
    others = ", ".join(f".BR {escaped(PROGRAM)}\\-{c.name} (8)" for c in commands())
    return _page(
        f"{PROGRAM}.8",
        f".SH NAME\n{escaped(PROGRAM)} \\- make programs of foreign architectures run",
        f".SH SYNOPSIS\n.B {escaped(PROGRAM)}\n.I COMMAND\n.RI [ OPTION ]... [ WORD ]...\n.br\n"
        f".B {escaped(PROGRAM)}\n.RB [ \\-\\-version | \\-\\-help ]",
        f".SH DESCRIPTION\n{filled(text)}",
        ".PP\nNothing is called good that has not run: a platform works when a tiny program\n"
        "of that architecture, a probe, was executed in an empty chroot.",
        f".SH COMMANDS\n{listed}",
        _exit_status(),
        *blocks(_read(f"{PROGRAM}.md")),
        _see_also(f"{PROGRAM}.8", [*others.split(", ")]),
    )


def _command_page(command: Command) -> str:
    name = f"{PROGRAM}-{command.name}"
    summary, _, rest = command.text.partition("\n\n")
    told = "".join(f"\n.PP\n{filled(part)}" for part in rest.split("\n\n") if part)
    short = command.short[:1].lower() + command.short[1:].rstrip(".")
    return _page(
        f"{name}.8",
        f".SH NAME\n{escaped(name)} \\- {inline(short)}",
        f".SH SYNOPSIS\n{_synopsis(command)}",
        f".SH DESCRIPTION\n{filled(summary)}{told}",
        *([f".SH OPERANDS\n{_described(command.operand)}"] if _says(command.operand) else []),
        ".SH OPTIONS\n" + "\n".join([*map(_described, command.options), _HELP]),
        ".SH EXIT STATUS\n" + _command_status(command),
        "\n".join([".SH EXAMPLES", *blocks(_examples()[command.name])]),
        _see_also(f"{name}.8", [f".BR {escaped(PROGRAM)} (8)"]),
    )


def _examples() -> dict[str, str]:
    """Examples by the name of their command."""
    parts = re.split(r"^# (.+)$", _read("commands.md"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _says(operand: Word | None) -> bool:
    return operand is not None and bool(operand.help)


def _synopsis(command: Command) -> str:
    words = f".B {escaped(f'{PROGRAM} {command.name}')}\n.RI [ OPTION ]..."
    operand = command.operand
    if operand is None:
        return words
    many = "..." if operand.many else ""
    name = operand.stands_for.strip("[].")
    dashes = "" if command.interspersed else "\n.RB [ \\-\\- ]"
    plain = f".RI [ {name} ]{many}" if operand.stands_for[0] == "[" else f".IR {name} {many}"
    return f"{words}{dashes}\n{plain.rstrip()}"


def _described(word: Word | None) -> str:
    """An option or operand: its names, what follows it, what it does, what it is without."""
    assert word is not None  # noqa: S101 - the caller has looked
    value = word.stands_for.strip("[].") if not word.choices else ""
    parts = [f"\\fB{escaped(name)}\\fP" for name in sorted(word.names, key=len)]
    named = ", ".join(parts)
    shown = "|".join(f"\\fB{escaped(c)}\\fP" for c in word.choices) or f"\\fI{escaped(value)}\\fP"
    tag = " ".join(part for part in (named, shown if word.stands_for else "") if part)
    default = f" [default: {word.default}]" if word.default else ""
    return f".TP\n{line(tag)}\n{filled(word.help + default)}"


_HELP = ".TP\n\\fB\\-h\\fP, \\fB\\-\\-help\\fP\nShow the options and exit."


def _exit_status() -> str:
    rows = (f".TP\n.B {code}\n{inline(text)}." for code, text in EXIT_STATUS.items())
    return ".SH EXIT STATUS\n" + "\n".join(
        [
            *rows,
            '.TP\n.BR 129 ", " 130 ", " 143\nended by SIGHUP, Ctrl\\-C, SIGTERM.',
            ".PP\nThe exit status is the answer, whatever becomes of the output.",
        ]
    )


def _command_status(command: Command) -> str:
    if command.interspersed:
        return f"As told in\n.BR {escaped(PROGRAM)} (8)."
    return (
        "That of the command; 126 when it cannot be executed, 127 when there is none.\n"
        f"When it was not started, as told in\n.BR {escaped(PROGRAM)} (8)."
    )


def _see_also(name: str, first: list[str]) -> str:
    rows = [*first, f".BR {escaped(PROGRAM)}\\-findings (7)"]
    rows += [f".BR {escaped(CONFIGURATION[:-2])} (5)"]
    rows += [".BR binfmt.d (5)", ".BR systemd\\-binfmt.service (8)"]
    kept = [row for row in rows if row != f".BR {escaped(name[:-2])} ({name[-1]})"]
    return ".SH SEE ALSO\n" + ",\n".join(kept)


# --- docs/commands.md ----------------------------------------------------------------------


def reference() -> str:
    """All commands with their options, as a document."""
    head = (
        "# Commands\n\n"
        "Written by `scripts/manual.py` out of what `--help` shows. Each has a manual page, too.\n"
        "What they print with `--format json` is told in [json.md](json.md)."
    )
    rows = (f"| {code} | {text} |" for code, text in EXIT_STATUS.items())
    ends = "| 129, 130, 143 | ended by SIGHUP, Ctrl-C, SIGTERM |"
    status = "\n".join(["| status | what it says |", "| --- | --- |", *rows, ends])
    parts = [head, *map(_told, commands()), f"## Exit status\n\n{status}"]
    return "\n\n".join(parts) + "\n"


def _told(command: Command) -> str:
    operand = command.operand.stands_for if command.operand else ""
    dashes = "" if command.interspersed else "[--] "
    usage = f"{PROGRAM} {command.name} [OPTION]... {dashes}{operand}".rstrip()
    parts = [f"## {command.name}", command.text, f"```\n{usage}\n```"]
    if rows := [_row(word) for word in command.options]:
        parts.append("\n".join(["| option | what it does |", "| --- | --- |", *rows]))
    return "\n\n".join([*parts, _examples()[command.name].strip()])


def _row(word: Word) -> str:
    value = "" if word.choices else f" {word.stands_for}".rstrip()
    names = ", ".join(f"`{name}{value}`" for name in sorted(word.names, key=len))
    choices = f" One of {', '.join(f'`{c}`' for c in word.choices)}." if word.choices else ""
    default = f" Default: `{word.default}`." if word.default else ""
    text = re.sub(r"  \[default: (.*)\]$", r" Default: `\1`.", word.help)
    return f"| {names} | {text}{choices}{default} |"


# --- the documents -------------------------------------------------------------------------


def _findings_page() -> str:
    intro, _, rest = _document("findings").partition("\n## ")
    engines = _document("engines").partition("\n## Findings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?:`([\w-]+)`)? \| (.*?) \| (.*?) \| (.*?) \| .* \|$",
                      _document("run"), re.MULTILINE)  # fmt: skip
    return _page(
        f"{PROGRAM}-findings.7",
        f".SH NAME\n{escaped(PROGRAM)}\\-findings \\- what {escaped(PROGRAM)} finds, by code",
        "\n".join([".SH DESCRIPTION", *blocks(_own(intro.partition("\n\n")[2]))]),
        *blocks(_own(f"## {rest}")),
        "\n".join([".SH CONTAINER ENGINES", *blocks(engines)]),
        "\n".join([".SH WHEN RUN CANNOT", *blocks("\n\n".join(_of_run(rows)))]),
        _see_also(f"{PROGRAM}-findings.7", [f".BR {escaped(PROGRAM)} (8)"]),
    )


def _configuration_page() -> str:
    """docs/configuration.md, whose table becomes a list of keys."""
    text = _document("configuration").partition("\n\n")[2]
    before, _, rest = text.partition("\n| key |")
    table, _, after = rest.partition("\n\n")
    rows = re.findall(r"^\| (`[\w-]+`) \| (.*?) \| (.*?) \| (.*?) \|$", table, re.MULTILINE)
    keys = (
        f"{key} = {kind}\n: {text}. On a command line: {line}." for key, kind, text, line in rows
    )
    return _page(
        CONFIGURATION,
        f".SH NAME\n{escaped(CONFIGURATION[:-2])} \\- what a host shall be able to run",
        "\n".join([".SH DESCRIPTION", *blocks(before)]),
        "\n".join([".SH KEYS", *blocks("\n\n".join(keys))]),
        "\n".join([".SH WHAT COUNTS", *blocks(after)]),
        f".SH FILES\n.I /etc/{escaped(CONFIGURATION[:-2])}",
        _see_also(CONFIGURATION, [f".BR {escaped(PROGRAM)} (8)"]),
    )


def _document(name: str) -> str:
    return (TOP / "docs" / f"{name}.md").read_text(encoding="utf-8")


def _own(text: str) -> str:
    """Without the paragraph that leads to other documents, whose codes this page has as well."""
    return re.sub(r"\n\n[^\n]*\]\(engines\.md\).*?(?=\n\n|\Z)", "", text, flags=re.DOTALL)


def _of_run(rows: list[tuple[str, str, str, str]]) -> Iterator[str]:
    """The table of causes in docs/run.md, a paragraph a row."""
    for code, cause, told, remedy in rows:
        head = [f"### {code}"] if code else []
        words = (f"**Cause:** {cause}.", f"**Detected:** {told}.", f"**Remedy:** {remedy}.")
        yield "\n".join([*head, *words])


if __name__ == "__main__":
    wanted = {place(name): text for name, text in pages().items()}
    for old in FOLDER.glob("man?/*"):
        if old not in wanted:
            old.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    REFERENCE.write_text(reference(), encoding="utf-8")
