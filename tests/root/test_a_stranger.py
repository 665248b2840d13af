"""What somebody with an account here tries on root, who runs this tool: on the real kernel.

One test for each kind of attack, with the ways that are the same in other clothes.
"""

from __future__ import annotations

import base64
import json
import shlex
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named
from tests.many_users import PYTHON, REGISTRY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.many_users import ManyUsers

ARM64 = target_named("aarch64")
QEMU = "/usr/bin/qemu-aarch64-static"
HERE = ("--private", "--no-persist")
THIEF = r"""
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
const char version[] = "qemu-aarch64 version 7.2.0 (a test)\n";
int main(void) {
    int file = open("/mnt/theirs/ran", O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (file >= 0) dprintf(file, "as %d\n", geteuid());
    return puts(version) < 0;
}
"""


@pytest.fixture(scope="module")
def thief(for_everybody: Path) -> str:
    """A static program that passes for an emulator, and writes down whose rights it has."""
    (for_everybody / "thief.c").write_text(THIEF)
    argv = ["gcc", "-static", "-o", "thief", "thief.c"]
    subprocess.run(argv, cwd=for_everybody, check=True)
    (for_everybody / "thief").chmod(0o755)
    return str(for_everybody / "thief")


def entry(interpreter: str, flags: str, name: str = ARM64.entry_name) -> Registration:
    return Registration(name, interpreter, flags, ARM64.magic, ARM64.mask)


def register(users: ManyUsers, registration: Registration) -> None:
    """As another tool of root's would do it."""
    users.prepared(root=f"printf '%s' {shlex.quote(registration.line)} >{REGISTRY}/register")


# -- programs of theirs ------------------------------------------------------------------


def test_no_command_runs_what_a_stranger_can_change(users: ManyUsers, thief: str) -> None:
    """He puts his program where root's emulator was; root pinned it, or is about to."""
    users.prepared(
        root="mkdir /mnt/theirs/d && chown 1000 /mnt/theirs/d",
        stranger=f"cp {thief} /mnt/theirs/d/qemu-aarch64-static",
    )
    register(users, entry("/mnt/theirs/d/qemu-aarch64-static", "POF"))
    users.prepared(stranger=f"cd /mnt/theirs/d; cp {thief} x; mv x qemu-aarch64-static")
    own = ("--qemu", "/mnt/theirs/d", "arm64")
    for words in (
        ("status",), ("check", "arm64"), ("check", "arm64", "--format=json"),
        ("check", "--security"), ("unit", *own), ("install", "--check", *own, *HERE),
        ("install", *own, *HERE), ("install", *own, "--take-over", *HERE),
        ("explain", "/mnt/theirs/d/qemu-aarch64-static"), ("uninstall", *HERE[:1]),
    ):  # fmt: skip
        users.tool(*words)
        assert users.root("cat", "/mnt/theirs/ran").stdout == "", words


def test_nothing_is_run_from_where_a_stranger_put_it_for_root_to_find(users: ManyUsers) -> None:
    """Root stands in his folder, or has one in PATH that he can write to."""
    users.prepared(
        stranger="""
        mkdir /mnt/theirs/cwd /mnt/theirs/bin
        printf 'open("/mnt/theirs/ran", "w")' >/mnt/theirs/cwd/json.py
        cp /mnt/theirs/cwd/json.py /mnt/theirs/cwd/typer.py
        for name in systemctl apt-get ls dpkg-query docker; do
            printf '#!/bin/sh\\ntouch /mnt/theirs/ran\\n' >/mnt/theirs/bin/$name
            chmod 755 /mnt/theirs/bin/$name
        done
        """
    )
    start = f"cd /mnt/theirs/cwd; PATH=/mnt/theirs/bin:$PATH {PYTHON} -m binfmt_setup"
    for words in (
        "check --engine docker arm64", "check --security", "install arm64 --private --no-persist",
        "uninstall --private",
    ):  # fmt: skip
        done = users.root("sh", "-c", f"{start} {words}")
        assert "Traceback" not in done.stderr, done.stderr
        assert users.root("ls", "/mnt/theirs").stdout.split() == ["bin", "cwd"], words


