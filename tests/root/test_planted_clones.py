"""scripts/bootstrap, where another user can change what it runs as root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.planted import NOBODY
from tests.stand_in_clone import make_clone

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stand_in_clone import Clone


def given_away(clone: Clone) -> Path:
    os.chown(clone.top / "binfmt_setup" / "__main__.py", NOBODY, NOBODY)
    return clone.top / "binfmt_setup" / "__main__.py"


def open_to_the_group(clone: Clone) -> Path:
    (clone.top / "binfmt_setup").chmod(0o775)
    return clone.top / "binfmt_setup"


def open_listing(clone: Clone) -> Path:
    (clone.top / "requirements" / "tool.txt").chmod(0o666)
    return clone.top / "requirements" / "tool.txt"


def open_above(clone: Clone) -> Path:
    clone.top.parent.chmod(0o1777)
    return clone.top.parent


def open_prefix(clone: Clone) -> Path:
    clone.lib.parent.mkdir(parents=True)
    clone.lib.parent.chmod(0o777)
    return clone.lib.parent


def a_link(clone: Clone) -> Path:
    target = clone.top / "binfmt_setup" / "__init__.py"
    target.unlink()
    target.symlink_to("/dev/null")
    return target


@pytest.mark.parametrize(
    "change", [given_away, open_to_the_group, open_listing, open_above, open_prefix, a_link]
)
def test_what_others_can_change_is_refused(
    clone: Clone, installed: Clone, change: Callable[[Clone], Path]
) -> None:
    culprit = change(clone)
    done = clone.run("x")
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert f"error: {culprit} " in done.stderr
    assert "what to do" in done.stderr
    assert not list(clone.prefix.rglob("venv-*"))
    clone.take_environment_of(installed)
    forced = clone.run("--force", "x")
    assert forced.stdout == "answer x\n", forced.stderr
    assert f"warning: {culprit} " in forced.stderr


def test_forced_it_installs_what_others_can_change(clone: Clone) -> None:
    given_away(clone)
    done = clone.run("--force", "x")
    assert "installing" in done.stderr
    assert done.stdout == "answer x\n", done.stderr


def test_what_it_says_mends_it(clone: Clone, installed: Clone) -> None:
    clone.take_environment_of(installed)
    given_away(clone)
    said = clone.run("x").stderr
    command = said.partition("Run: ")[2].partition(";")[0]
    assert command == f"chown -hR 0 {clone.top}"
    assert os.system(command) == 0  # noqa: S605 - what the user is told to run
    assert clone.run("x").returncode == 0


def test_a_clone_in_a_folder_that_is_open_to_all(tmp_path: Path) -> None:
    """As /tmp is: whoever makes the name first owns what is run."""
    assert "/tmp can be written to by others" in make_clone(tmp_path).run("x").stderr


def test_the_clone_of_the_user_who_calls_sudo_is_his_to_change(
    clone: Clone, installed: Clone
) -> None:
    clone.take_environment_of(installed)
    for path in (clone.top, *clone.top.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    assert clone.run("x").returncode == 3
    done = clone.run("x", SUDO_UID=str(NOBODY))
    assert done.stdout == "answer x\n", done.stderr


def test_an_environment_that_somebody_else_sealed(clone: Clone, installed: Clone) -> None:
    clone.take_environment_of(installed)
    assert "installing" not in clone.run().stderr
    environment = clone.environment()
    (module,) = environment.rglob("site-packages/binfmt_setup/__main__.py")
    os.chown(module, NOBODY, NOBODY)
    done = clone.run("x")
    assert "installing" in done.stderr
    assert (done.stdout, module.stat().st_uid) == ("answer x\n", 0)


@pytest.mark.parametrize("name", [".lock", "bootstrap.log"])
def test_a_link_in_place_of_a_file_of_ours_is_not_followed(clone: Clone, name: str) -> None:
    victim = clone.top.parent / "victim"
    victim.write_text("precious\n")
    clone.lib.mkdir(parents=True)
    (clone.lib / name).symlink_to(victim)
    done = clone.run("x")
    assert done.returncode == 3
    assert f"{clone.lib / name} is a link" in done.stderr
    assert victim.read_text() == "precious\n"


RACE = """
import fcntl, os, stat, sys, zipfile
top, ran = sys.argv[1:]
with zipfile.ZipFile(top + "/theirs/evil", "w") as wheel:
    wheel.writestr("pip/__init__.py", "")
    wheel.writestr("pip/__main__.py", f"open({ran!r}, 'w')")
