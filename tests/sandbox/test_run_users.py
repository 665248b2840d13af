"""`run` and users: who one is inside, with whose ids, and what a user needs for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.own_namespace import (
    CLI,
    PROBES,
    USER,
    as_user,
    by_user,
    copy_for_everybody,
    folder_for_everybody,
    in_namespace,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ARM64 = PROBES / "aarch64"
RUN = (*CLI, "run")
NOBODY = 4242

needs_foreign_arm64 = pytest.mark.skipif(
    os.uname().machine == "aarch64", reason="arm64 is native here"
)


def test_the_same_user_as_outside() -> None:
    assert by_user("--", "sh", "-c", "id -u; id -g").stdout.split() == [str(USER)] * 2


def test_no_rights_are_left_for_the_command() -> None:
    done = by_user("--", "grep", "CapEff", "/proc/self/status")
    assert int(done.stdout.split()[1], 16) == 0


def test_root_where_asked_for() -> None:
    assert by_user("--map-root", "--", "id", "-u").stdout == "0\n"


def test_root_outside_keeps_every_owner(tmp_path: Path) -> None:
    script = f"id -u; stat -c %u:%g {tmp_path} /usr /etc/passwd; cat /proc/self/uid_map"
    outside = run(["sh", "-c", script])
    # Which number that is farther out depends on how many namespaces there are.
    here = script.replace("cat", "awk '{print $1, $3}'")
    inside = run(as_user_with_root([*RUN, "--", "sh", "-c", here]))
    assert inside.stdout == run(as_user_with_root(["sh", "-c", here])).stdout, inside.stderr
    if os.geteuid() == 0:
        same = run([*RUN, "--", "sh", "-c", script])
        assert [line.split() for line in same.stdout.splitlines()] == [
            line.split() for line in outside.stdout.splitlines()
        ]


def as_user_with_root(argv: list[str]) -> list[str]:
    return ["unshare", "--user", "--map-root-user", *argv]


def test_all_ids_are_for_root() -> None:
    done = by_user("--map-users", "current", "--", "true")
    assert done.returncode == 3
    assert "--map-users auto" in done.stderr


def test_a_user_without_a_range() -> None:
    done = run(["unshare", "--user", "--map-user=54321", *RUN, "--map-users=auto", "--", "true"])
    assert done.returncode == 4
    assert "54321 has no range of ids in /etc/subuid" in done.stderr
    assert "usermod --add-subuids" in done.stderr


def test_a_group_without_an_id() -> None:
    done = run(["unshare", "--user", f"--map-user={USER}", *RUN, "-P", "arm64", "--", "true"])
    assert done.returncode == 4
    assert "--map-group" in done.stderr


def test_goes_on_as_root_where_no_second_namespace_may_be_had() -> None:
    # Two may be made below the first of these: one for the user, one for the registry.
    limit = 'echo 2 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = in_namespace(["sh", "-c", limit, "sh", *as_user([*RUN, "--", "id", "-u"])])
    assert done.returncode == 0, done.stderr
    assert done.stdout == "0\n"
    assert "warning: cannot make a user namespace" in done.stderr


# -- a user of this machine, without any namespace around -------------------------------------


@pytest.fixture(scope="module")
def nobody() -> Iterator[list[str]]:
    """The command for the tool as a user that owns nothing and may not enter root's home."""
    if os.geteuid() != 0:
        yield [*CLI]
        return
    drop = [
        "setpriv",
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--inh-caps=-all",
    ]
    with folder_for_everybody() as folder:
        where = copy_for_everybody(folder / "package")
        yield [*drop, "env", f"PYTHONPATH={where}", "/usr/bin/python3", "-m", "binfmt_setup"]


@needs_foreign_arm64
def test_a_user_who_owns_nothing(nobody: list[str]) -> None:
    script = f"id -u; id -g; {ARM64.name} </dev/null; grep CapEff /proc/self/status"
    environment = {"PATH": f"{nobody_probes(nobody)}:{os.environ['PATH']}"}
    done = run([*nobody, "run", "--", "sh", "-c", script], environment)
    assert done.returncode == 0, done.stderr
    uid, gid, probe, rights = done.stdout.splitlines()
    assert {uid, gid} == ({str(NOBODY)} if os.geteuid() == 0 else {str(os.getuid()), gid})
    assert "target=aarch64" in probe
    assert int(rights.split()[1], 16) == 0


def nobody_probes(nobody: list[str]) -> Path:
    """Where the probes are that this user can reach."""
    paths = [word.partition("=")[2] for word in nobody if word.startswith("PYTHONPATH=")]
    return Path(paths[0]) / "binfmt_setup" / "data" / "probes" if paths else PROBES


def test_a_user_who_owns_nothing_as_root(nobody: list[str]) -> None:
    done = run([*nobody, "run", "--map-root", "-P", "arm64", "--", "id", "-u"])
    assert done.stdout == "0\n", done.stderr


def test_a_user_who_owns_nothing_is_told_why_not(nobody: list[str]) -> None:
    done = run([*nobody, "run", "--map-users=auto", "--", "true"])
    if os.geteuid() == 0:
        assert done.returncode == 4
        assert f"{NOBODY} has no range of ids in /etc/subuid" in done.stderr