def test_a_strangers_emulator_is_refused_by_name_whatever_way_leads_to_it(
    users: ManyUsers, thief: str
) -> None:
    users.prepared(
        root=f"""
        mkdir -m 755 /mnt/ours /mnt/ours/chown /mnt/ours/acl /mnt/ours/caps
        mkdir -m 1777 /mnt/ours/sticky
        cp {thief} /mnt/ours/chown/qemu-aarch64; chown 1000 /mnt/ours/chown/qemu-aarch64
        cp {thief} /mnt/ours/acl/qemu-aarch64
        {PYTHON} -c '{ACL}' /mnt/ours/acl/qemu-aarch64
        cp {thief} /mnt/ours/caps/qemu-aarch64
        {PYTHON} -c '{CAPABILITY}' /mnt/ours/caps/qemu-aarch64
        ln -s /mnt/theirs/d /mnt/ours/link
        """,
        stranger=f"""
        mkdir /mnt/theirs/d /mnt/ours/sticky/d
        cp {thief} /mnt/theirs/d/qemu-aarch64; cp {thief} /mnt/ours/sticky/d/qemu-aarch64
        ln -s /usr/bin /mnt/theirs/bin
        """,
    )
    for directory, why in {
        "/mnt/theirs/d": "every user can write to /mnt/theirs",
        "/mnt/theirs/bin": "every user can write to /mnt/theirs",
        "/mnt/ours/sticky/d": "every user can write to /mnt/ours/sticky",
        "/mnt/ours/link": "every user can write to /mnt/theirs",
        "/mnt/ours/chown": "/mnt/ours/chown/qemu-aarch64 belongs to user 1000",
        "/mnt/ours/acl": "an access control list lets others write to /mnt/ours/acl/qemu-aarch64",
        "/mnt/ours/caps": "/mnt/ours/caps/qemu-aarch64 has rights of its own",
    }.items():
        name = "qemu-aarch64-static" if directory.endswith("bin") else "qemu-aarch64"
        for source in (("--qemu", directory), ("--emulator", f"{directory}/{name}")):
            done = users.tool("install", "arm64", *source, *HERE)
            assert why in " ".join((done.stdout + done.stderr).split()), done
            assert done.returncode == 5
    assert users.entries() == []


ACL = (
    "import os, struct, sys\n"
    "rows = (1, 7, 0), (2, 7, 1000), (4, 5, 0), (16, 7, 0), (32, 5, 0)\n"
    'packed = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *row) for row in rows)\n'
    'os.setxattr(sys.argv[1], "system.posix_acl_access", packed)\n'
)
CAPABILITY = (
    "import os, struct, sys\n"
    'wanted = struct.pack("<5I", 0x02000001, 1 << 1, 0, 0, 0)\n'
    'os.setxattr(sys.argv[1], "security.capability", wanted)\n'
)
"""cap_dac_override for whoever starts the file (include/uapi/linux/capability.h)."""


# -- stores, paths ----------------------------------------------------------------


@pytest.mark.parametrize("place", ["/mnt/theirs/tmp", "/mnt/mine/link", "/mnt/theirs"])
def test_nothing_is_laid_out_where_a_stranger_could_swap_it(users: ManyUsers, place: str) -> None:
    """What `check --deep` runs, and root unpacked, would be the stranger's by then."""
    users.prepared(
        root="mkdir -p /mnt/mine; ln -sfn /mnt/theirs/tmp /mnt/mine/link",
        stranger="mkdir -p /mnt/theirs/tmp",
    )
    deep = ("check", "--deep", "arm64", "--qemu", "/usr/bin")
    done = users.root("env", f"TMPDIR={place}", PYTHON, "-m", "binfmt_setup", *deep)
    assert done.returncode == 4, done.stdout + done.stderr
    assert f"the workout has no place in {place}: " in done.stderr
    assert "/mnt/theirs" in done.stderr.partition("no place in")[2]
    assert users.root("ls", "/mnt/theirs/tmp").stdout == ""


def test_what_a_user_may_not_read_is_said_to_him(users: ManyUsers) -> None:
    users.prepared(root="mkdir -m 700 -p /mnt/mine/closed; mkdir -p /mnt/mine/closed/qemu")
    for words in ("unit arm64", "install --check arm64", "check --deep arm64", "run"):
        line = [*words.split(), "--qemu", "/mnt/mine/closed/qemu"]
        line += ["--", "true"] if words == "run" else []
        done = users.stranger(PYTHON, "-m", "binfmt_setup", *line)
        assert (done.returncode, "Traceback" in done.stderr) == (3, False), done.stderr
        assert "may not be read" in done.stderr


