"""What an interpreter can do while a probe runs under it: nothing, and not for long.

Each test registers a program of its own as the emulator of arm64, pinned, and writable by all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from binfmt_setup.system.probes import prove_candidates
from tests.own_namespace import folder_for_everybody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandbox.conftest import Sandbox

READ_ONLY = (
    ("status",), ("check", "linux/arm64"), ("check", "linux/arm64", "--format", "json"),
    ("install", "linux/arm64", "--check", "--private", "--no-persist"),
)  # fmt: skip
REPORT = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
extern char **environ;
int main(void) {
    int caps = 0, descriptors = 0, blocked = 0, ignored = 0;
    for (int cap = 0; cap < 64; cap++) caps += prctl(PR_CAPBSET_READ, cap) == 1;
    unsigned header[2] = {0x20080522, 0}, data[6] = {0};
    syscall(SYS_capget, header, data);
    for (int fd = 3; fd < 4096; fd++) descriptors += fcntl(fd, F_GETFD) >= 0;
    sigset_t set; sigprocmask(SIG_SETMASK, 0, &set);
    for (int s = 1; s < 32; s++) {
        struct sigaction act;
        blocked += sigismember(&set, s) == 1;
        if (!sigaction(s, 0, &act)) ignored += act.sa_handler == SIG_IGN;
    }
    struct rlimit core, size;
    getrlimit(RLIMIT_CORE, &core); getrlimit(RLIMIT_FSIZE, &size);
    printf("binfmt-probe target=aarch64 uid=%d gid=%d groups=%d caps=%d effective=%u nnp=%d "
           "pid_small=%d fds=%d environment=%d blocked=%d ignored=%d core=%d size=%d userns=%d "
           "above=%d kill=%d argc=2 argv0=x\n",
           getuid(), getgid(), getgroups(0, 0), caps, data[0] | data[1] | data[3] | data[4],
           prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), getpid() < 100, descriptors, environ[0] != 0,
           blocked, ignored, (int)core.rlim_max, (int)size.rlim_max,
           unshare(CLONE_NEWUSER) == 0, chroot("..") == 0, kill(-1, 0) == 0);
    return 0;
}
"""
BODIES = {
    "closes its output and stays": "close(1); close(2); for (;;) pause();",
    "stops itself": "raise(19); for (;;) pause();",
    "ignores what it can": "for (int s = 1; s < 65; s++) signal(s, (void *)1); for (;;) pause();",
    "leaves a daemon": "if (!fork()) { setsid(); if (!fork()) for (;;) pause(); _exit(0); }"
                       " for (;;) pause();",
    "is a fork bomb": "for (;;) fork();",
}  # fmt: skip
HEADERS = "#include <signal.h>\n#include <stdlib.h>\n#include <unistd.h>\n"


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a path that everybody can go."""
    with folder_for_everybody() as folder:
        yield folder


def compiled(place: Path, source: str) -> Path:
    """A program of everybody's."""
    (place / "source.c").write_text(source)
    emulator = place / "qemu-aarch64-static"
    command = ["gcc", "-static", "-o", str(emulator), str(place / "source.c")]
    subprocess.run(command, check=True)
    emulator.chmod(0o777)
    return emulator


def planted(registry: Sandbox, place: Path, source: str) -> Path:
    """The same as the pinned emulator of arm64."""
    emulator = compiled(place, source)
    target = target_named("aarch64")
    registry.register(Registration("qemu-aarch64", str(emulator), "F", target.magic, target.mask))
    return emulator


def probed(registry: Sandbox, before: tuple[str, ...] = (), **how: float) -> dict[str, object]:
    """What running the probe came to, as its record's fields."""
    code = (
        "import json, sys\n"
        "from binfmt_setup.system.probes import run_probes\n"
        "(found,) = run_probes(['aarch64'], **json.loads(sys.argv[1])).values()\n"
        "print(json.dumps(dict(vars(found), why=found.why())))"
    )
    done = registry.run(*before, sys.executable, "-c", code, json.dumps(how))
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


def running(emulator: Path) -> list[int]:
    """The processes, of any namespace, whose program is this one."""
    found, wanted = [], emulator.stat().st_ino
    for link in Path("/proc").glob("[0-9]*/exe"):
        try:
            if link.stat().st_ino == wanted:
                found.append(int(link.parent.name))
        except OSError:
            continue
    return found