evil = open(top + "/theirs/evil", "rb").read()
held, prefix = {}, top + "/theirs/prefix"
os.mkdir(prefix)
os.symlink(top + "/victim", prefix + "-link")
def tried(do, *words):
    try:
        do(*words)
    except OSError:
        pass
def lock(path):
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    if path in held:
        os.close(file)
    else:
        held[path] = file
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
def replace(path):  # what root unpacks in a folder of his: the folder first, then what is in it
    if stat.S_ISDIR(os.lstat(path).st_mode) and os.lstat(path).st_uid == 0:
        os.rename(path, path + ".away")
        os.mkdir(path)
    for name in os.listdir(path) if path.find(".away") < 0 else ():
        if os.lstat(path + "/" + name).st_uid == 0:
            open(path + "/x", "wb").write(evil)
            os.rename(path + "/x", path + "/" + name)
print("ready", flush=True)
while True:
    for name in os.listdir(top + "/tmp"):
        tried(replace, top + "/tmp/" + name)
    for words in ((prefix, prefix + "-dir"), (prefix + "-link", prefix),
                  (prefix, prefix + "-link"), (prefix + "-dir", prefix)):
        tried(os.rename, *words)
    if len(held) < 500:
        for folder, folders, names in os.walk(top + "/prefix"):
            for name in (".", *names):
                tried(lock, folder + "/" + name)
            tried(os.symlink, ran, folder + "/planted")
"""


def test_nothing_that_a_stranger_does_meanwhile_gets_in() -> None:
    """A real other user locks, links and renames what he can, and lays out programs of his own."""
    names = ("env", "sed", "id", "dirname", "readlink", "mkdir", "rm", "python3", "flock")
    with tempfile.TemporaryDirectory(dir="/run") as folder:
        top = Path(folder)
        top.chmod(0o755)
        clone, victim = make_clone(top), top / "victim"
        for name in ("theirs", "tmp"):
            (top / name).mkdir()
            os.chown(top / name, NOBODY, NOBODY)
        for place in ("lib/binfmt-setup/venv-0", "bin"):
            (victim / place).mkdir(parents=True)
        for name in names:
            (top / "theirs" / name).write_text(f"#!/bin/sh\ntouch {top}/theirs/ran\n")
            (top / "theirs" / name).chmod(0o755)
        user = ("--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
        race = ["/usr/bin/python3", "-Ic", RACE, folder, f"{folder}/theirs/ran"]
        argv = ["setpriv", *user, "--", *race]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd="/") as attacker:
            try:
                assert attacker.stdout is not None
                assert attacker.stdout.readline() == "ready\n"
                path = f"{top}/theirs:{os.environ['PATH']}"
                done = clone.run("x", PATH=path, TMPDIR=f"{top}/tmp")
                theirs = ("--prefix", f"{top}/theirs/prefix")
                refused = [
                    clone.run(*theirs, *words) for words in (["x"], ["--uninstall-tool"]) * 5
                ]
                assert attacker.poll() is None
            finally:
                attacker.kill()
        assert not (top / "theirs" / "ran").exists()
        assert done.stdout == "answer x\n", done.stderr
        assert {one.returncode for one in refused} == {3}, refused
        assert sorted(p.name for p in victim.rglob("*")) == ["bin", "binfmt-setup", "lib", "venv-0"]
        assert {p.lstat().st_uid for p in clone.prefix.rglob("*")} == {0}


def test_a_lock_that_is_held_is_waited_for_up_to_a_limit(clone: Clone) -> None:
    script = clone.top / "scripts" / "bootstrap"
    script.write_text(script.read_text().replace("lock_seconds=600", "lock_seconds=1"))
    clone.lib.mkdir(parents=True)
    with (clone.lib / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = clone.run("x")
    assert done.returncode == 6
    assert "another bootstrap has been at work" in done.stderr
    assert clone.run("x").returncode == 0
    assert (clone.lib / ".lock").stat().st_mode & 0o777 == 0o600


def test_a_clone_without_its_list_is_none(clone: Clone) -> None:
    shutil.rmtree(clone.top / "requirements")
    assert clone.run("x").returncode == 2