def test_a_strangers_store_is_not_used(users: ManyUsers) -> None:
    users.prepared(
        root="mkdir -m 755 /mnt/victim; echo precious >/mnt/victim/file",
        stranger="mkdir /mnt/theirs/store; ln -s /mnt/victim /mnt/theirs/store/.new-abcdefgh\n"
        "cd /mnt/theirs; cp /usr/bin/qemu-aarch64-static qemu-aarch64; tar cf q.tar qemu-aarch64",
    )
    for store in ("/mnt/theirs/store", "/mnt/theirs/yet/to/come"):
        words = ("--qemu", "/mnt/theirs/q.tar", "--qemu-store", store)
        done = users.tool("install", "arm64", *words, *HERE)
        assert done.returncode == 5
        assert f"no emulators are kept in {store}" in " ".join(done.stderr.split()), done
    assert users.root("cat", "/mnt/victim/file").stdout == "precious\n"
    assert users.entries() == []


@pytest.mark.parametrize("option", ["--qemu", "--qemu-store"])
def test_a_name_with_lines_of_its_own_gets_into_no_file(users: ManyUsers, option: str) -> None:
    name = "/mnt/theirs/x\n[Service]\nExecStart="
    put = f"mkdir {shlex.quote(name)}; cp {QEMU} {shlex.quote(name)}"
    users.prepared(stranger=put)
    # What root keeps in it is root's: the name alone is against it. So is a link's to it.
    users.prepared(
        root=f"chown -R 0:0 /mnt/theirs; chmod 755 /mnt/theirs; ln -s {shlex.quote(name)} /mnt/way"
    )
    for directory in (name, "/mnt/way"):
        words = [option, directory, *(["--qemu", QEMU] if option == "--qemu-store" else [])]
        for command in (("install", "--private"), ("unit",)):
            done = users.tool(*command, "arm64", *words)
            assert done.returncode != 0
            assert "\n[Service]\nExecStart=" not in done.stdout + done.stderr
    found = users.root("grep", "-rl", "ExecStart=$", "/etc/binfmt.d", "/etc/systemd")
    assert found.stdout == ""
    assert users.entries() == []


EVIL = "\x1b]0;owned\x07\n::error::x\u202e\x9b31m"


def test_what_a_stranger_calls_his_things_does_nothing(users: ManyUsers) -> None:
    """His process, which runs under the emulator that goes, and his files."""
    endless = program([0x14000000])  # b .
    users.prepared(
        stranger=f"echo {endless} | base64 -d >/mnt/theirs/endless; chmod 755 /mnt/theirs/endless\n"
        f"cd /mnt/theirs; mkdir {shlex.quote(EVIL)}; mkfifo {shlex.quote(EVIL + '.tar')}"
    )
    assert users.tool("install", "arm64", *HERE).returncode == 0
    start = "import os, sys; os.execv('/mnt/theirs/endless', [sys.argv[1]])"
    missing = ("--qemu", f"/mnt/theirs/{EVIL}.tar", *HERE)
    with subprocess.Popen(users.as_stranger(PYTHON, "-c", start, EVIL), cwd="/") as process:
        try:
            said = [
                users.tool(*words, "--format", format_)
                for format_ in ("text", "json")
                for words in (
                    ("uninstall", "--private", "--check"), ("explain", f"/mnt/theirs/{EVIL}"),
                    ("install", "arm64", *missing),
                )
            ]  # fmt: skip
            said.append(users.tool("check", "arm64", "--format", "github"))
        finally:
            process.kill()
    shown = "".join(done.stdout + done.stderr for done in said)
    assert "x1b" in shown  # he is named
    assert not [sign for sign in ("\x1b]", "\x07", "\u202e", "\x9b") if sign in shown]
    assert not [line for line in shown.splitlines() if line.lstrip().startswith("::error::x")]


# -- flag C ------------------------------------------------------------------------------


def program(code: list[int], loader: bytes = b"") -> str:
    """A program for arm64, in base64: one segment, and a loader if it wants one."""
    count = 2 if loader else 1
    start = 64 + 56 * count
    named = loader + bytes(-len(loader) % 4 or 4) if loader else b""
    body = named + struct.pack(f"<{len(code)}I", *code)
    entry_point, size = start + len(named), start + len(body)
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 3, 183, 1, entry_point, 64, 0, 0, 64, 56, count, 0, 0, 0
    )
    if loader:
        header += struct.pack("<IIQQQQQQ", 3, 4, start, start, start, len(named), len(named), 1)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, size, size, 4096)
    return base64.b64encode(header + body).decode()