def test_an_interpreter_has_no_right_and_nothing_of_the_callers(
    registry: Sandbox, place: Path
) -> None:
    planted(registry, place, REPORT)
    read, write = os.pipe()
    os.set_inheritable(write, True)  # noqa: FBT003 - its one argument
    try:
        found = probed(registry)
    finally:
        os.close(read)
        os.close(write)
    said = found["fields"]
    assert isinstance(said, dict)
    number = said.pop("uid")
    assert number == said.pop("gid") != "0"
    groups = int(said.pop("groups"))
    assert groups <= len(os.getgroups())
    wanted = {
        "caps": "0", "effective": "0", "nnp": "1", "pid_small": "1", "fds": "0",
        "environment": "0", "blocked": "0", "ignored": "0", "core": "0", "size": "0",
        "userns": "0", "above": "0",
    }  # fmt: skip
    assert {key: said[key] for key in wanted} == wanted


def test_the_report_says_what_was_had(registry: Sandbox, place: Path) -> None:
    planted(registry, place, REPORT)
    host = registry.json("check", "linux/arm64")["host"]  # it says what a probe says
    assert isinstance(host, dict)
    had = set(host["isolation"])
    assert {"pid", "net", "ipc", "chroot", "no-capabilities", "no-new-privileges", "limits"} <= had


KEYS = """
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
int main(void) {
    int keys[64] = {0}, found = 0;
    char text[64];
    long size = syscall(SYS_keyctl, 11, -3, keys, sizeof keys);  /* KEYCTL_READ, the session's */
    for (int at = 0; at < size / (int)sizeof(int) && at < 64; at++) {
        long length = syscall(SYS_keyctl, 11, keys[at], text, sizeof text);
        found += length == 6 && !memcmp(text, "secret", 6);
    }
    printf("binfmt-probe target=aarch64 keys=%d argc=2 argv0=x\\n", found);
    return 0;
}
"""
WITH_A_KEY = """
#include <string.h>
#include <sys/syscall.h>
int main(int count, char **arguments) {
    syscall(SYS_keyctl, 1, 0);  /* KEYCTL_JOIN_SESSION_KEYRING */
    if (syscall(SYS_add_key, "user", "ours", "secret", 6, -3) < 0) return 9;
    return execvp(arguments[1], arguments + 1);
}
"""


REFUSING = r"""
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
int main(int count, char **arguments) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_keyctl, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) return 9;
    return execvp(arguments[1], arguments + 1);
}
"""


def test_who_may_have_no_keyring_has_probes_all_the_same(registry: Sandbox, place: Path) -> None:
    """As Docker's and systemd-nspawn's containers, whose filters refuse keyctl."""
    holder = compiled(place, HEADERS + REFUSING).rename(place / "holder")
    planted(registry, place, REPORT)
    found = probed(registry, before=(str(holder),))
    assert found["exit_status"] == 0
    assert found["fields"]


def test_an_interpreter_cannot_read_the_keys_of_the_callers_session(
    registry: Sandbox, place: Path
) -> None:
    """Whoever has a session's keyring has its keys, whatever user he becomes (keyrings(7))."""
    holder = compiled(place, HEADERS + WITH_A_KEY).rename(place / "holder")
    planted(registry, place, HEADERS + KEYS)
    found = probed(registry, before=(str(holder),))
    said = found["fields"]
    assert isinstance(said, dict)
    assert said["keys"] == "0"


FORKS = 600  # more than the limit, and few enough for a machine where there is none
COUNTS = """
#include <stdio.h>
int main(void) {
    int forks = 0;
    while (forks < %d) {
        int child = fork();
        if (child < 0) break;
        if (!child) { pause(); _exit(0); }
        forks++;
    }
    printf("binfmt-probe target=aarch64 forks=%%d argc=2 argv0=x\\n", forks);
    return 0;
}
"""


def test_root_of_the_host_under_another_name_is_bound_as_well(
    registry: Sandbox, place: Path
) -> None:
    """RLIMIT_NPROC does not bind him; since Linux 6.14 a pid namespace has a limit of its own."""
    planted(registry, place, HEADERS + COUNTS % FORKS)
    found = probed(registry)
    said, had = found["fields"], found["isolation"]
    assert isinstance(said, dict)
    assert isinstance(had, list)
    release = tuple(int(word) for word in os.uname().release.split(".")[:2])
    assert ("tasks" in had) is (release >= (6, 14))
    if "tasks" in had:
        assert int(said["forks"]) < 400
    assert Path("/proc/sys/kernel/pid_max").read_text() == PID_MAX


