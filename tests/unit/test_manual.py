"""The manual pages: made from what is declared and documented, and shown without a warning."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess

import pytest

import declared
import manual
import roff
from binfmt_setup.cli import app
from binfmt_setup.cli.answers import Answer
from binfmt_setup.cli.reader import read
from binfmt_setup.cli.table import COMMANDS
from binfmt_setup.model import wish_list
from binfmt_setup.model.errors import ExitCode
from binfmt_setup.model.wish_list import parse_wish_list
from binfmt_setup.report.style import _SIGNS
from tests.unit.test_catalogue import FACTS, error_codes

pytestmark = pytest.mark.one_python

PAGES = manual.pages()
PLAIN = {"PATH": os.environ["PATH"], "LC_ALL": "C"}


def shown(name: str) -> str:
    """A page as one reads it, without emphasis and line breaks."""
    mandoc = ["mandoc", "-Tutf8", "-O", "width=200", str(manual.place(name))]
    done = subprocess.run(mandoc, capture_output=True, text=True, check=True)
    return re.sub(".\b", "", done.stdout)


def options_of(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))


def test_the_pages_are_those_of_the_sources() -> None:
    found = {path.name: path.read_text() for path in manual.FOLDER.glob("man?/*")}
    assert found == PAGES, "run scripts/manual.py"
    assert manual.REFERENCE.read_text() == manual.reference(), "run scripts/manual.py"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_page_has_the_options_of_help_and_no_others(command: str) -> None:
    answer = app.read([command, "--help"])
    assert isinstance(answer, Answer)
    text = shown(f"binfmt-setup-{command}.8")
    help_options = options_of(answer.text.partition("Options:\n")[2])
    page_options = options_of(text.partition("OPTIONS")[2].partition("EXIT STATUS")[0])
    assert help_options <= page_options
    assert page_options - help_options <= options_of(answer.text)
    assert f"binfmt-setup-{command}(8)" in shown("binfmt-setup.8")


def test_every_code_is_in_the_page_of_findings() -> None:
    text = shown("binfmt-setup-findings.7")
    codes = {kind.code for kind in FACTS} | error_codes()
    assert sorted(code for code in codes if not re.search(rf"(?<![\w-]){code}\b", text)) == []


def test_every_key_of_the_wish_list_is_told() -> None:
    text = shown("binfmt-setup.toml.5")
    keys = text.partition("KEYS")[2].partition("WHAT COUNTS")[0]
    assert set(re.findall(r"^ +([a-z0-9-]+) = ", keys, re.MULTILINE)) == set(wish_list._EXAMPLES)
    example = "".join(
        f"{line}\n" for line in text.partition("KEYS")[0].splitlines() if " = " in line
    )
    assert parse_wish_list(example, "the page").platforms == ("linux/arm64", "linux/riscv64")


def test_every_exit_status_is_told() -> None:
    every = {code for name, code in vars(ExitCode).items() if name.isupper()}
    own = every - {ExitCode.NOT_EXECUTABLE, ExitCode.NOT_FOUND}
    assert set(manual.EXIT_STATUS) == own
    epilog = declared.program_text()[1]
    assert [code for code in own if f"{code} " not in epilog] == []


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_and_groff_have_nothing_to_say(name: str) -> None:
    for tool in (
        ["mandoc", "-Tlint", "-Wall"],
        ["groff", "-ww", "-man", "-Tutf8", "-Kutf8", "-b", "-z"],
        # In the locale C, which has no more than ASCII.
        ["man", "--warnings=w", "--local-file"],
    ):
        if not shutil.which(tool[0]):
            pytest.skip(f"{tool[0]} is not installed")
        path = str(manual.place(name))
        done = subprocess.run([*tool, path], capture_output=True, text=True, check=False, env=PLAIN)
        said = done.stderr if tool[0] == "man" else done.stdout + done.stderr
        assert (done.returncode, said) == (0, "")


def test_every_example_is_a_line_that_is_understood() -> None:
    text = "".join(
        (manual.SOURCES / name).read_text() for name in ("binfmt-setup.md", "commands.md")
    )
    lines = re.findall(r"^binfmt-setup .*$", text, re.MULTILINE)
    assert {line.split()[1] for line in lines} == set(COMMANDS)
    assert [line for line in lines if read(shlex.split(line)[1:], COMMANDS) is None] == []


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        (".hidden 'quoted'\n'first", "\\&.hidden \\(aqquoted\\(aq \\(aqfirst"),
        ("a `--b \\n` and **c-d**", "a \\fB\\-\\-b \\en\\fP and \\fBc\\-d\\fP"),
        ("a [link](page.md) → é", "a link \\[u2192] \\[u00E9]"),
        ("…", "\\&..."),
    ],
)
def test_words_are_shown_as_they_are(markdown: str, words: str) -> None:
    assert list(roff.blocks(markdown)) == [f".PP\n{words}"]


def test_every_sign_that_answers_begin_with_is_shown_where_there_is_ascii_alone() -> None:
    page = roff.page(".TH A 1 2020-01-01", ".SH NAME", *roff.blocks("…".join(_SIGNS.values())))
    done = subprocess.run(["groff", "-ww", "-man", "-Tascii", "-P-cbou"], input=page, text=True,
                          capture_output=True, check=False, env=PLAIN)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "+...x...!...-...->" in done.stdout


def test_a_table_is_refused_rather_than_mangled() -> None:
    with pytest.raises(ValueError, match="table"):
        list(roff.blocks("| a | b |"))
