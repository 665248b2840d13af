"""Runs inside a private user and mount namespace: registers, explains, and really executes.

Reads a scenario as JSON from standard input and prints what explain says beside what the
kernel does. See test_explain.py, which starts it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import signal
import sys
from pathlib import Path
from typing import TypedDict

from binfmt_setup.cli.app import run_command_line
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.system.syscalls import MS_NOEXEC, mount

CANNOT_MOUNT = 77


class Question(TypedDict):
    """A file to run, and the root directory to run it in."""

    file: str
    chroot: str


class Scenario(TypedDict):
    """Registrations oldest first, what to switch off, and what to ask."""

    register: list[str]
    disable: list[str]
    noexec: str
    hide: bool
    ask: list[Question]


def write(name: str, text: str) -> None:
    """One write(2) to a file of the registry."""
    descriptor = os.open(f"{BINFMT_MISC}/{name}", os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def execute(file: str, chroot: str) -> tuple[str, int, str]:
    """Run a file without a shell; the errno of execve, exit status and output."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if chroot:
                os.chroot(chroot)
                os.chdir("/")
            signal.alarm(20)  # outlives execve, so that nothing of this outlives the test
            for descriptor in (1, 2):
                os.dup2(write_end, descriptor)
            os.execve(file, [file, "one"], {})  # noqa: S606 - this is what is tested
        except OSError as error:
            os.write(write_end, f"\0{errno.errorcode[error.errno or 0]}".encode())
        os._exit(126)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        output = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(child, 0)
    said, failed, name = output.partition("\0")
    return name if failed else "", os.waitstatus_to_exitcode(status), said


def explained(file: str, chroot: str) -> tuple[int, object]:
    """What the command says, and its exit code."""
    arguments = ["explain", "--format", "json", *(["--chroot", chroot] if chroot else []), file]
    answer = io.StringIO()
    with contextlib.redirect_stdout(answer):
        code = run_command_line(arguments)
    return code, json.loads(answer.getvalue())


def main() -> int:
    """Set the scene and answer every question."""
    scenario: Scenario = json.load(sys.stdin)
    try:
        mount("binfmt_misc", BINFMT_MISC, "binfmt_misc")
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return CANNOT_MOUNT
    if scenario["noexec"]:
        mount("tmpfs", scenario["noexec"], "tmpfs", MS_NOEXEC)
        program = Path(scenario["noexec"], "program")
        program.write_bytes(Path("/bin/true").read_bytes())
        program.chmod(0o755)
    for line in scenario["register"]:
        write("register", line)
    for name in scenario["disable"]:
        write(name, "0")
    if scenario["hide"]:
        mount("tmpfs", BINFMT_MISC, "tmpfs")
    answers = []
    for question in scenario["ask"]:
        name, status, output = execute(question["file"], question["chroot"])
        inside = question["chroot"] + question["file"] if question["chroot"] else question["file"]
        code, document = explained(inside, question["chroot"])
        answers.append({"errno": name, "status": status, "output": output, "code": code,
                        "document": document})  # fmt: skip
    sys.stdout.write(json.dumps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
