"""`run` on the real kernel, as an ordinary user: what it passes on, and what it leaves alone."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from binfmt_setup.model.targets import container_platforms
from tests.own_namespace import (
    CLI,
    PROBES,
    TOP,
    as_user,
    by_user,
    in_namespace,
    python_in_namespace,
    run,
    unmeasured,
)

REGISTRY = Path("/proc/sys/fs/binfmt_misc")
ARM64 = PROBES / "aarch64"
RUN = (*CLI, "run")
NOBODY = 4242
NATIVE = os.uname().machine

needs_foreign_arm64 = pytest.mark.skipif(NATIVE == "aarch64", reason="arm64 is native here")


# -- what runs ------------------------------------------------------------------------------


@needs_foreign_arm64
def test_a_foreign_program() -> None:
    done = by_user(ARM64)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("binfmt-probe target=aarch64 machine=aarch64 argc=1 ")
    assert not done.stderr


@needs_foreign_arm64
def test_the_platform_comes_from_the_programs_own_header() -> None:
    done = by_user("-v", ARM64)
    assert re.findall(r"registered (\S+):", done.stderr) == ["qemu-aarch64"]


def test_a_script_that_calls_programs_of_every_container_platform() -> None:
    probes = [platform.probe for platform in container_platforms()]
    script = "; ".join(f"{PROBES / probe} </dev/null || echo failed {probe}" for probe in probes)
    done = by_user("--", "sh", "-c", script)
    assert re.findall(r"target=(\S+)", done.stdout) == probes, done.stdout + done.stderr


def test_named_platforms_alone() -> None:
    done = by_user("-P", "riscv64,s390x", "--platform=ppc64el", "--", "ls", REGISTRY)
    names = {"qemu-riscv64", "qemu-s390x", "qemu-ppc64le", "register", "status"}
    assert set(done.stdout.split()) == names, done.stderr
    (missing,) = [by_user("-P", "riscv64", "--", PROBES / "s390x")]
    assert missing.returncode == 126
    assert "--platform" in missing.stderr


def test_what_the_kernel_runs_itself_is_not_registered() -> None:
    done = by_user("-v", "-P", NATIVE, "--", "ls", REGISTRY)
    assert done.stdout.split() == ["register", "status"], done.stderr


@pytest.mark.skipif(NATIVE != "x86_64", reason="i386 is a relative of amd64 alone")
def test_a_relative_is_registered_only_where_the_kernel_does_not_run_it() -> None:
    done = by_user("-v", "-P", "i386", "--", PROBES / "i386")
    alone = run([PROBES / "i386"]) if runs(PROBES / "i386") else None
    assert ("registered qemu-i386" in done.stderr) == (alone is None)
    assert "target=i386" in done.stdout


def runs(program: Path) -> bool:
    """Whether the kernel runs a program; this machine has no entries that could help."""
    try:
        return run([program]).returncode == 0
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return False


@needs_foreign_arm64
def test_a_directory_of_emulators() -> None:
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    assert emulator
    done = by_user("-v", "--qemu", Path(emulator).parent, "--", ARM64)
    assert done.returncode == 0, done.stderr
    assert f"qemu-aarch64: {emulator}" in done.stderr
    # QEMU 6.0 and newer is told to keep argv[0], which needs its version.
    assert done.stdout.rstrip().endswith(f"argv0={ARM64}")


def test_no_emulator(tmp_path: Path) -> None:
    done = by_user("--qemu", tmp_path, "-P", "arm64", "-P", "riscv64", "--", "true")
    assert done.returncode == 5
    assert "no usable emulator" in done.stderr


@needs_foreign_arm64
def test_a_run_within_a_run() -> None:
    for outer in ([], ["--map-root"]):
        done = by_user(*outer, "-P", "riscv64", "--", *RUN, "-v", "--", ARM64)
        assert done.returncode == 0, done.stderr
        assert "target=aarch64" in done.stdout


@needs_foreign_arm64
def test_chroot_as_root_of_the_namespace(tmp_path: Path) -> None:
    shutil.copy(ARM64, tmp_path / "init")
    done = by_user("--map-root", "-P", "arm64", "--", "chroot", tmp_path, "/init")
    assert done.returncode == 0, done.stderr
    assert "argv0=/init" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"init"}


# -- what is passed on ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 4, 70, 255])
def test_exit_status(status: int) -> None:
    assert by_user("-P", "arm64", "--", "sh", "-c", f"exit {status}").returncode == status


def test_the_commands_death_by_a_signal_is_seen_as_such() -> None:
    assert by_user("-P", "arm64", "--", "sh", "-c", "kill -USR1 $$").returncode == -signal.SIGUSR1


@pytest.mark.parametrize(
    ("command", "status", "word"),
    [
        ("no-such-command", 127, "not found"),
        ("/no/such/command", 127, "not found"),
        ("/etc/passwd", 126, "may not be executed"),
        ("/etc", 126, "may not be executed"),
    ],
)
def test_as_a_shell_where_the_command_cannot_be_started(
    command: str, status: int, word: str
) -> None:
    done = by_user("--", command)
    assert done.returncode == status
    assert word in done.stderr
    assert not done.stdout


def test_scripts(tmp_path: Path) -> None:
    script = tmp_path / "script"
    for first, status in (("#!/bin/sh\n", 3), ("", 3), ("#!/no/such/shell\n", 127)):
        script.write_text(first + "exit $1\n")
        script.chmod(0o755)
        done = by_user("-P", "arm64", "--", script, "3")
        assert done.returncode == status, (first, done.stderr)
    script.write_bytes(b"\0\0garbage")
    assert by_user("-P", "arm64", "--", script).returncode == 126


def test_the_process_becomes_the_command() -> None:
    with subprocess.Popen(
        as_user([*RUN, "-P", "arm64", "--", "sh", "-c", "echo $$ $PPID; read line"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline().split() == [str(process.pid), str(os.getpid())]
        assert Path(f"/proc/{process.pid}/comm").read_text() == "sh\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        assert children == ""
        process.communicate("\n")


def test_signals_reach_the_command() -> None:
    script = "trap 'echo got it; exit 9' INT; echo ready; read line; echo $line"
    with subprocess.Popen(
        as_user([*RUN, "-P", "arm64", "--", "sh", "-c", script]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TOP,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "got it\n"
        assert process.wait() == 9


def test_signals_have_the_effect_they_had(tmp_path: Path) -> None:
    # Python ignores SIGPIPE for itself; `yes` must not inherit that.
    ignored = by_user("-P", "arm64", "--", "grep", "SigIgn", "/proc/self/status").stdout
    assert int(ignored.split()[1], 16) & 1 << (signal.SIGPIPE - 1) == 0
    (tmp_path / "words").write_text("x\n" * 100_000)
    command = " ".join(as_user([*RUN, "-P", "arm64", "--", "cat", tmp_path / "words"]))
    done = run(["bash", "-c", f"{command} | head -n1; echo ${{PIPESTATUS[0]}}"])
    assert done.stdout == f"x\n{128 + signal.SIGPIPE}\n", done.stderr


def test_standard_input_and_open_descriptors() -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run(
            as_user([*RUN, "-P", "arm64", "--", "bash", "-c", f"cat; echo more >&{writer}"]),
            input="through\n", capture_output=True, text=True, check=True, cwd=TOP,
            pass_fds=[writer],
        )  # fmt: skip
        assert done.stdout == "through\n"
        assert os.read(reader, 100) == b"more\n"
    finally:
        os.close(reader)
        os.close(writer)


def test_the_environment_is_the_callers() -> None:
    given = {"PATH": os.environ["PATH"], "A": "1", "LC_ALL": "", "QEMU_X": "y z", "LANG": "C"}
    done = run(as_user([*RUN, "-P", "arm64", "--", "env", "-0"]), given)
    assert set(done.stdout.split("\0")) - {""} == {f"{key}={value}" for key, value in given.items()}


def test_the_terminal() -> None:
    script = "test -t 0 && test -t 1 && stty size && read line && echo got $line && tty"
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(TOP)
        command = as_user([*RUN, "-P", "arm64", "--", "sh", "-c", f"stty rows 33; {script}"])
        os.execvp(command[0], command)  # noqa: S606 - a shell would be in the way
    os.write(terminal, b"words\n")
    said = read_all(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said
    assert re.search(r"33 \d+\r\n", said)
    assert "got words\r\n/dev/pts/" in said


def test_an_interrupt_from_the_terminal() -> None:
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(TOP)
        command = as_user([*RUN, "-P", "arm64", "--", "sh", "-c", "echo ready; exec sleep 60"])
        os.execvp(command[0], command)  # noqa: S606 - a shell would be in the way
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 100)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGINT


def read_all(terminal: int) -> str:
    """What a terminal shows until nobody holds its other side (EIO)."""
    said = b""
    try:
        while chunk := os.read(terminal, 4096):
            said += chunk
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    finally:
        os.close(terminal)
    return said.decode()


# -- what is left alone ---------------------------------------------------------------------


def test_killed_at_any_moment_it_leaves_the_outer_registry_as_it_was() -> None:
    # The namespace plays the host; its registry belongs to the very user that is killed.
    code = """