PID_MAX = Path("/proc/sys/kernel/pid_max").read_text()


@pytest.mark.parametrize("command", READ_ONLY, ids=" ".join)
def test_no_command_that_reads_runs_what_others_can_write(
    registry: Sandbox, place: Path, command: tuple[str, ...]
) -> None:
    """The emulator writes down who it is run as; only the sandbox lets it run, and not write."""
    record = place / "record"
    source = (
        '#include <stdio.h>\nint main(void) { FILE *f = fopen("%s", "a");\n'
        ' if (f) { fprintf(f, "ran\\n"); fclose(f); } puts("x version 7.2.0"); return 0; }\n'
    )
    planted(registry, place, source % record)
    place.chmod(0o777)
    registry.tool(*command)
    assert not record.exists()


@pytest.mark.parametrize("what", BODIES)
def test_what_does_not_end_is_ended_with_all_it_started(tmp_path: Path, what: str) -> None:
    """Started directly: so it is nobody here, as it is for root everywhere."""
    emulator = compiled(tmp_path, f"{HEADERS}int main(void) {{ {BODIES[what]} }}\n")
    start = time.monotonic()
    found = prove_candidates({"aarch64": str(emulator)}, seconds=2.0)["aarch64"]
    assert time.monotonic() - start < 30
    assert found.timed_out
    assert found.hung
    assert running(emulator) == []


def test_what_is_interrupted_leaves_nothing(registry: Sandbox, place: Path) -> None:
    body = BODIES["leaves a daemon"]
    emulator = planted(registry, place, f"{HEADERS}int main(void) {{ {body} }}\n")
    for number in (2, 9, 15):
        argv = [*registry.inside, sys.executable, "-m", "binfmt_setup", "check", "linux/arm64"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as check:
            end = time.monotonic() + 30
            while not running(emulator) and time.monotonic() < end:
                time.sleep(0.01)
            assert running(emulator)
            check.send_signal(number)
            check.wait(30)
        end = time.monotonic() + 10
        while running(emulator) and time.monotonic() < end:
            time.sleep(0.01)
        assert running(emulator) == []


def test_who_may_have_no_namespaces_is_told_so_and_gets_the_rest(
    registry: Sandbox, emulators: Path
) -> None:
    """An ordinary user in a namespace that allows no further ones: nothing can be isolated."""
    registry.json("install", "--private", "--no-persist", "--qemu", str(emulators), "arm64")
    registry.sh("echo 0 > /proc/sys/user/max_user_namespaces")
    tool = f"setpriv --bounding-set=-all --inh-caps=-all {sys.executable} -m binfmt_setup"
    check, status, install = (
        json.loads(registry.sh(f"{tool} {words} --format json").stdout)
        for words in (
            "check linux/arm64",
            "status",
            "install linux/arm64 --check --private --no-persist",
        )
    )
    # What cannot be mounted is told, as the real run tells it.
    real = registry.sh(f"{tool} install linux/arm64 --private --no-persist --format json")
    assert [data["exit_code"] for data in (check, status, install)] == [1, 0, 4]
    assert install["errors"] == json.loads(real.stdout)["errors"]
    assert [row["name"] for row in status["entries"]] == ["qemu-aarch64"]
    for data in (check, status):
        (row,) = data["platforms"]
        assert [finding["code"] for finding in row["findings"]] == ["not-probed"]
    assert [data["host"]["isolation"] for data in (check, status, install)] == [[], [], []]


@pytest.mark.parametrize(
    ("limit", "status", "word"),
    [("ulimit -n 6", 4, "ulimit -n"), ("ulimit -v 3000000", 1, "ulimit -v"),
     ("trap '' CHLD", 0, "works"), ("ulimit -n 64", 0, "works")],
)  # fmt: skip
def test_the_callers_own_limit_is_named(
    registry: Sandbox, limit: str, status: int, word: str
) -> None:
    install = registry.tool("install", "linux/arm/v7", "--private", "--no-persist")
    assert install.returncode == 0, install.stderr
    start = time.monotonic()
    done = registry.sh(f"{limit}; {sys.executable} -m binfmt_setup check linux/arm/v7")
    assert time.monotonic() - start < 15
    assert done.returncode == status, done.stdout + done.stderr
    assert word in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "as root" not in done.stdout + done.stderr