EXIT_0 = [0xD2800000, 0xD2800BA8, 0xD4000001]  # mov x0, 0; mov x8, exit; svc 0
EXIT_USER = [0xD28015E8, 0xD4000001, 0x9100A800, 0xD2800BA8, 0xD4000001]
"""mov x8, geteuid; svc 0; add x0, x0, 42; mov x8, exit; svc 0"""
AS_ROOT, AS_HIMSELF = 42, (1000 + 42) % 256


@pytest.mark.parametrize("flags", ["POF", "POCF"])
def test_with_c_a_stranger_becomes_root_and_without_he_does_not(
    users: ManyUsers, flags: str
) -> None:
    """A foreign set-user-ID program of root's, and the stranger's own loader for it."""
    users.prepared(
        root=f"echo {program(EXIT_0, b'/lib/ld-x.so')} | base64 -d >/mnt/victim\n"
        "chmod 4755 /mnt/victim",
        stranger=f"mkdir -p /mnt/theirs/p/lib; cd /mnt/theirs/p/lib\n"
        f"echo {program(EXIT_USER)} | base64 -d >ld-x.so; chmod 755 ld-x.so",
    )
    register(users, entry(QEMU, flags))
    attack = users.stranger("env", "QEMU_LD_PREFIX=/mnt/theirs/p", "/mnt/victim")
    bad = "C" in flags
    assert attack.returncode == (AS_ROOT if bad else AS_HIMSELF), attack
    security = users.tool("check", "--security")
    assert security.returncode == bad
    assert ("becomes root" in " ".join(security.stdout.split())) is bad
    said = " ".join(users.tool("explain", "/mnt/victim").stdout.split())
    sentence = "bit counts: entry qemu-aarch64 has flag C" if bad else "bit is ignored: entry"
    assert f"its set-user-ID {sentence}" in said


# -- what speaks against trusting a host ---------------------------------------------------

SCRIPTS, EACH = "takes scripts of the host", "another file for each process"
SUSPECTS = (
    ("scripts", QEMU, b"#!", SCRIPTS),
    ("comments", QEMU, b"#", SCRIPTS),
    ("one-byte", QEMU, b"M", "takes every file that has one certain byte"),
    ("sh", QEMU, "sh", "whose names end in .sh"),
    ("py", QEMU, "py", "whose names end in .py"),
    ("x32", QEMU, b"\x7fELF\1\1\1" + bytes(9) + b"\2\0\3\0", "takes 32-bit programs"),
    ("missing", "/mnt/theirs/yet/to/come", b"1MISSING", "can put a file there"),
    ("relative", "theirs", b"2RELATIVE", EACH),
    ("of-each", "/proc/self/cwd/theirs", b"3PROCESS", EACH),
    ("set-id", "/mnt/ours/set-id", b"4SET-ID", "is a set-user-ID or set-group-ID program"),
    ("shared", "/mnt/ours/sticky/theirs", b"5SHARED", "every user can write to /mnt/ours/sticky"),
    ("pinned", "/mnt/ours/pinned", ARM64, "it holds another one open"),
)
"""Entries of other tools: name, interpreter, what they take, and what is said of them."""


def suspect(name: str, interpreter: str, taken: object) -> Registration:
    """One of them; the kernel opens the interpreters that stay where they are."""
    flags = "F" if interpreter.startswith("/mnt/ours") else ""
    if isinstance(taken, bytes):
        return Registration(name, interpreter, flags, taken)
    if isinstance(taken, str):
        return Registration(name, interpreter, flags, extension=taken)
    return entry(interpreter, flags, name)


