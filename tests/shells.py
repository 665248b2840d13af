"""What real interactive shells complete a line with: they are typed to, on a terminal.

As a program: `python -m tests.shells SHELL LINE…` prints a JSON list for each line.
"""

from __future__ import annotations

import json
import os
import pty
import select
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

COMPLETIONS = Path(__file__).parents[1] / "binfmt_setup" / "data" / "completion"
_SECONDS = 240  # for a shell that hangs; an emulated zsh takes half a minute to start
# Each inserts all that fits into the line; then the line becomes the arguments of `words`.
_BASH = r"""
bind 'set enable-bracketed-paste off'
bind '"\C-t": insert-completions'
words() { shift; printf '<%s>' "$@"; echo '<end'">"; }
"""
_ZSH = r"""
autoload -U compinit && compinit -u -D
zle -C all complete-word _generic && bindkey '^T' all && bindkey -e '^T' all
zstyle ':completion:all:*' completer _all_matches _complete
zstyle ':completion:all:*' insert true
unsetopt zle_bracketed_paste prompt_cr; unset zle_bracketed_paste
words() { shift; printf '<%s>' "$@"; echo '<end'">" }
"""


def completed(shell: str, lines: list[str], folder: Path, *, library: bool = True) -> list[str]:
    """What each line comes to when it is completed: for each, the words that are there then.

    With `library` bash has the functions of the package bash-completion, as at a login.
    """
    if shell == "fish":
        return [_fish(line, folder) for line in lines]
    if shell == "bash":
        library_file = "/usr/share/bash-completion/bash_completion"
        setup = f"source {library_file}\n" * library + _BASH
        command = ["bash", "--norc", "--noprofile", "-i"]
    else:
        setup, command = _ZSH, ["zsh", "-f", "-i"]
    setup += f"source {COMPLETIONS / shell}\nPS1=; PROMPT=; echo 'rea'dy\n"
    (folder / "setup").write_text(setup, encoding="utf-8")
    with Terminal(command, folder) as terminal:
        terminal.type(f"source {shlex.quote(str(folder / 'setup'))}\n")
        terminal.until("ready")
        return [terminal.completed(line) for line in lines]


def _fish(line: str, folder: Path) -> str:
    script = f"source {COMPLETIONS / 'fish'}; complete -C $argv[1]"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script, line], capture_output=True, text=True, check=True,
        timeout=_SECONDS, cwd=folder, env={"HOME": str(folder), "PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.stderr == ""
    words = [row.partition("\t")[0] for row in done.stdout.splitlines()]
    return "".join(f"<{word}>" for word in words)


class Terminal:
    """An interactive shell, and what it has written."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self.process, self.descriptor = pty.fork()
        if not self.process:
            os.chdir(folder)
            kept = {"PATH": os.environ["PATH"], "HOME": str(folder), "TERM": "dumb",
                    "LC_ALL": "C.UTF-8", "COLUMNS": "10000"}  # fmt: skip
            os.execvpe(command[0], command, kept)  # noqa: S606 - a shell of this machine
        self.written = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)  # it hangs up
        os.waitpid(self.process, 0)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def until(self, words: str) -> str:
        """All that was written up to some words; fails when they do not come."""
        end = time.monotonic() + _SECONDS
        while words not in self.written:
            assert select.select([self.descriptor], [], [], end - time.monotonic())[0], self.written
            self.written += os.read(self.descriptor, 65536).decode(errors="replace")
        said, _, self.written = self.written.partition(words)
        return said

    def completed(self, line: str) -> str:
        """The words that a line has once all that completes it was inserted."""
        # C-a goes to its begin; the line is not carried out, but printed.
        self.type(f"{line}\x14\x01words \n")
        return self.until("<end>").rpartition("\n")[2].lstrip("\r")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.stdout.write(json.dumps(completed(sys.argv[1], sys.argv[2:], Path(place))))