import json, os, signal, subprocess, sys, time
registry = "/proc/sys/fs/binfmt_misc"
with open(registry + "/register", "w") as file:
    file.write(":jar:E::jar::/bin/true:")
def state():
    return {name: open(f"{registry}/{name}").read() for name in os.listdir(registry)
            if name != "register"}
before, killed, finished = state(), 0, 0
for number in range(25):
    process = subprocess.Popen(json.loads(sys.argv[1]), start_new_session=True)
    time.sleep(number * 0.008)
    process.send_signal(signal.SIGKILL)
    killed += process.wait() == -signal.SIGKILL
    finished += process.returncode == 0
    assert state() == before, state()
print(killed, finished)
"""
    command = as_user([*RUN, "-P", "arm64", "--", "true"])
    killed, finished = map(
        int, python_in_namespace(code, json.dumps(command), environment=unmeasured()).split()
    )
    assert killed + finished == 25
    assert killed > 3


def test_the_outer_registry_does_not_show_inside() -> None:
    shell = f"echo ':jar:E::jar::/bin/true:' > {REGISTRY}/register && exec \"$@\""
    done = in_namespace(
        ["sh", "-c", shell, "sh", *as_user([*RUN, "-P", "arm64", "--", "ls", REGISTRY])]
    )
    assert set(done.stdout.split()) == {"qemu-aarch64", "register", "status"}, done.stderr


def test_root_with_all_ids_does_not_touch_the_registry_it_could_edit() -> None:
    shell = f"echo ':jar:E::jar::/bin/true:' > {REGISTRY}/register && \"$@\" && ls {REGISTRY}"
    done = in_namespace(["sh", "-c", shell, "sh", *RUN, "-P", "arm64", "--", "ls", REGISTRY])
    inside, _, outside = done.stdout.partition("status\n")
    assert inside.split() == ["qemu-aarch64", "register"], done.stderr
    assert outside.split() == ["jar", "register", "status"]


def test_what_is_mounted_outside_later_is_seen_inside(tmp_path: Path) -> None:
    code = """
import json, subprocess, sys
where = sys.argv[2]
subprocess.run(["mount", "--make-rshared", "/"], check=True)
process = subprocess.Popen(json.loads(sys.argv[1]), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(process.stdout.readline().decode(), end="")
subprocess.run(["mount", "-t", "tmpfs", "none", where], check=True)
open(where + "/late", "w").close()
print(process.communicate(b"go on")[0].decode(), end="")
"""
    script = f"echo ready; read line; ls {tmp_path}"
    command = as_user([*RUN, "-P", "arm64", "--", "sh", "-c", script])
    assert python_in_namespace(code, json.dumps(command), tmp_path) == "ready\nlate\n"


def test_many_runs_leave_nothing_behind() -> None:
    done = run([sys.executable, TOP / "scripts" / "soak-run", "--runs=48", "--at-once=32"])
    assert done.returncode == 0, done.stdout + done.stderr


def test_start_needs_no_library() -> None:
    code = "import sys; from binfmt_setup import run, snapshot, plan; print(*sys.modules)"
    loaded = set(run([sys.executable, "-c", code], unmeasured()).stdout.split())
    assert not loaded & {"typer", "elftools", "jinja2", "rich", "json", "argparse"}