def test_check_security_names_each_way_that_a_stranger_has(users: ManyUsers) -> None:
    installed = ("install", "riscv64", "--private", "--qemu", "/mnt/ours/q.tar")
    users.prepared(
        root=f"""
        mkdir -m 755 /mnt/ours; mkdir -m 1777 /mnt/ours/sticky; cd /mnt/ours
        cp {QEMU} set-id; chmod 4755 set-id; cp {QEMU} pinned
        cp /usr/bin/qemu-riscv64-static qemu-riscv64; tar cf q.tar qemu-riscv64
        """,
        stranger=f"cp {QEMU} /mnt/ours/sticky/theirs",
    )
    done = users.tool(*installed, "--qemu-store", "/mnt/ours/store")
    assert done.returncode == 0, done.stdout + done.stderr
    for name, interpreter, taken, _ in SUSPECTS:
        register(users, suspect(name, interpreter, taken))
    users.prepared(
        root="cd /mnt/ours; cp pinned other; mv other pinned\n"
        "cd store/*/; cp qemu-riscv64 x; printf x >>x; mv x qemu-riscv64\n"
        "chmod g+w /etc/binfmt.d/qemu-riscv64.conf; chmod 777 /etc/systemd/system\n"
        "chown 1000 /etc/binfmt-setup/register"
    )
    done = users.tool("check", "--security", "--format", "json")
    assert done.returncode == 1
    found = [one["message"] for one in json.loads(done.stdout)["findings"]]
    said = {(f"entry {name}", words) for name, *_, words in SUSPECTS} | {
        ("entry qemu-riscv64", "is not the file that --qemu /mnt/ours/q.tar brought"),
        ("/etc/binfmt.d/qemu-riscv64.conf", "every member of its group can write"),
        ("/etc/systemd/system", "every user can write"),
        ("/etc/binfmt-setup/register", "belongs to user 1000"),
    }
    for who, words in said:
        assert [one for one in found if who in one and words in one], (who, words, found)


# -- the boot ----------------------------------------------------------------------------

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_the_script_at_boot_pins_nothing_of_a_strangers(
    users: ManyUsers, for_everybody: Path, shell: list[str]
) -> None:
    """It was root's when `install` ran; since then the stranger did to it what he can."""
    script = for_everybody / "libraries" / "systemd" / "register"
    qemu = "/mnt/ours/d/qemu"
    users.prepared(
        root=f"""
        mkdir -p /mnt/ours/d /mnt/ours/theirs; cp {QEMU} {qemu}
        cp {QEMU} /mnt/ours/acl; {PYTHON} -c '{ACL}' /mnt/ours/acl
        cp {QEMU} /mnt/ours/set-id; chmod 4755 /mnt/ours/set-id
        cp {QEMU} /mnt/ours/caps; {PYTHON} -c '{CAPABILITY}' /mnt/ours/caps
        for directory in lets masked; do
            mkdir /mnt/ours/$directory; cp {QEMU} /mnt/ours/$directory/qemu
            {PYTHON} -c '{ACL}' /mnt/ours/$directory
        done
        chmod g-w /mnt/ours/masked
        cp {QEMU} /mnt/ours/chown; chown 1000 /mnt/ours/chown
        chown 1000 /mnt/ours/theirs; ln -s theirs/d /mnt/ours/link; ln -s {qemu} /mnt/ours/good
        ln -s {qemu} /mnt/ours/foreign; chown -h 1000 /mnt/ours/foreign
        ln -s /proc/self/cwd /mnt/ours/cwd
        """,
        stranger=f"mkdir /mnt/ours/theirs/d; cp {QEMU} /mnt/ours/theirs/d/qemu",
    )
    wanted = {
        qemu: "", "/mnt/ours/good": "", "/mnt/ours/d/../d/./qemu": "",
        "/mnt/ours/acl": "group can write to /mnt/ours/acl",
        "/mnt/ours/set-id": "/mnt/ours/set-id has rights of its own",
        "/mnt/ours/caps": "/mnt/ours/caps has rights of its own (capabilities)",
        "/mnt/ours/lets/qemu": "group can write to /mnt/ours/lets",
        "/mnt/ours/masked/qemu": "",
        "/mnt/ours/chown": "/mnt/ours/chown belongs to user 1000",
        "/mnt/ours/theirs/d/qemu": "/mnt/ours/theirs belongs to user 1000",
        "/mnt/ours/link/qemu": "/mnt/ours/theirs belongs to user 1000",
        "/mnt/ours/foreign": "/mnt/ours/foreign belongs to user 1000",
        "/mnt/ours/cwd/mnt/ours/d/qemu": "another file for each process",
    }  # fmt: skip
    for path, why in wanted.items():
        line = entry(path, "OF").line
        users.prepared(root=f"printf '%s\\n' {shlex.quote(line)} >/run/qemu.conf")
        done = users.root(*shell, str(script), "/run/qemu.conf")
        assert (done.returncode == 0) is (not why), (path, done.stderr)
        assert why in done.stderr, (path, done.stderr)
        assert users.entries() == ([] if why else [ARM64.entry_name]), path
        users.prepared(root=f"cd {REGISTRY}; [ ! -e qemu-aarch64 ] || echo -1 >qemu-aarch64")
