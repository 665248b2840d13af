"""namespace.py on the real kernel: what it mounts is its own, and nothing else is touched."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.own_namespace import CLI, in_namespace, python_in_namespace
from tests.report_schema import assert_fits

REGISTRY = Path("/proc/sys/fs/binfmt_misc")
ENTRY = ":outer:E::outer::/bin/true:"
START = """
import os, sys
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import replace
from binfmt_setup.system import registry
from binfmt_setup.system.host import Host
from binfmt_setup.system.registry import Registry
from binfmt_setup.userns import namespace
from binfmt_setup.userns.identity import Users, choose
host = Host()
before = registry.outside(host)
def enter():
    namespace.enter(host, choose(namespace.caller(host, ranges=False), Users.one, as_root=True))
def doubt():
    return Registry(host).why_not_own(before)
def write_entry():
    with open(BINFMT_MISC + "/register", "w") as file:
        file.write(":outer:E::outer::/bin/true:")
"""


def test_a_room_has_an_empty_registry_and_leaves_the_outer_one_unmounted() -> None:
    before = Path("/proc/self/mountinfo").read_text().count("binfmt_misc")
    listed = in_namespace(["ls", REGISTRY])
    assert listed.stdout.split() == ["register", "status"]
    assert Path("/proc/self/mountinfo").read_text().count("binfmt_misc") == before


def test_each_room_has_its_own() -> None:
    shell = f"echo '{ENTRY}' > {REGISTRY}/register && ls {REGISTRY}"
    for _ in range(2):
        assert in_namespace(["sh", "-c", shell]).stdout.split() == ["outer", "register", "status"]


def test_rooms_nest_and_the_outer_registry_stays_as_it_was() -> None:
    code = (
        START
        + """
write_entry()
child = os.fork()
if child == 0:
    enter()
    inner = namespace.own_registry(host, before)
    write_entry()
    os._exit(0 if set(name for name, _ in inner.texts()) == {"outer"} else 1)
print(os.waitpid(child, 0)[1], sorted(os.listdir(BINFMT_MISC)))
"""
    )
    assert python_in_namespace(code) == "0 ['outer', 'register', 'status']\n"


def test_refuses_the_parents_registry() -> None:
    # The trap: root of a child namespace without a registry sees, and may edit, its parent's.
    code = (
        START
        + """
enter()
print(doubt())
write_entry()  # as it could do, if it did not look first
print(os.path.exists(BINFMT_MISC + "/outer"))
"""
    )
    assert python_in_namespace(code) == "it is the one that was mounted outside\nTrue\n"


def test_refuses_in_the_callers_namespace() -> None:
    assert (
        python_in_namespace(START + "print(doubt())")
        == "this is still the caller's user namespace\n"
    )


def test_refuses_a_registry_with_entries() -> None:
    code = (
        START
        + """
enter()
namespace.own_registry(host, before)
write_entry()
print(doubt())
"""
    )
    assert python_in_namespace(code) == "it has entries already (outer)\n"


def test_what_may_not_be_its_own_is_an_error() -> None:
    code = (
        START
        + """
enter()
try:
    inside = host.link_target("/proc/self/ns/user")
    namespace.own_registry(host, replace(before, user_namespace=inside))
except Exception as error:
    print(error.code, int(error.exit_code))
"""
    )
    assert python_in_namespace(code) == "registry-not-own 4\n"


def test_refuses_what_is_no_registry() -> None:
    code = (
        START
        + """
enter()
print(Registry(host, os.open("/proc/sys/fs", os.O_RDONLY)).why_not_own(before))
"""
    )
    assert python_in_namespace(code) == "it is no binfmt_misc\n"


def test_refuses_a_registry_of_somebody_else() -> None:
    # Opened before the next namespace, which maps nobody but its own user.
    code = (
        START
        + """
enter()
mine = namespace.own_registry(host, before)
namespace.map_back(host, 1000, 1000)
print(mine.why_not_own(before), mine.is_own())
"""
    )
    assert python_in_namespace(code) == "it belongs to somebody else False\n"


def test_a_mount_made_inside_is_not_seen_outside(tmp_path: Path) -> None:
    inside = in_namespace(
        ["sh", "-c", f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/inside"]
    )
    assert inside.returncode == 0, inside.stderr
    assert not list(tmp_path.iterdir())


def test_namespaces_switched_off_by_a_sysctl() -> None:
    switch = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = in_namespace(["sh", "-c", switch, "sh", *CLI, "run", "--", "true"])
    assert done.returncode == 4
    assert "user.max_user_namespaces is 0" in done.stderr
    assert "sysctl -w user.max_user_namespaces=" in done.stderr


def test_the_limit_is_reached() -> None:
    # One namespace may be made below this one, and the first `run` has it.
    limit = 'echo 1 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = in_namespace(["sh", "-c", limit, "sh", *CLI, "run", "--", *CLI, "run", "--", "true"])
    assert done.returncode == 4
    assert "is reached" in done.stderr


@pytest.mark.parametrize("call", ["unshare", "mount"])
def test_a_seccomp_filter_as_in_a_container(call: str) -> None:
    done = subprocess.run(
        [*CLI, "run", "--format", "json", "--", "true"],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: refuse(call),
    )
    assert done.returncode == 4
    document = json.loads(done.stdout)
    assert_fits(document)
    assert document["command"] == "run"
    assert [error["code"] for error in document["errors"]] == ["userns-seccomp"]
    assert "seccomp" in done.stderr


CALLS = {  # asm/unistd.h
    "x86_64": {"unshare": 272, "mount": 165},
    "aarch64": {"unshare": 97, "mount": 40},
}


def refuse(call: str) -> None:
    """Make a system call fail with EPERM from here on, as Docker's default profile does."""
    load, jump_if_equal, give = 0x20, 0x15, 0x06
    rows = [
        (load, 0, 0, 0),  # the number of the call: the first word of struct seccomp_data
        (jump_if_equal, 0, 1, CALLS[os.uname().machine][call]),
        (give, 0, 0, 0x00050000 | errno.EPERM),
        (give, 0, 0, 0x7FFF0000),
    ]
    program = b"".join(
        code.to_bytes(2, sys.byteorder) + bytes([true, false]) + value.to_bytes(4, sys.byteorder)
        for code, true, false, value in rows
    )

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("rows", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(
        set_seccomp, filter_mode, ctypes.byref(Filter(len(rows), program))
    ):
        raise OSError(ctypes.get_errno(), "prctl")


def test_root_that_may_not_map_root() -> None:
    # As in a container that lacks this capability (user_namespaces(7), since Linux 5.12).
    drop = ["setpriv", "--bounding-set=-setfcap", "--inh-caps=-all"]
    done = in_namespace([*drop, *CLI, "run", "-P", "arm64", "--", "true"])
    assert done.returncode == 4
    assert "cannot map user ids" in done.stderr
    assert "SETFCAP" in done.stderr


def test_the_room_itself_takes_no_part_of_the_outer_registry_for_its_own() -> None:
    done = in_namespace([*CLI, "status", "--format", "json"])
    assert done.returncode == 0, done.stderr
    assert '"entries": []' in done.stdout


def test_a_registry_is_own_for_root_of_the_namespace_that_made_it_alone() -> None:
    # With the outer root mapped, its files look the same from the namespace below.
    code = (
        START
        + """
print(Registry(host).is_own())
enter()
print(Registry(host).is_own(), os.stat(BINFMT_MISC + "/register").st_uid)
own = namespace.own_registry(host, before)
print(own.is_own(), Registry(host).is_own())
"""
    )
    assert python_in_namespace(code) == "True\nFalse 0\nTrue True\n"
