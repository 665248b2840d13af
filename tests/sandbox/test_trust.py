"""What is registered was judged before, and what the user chose about credentials stays."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

HERE = ("--private", "--no-persist")
# Another file comes to lie at the path between the judgement and the registration.
REPLACED = """
import os, sys
from binfmt_setup.changes.plan import plan_install
from binfmt_setup.model.request import Request, Source
from binfmt_setup.changes.transaction import Transaction
from binfmt_setup.inspect.snapshot import snapshot, with_versions
from binfmt_setup.model.targets import parse_platform
from binfmt_setup.system.host import Host
from binfmt_setup.system.probes import running_probes

directory, when = sys.argv[1:]
path = directory + "/qemu-aarch64-static"
host, arm64 = Host(), parse_platform("arm64")
with running_probes(["aarch64"]) as results:
    found = results()
facts = with_versions(host, snapshot(host, [arm64], qemu_directory=directory), [path])
plan = plan_install(facts, [arm64], found, Request(persist=False, qemu=Source("directory", "/opt")))
calls = 0


def meanwhile():
    global calls
    calls += 1
    if calls == (1 if when == "first" else 2):
        os.rename(path + ".other", path)


work = Transaction(host, plan, facts, found, meanwhile)
work.carry_out()
print([str(error) for error in work.errors])
"""


@pytest.mark.parametrize("when", ["first", "later"])
def test_a_file_that_is_replaced_after_it_was_judged_is_not_left_registered(
    registry: Sandbox, emulators: Path, when: str
) -> None:
    path = emulators / "qemu-aarch64-static"
    shutil.copy(path, f"{path}.other")
    done = registry.run("python3", "-c", REPLACED, str(emulators), when)
    assert done.returncode == 0, done.stderr
    assert "was replaced after it was judged" in done.stdout
    assert registry.entries() == {}


@pytest.mark.parametrize(
    ("prepare", "culprit"),
    [
        ("chmod g+w {}", "every member of its group can write to {}"),
        ("chmod 1777 {}", "every user can write to {}"),
        ("chmod o+w {}/qemu-aarch64-static", "every user can write to {}/qemu-aarch64-static"),
    ],
)
def test_an_emulator_that_others_can_change_is_refused_by_the_culprits_name(
    registry: Sandbox, emulators: Path, prepare: str, culprit: str
) -> None:
    registry.sh(prepare.format(emulators))
    done = registry.tool("install", "arm64", "--qemu", str(emulators), *HERE)
    assert done.returncode == 5, done.stdout + done.stderr
    assert culprit.format(emulators) in " ".join((done.stdout + done.stderr).split())
    assert registry.entries() == {}


def test_credentials_stay_until_they_are_taken_back(system: Sandbox, emulators: Path) -> None:
    def install(*more: str) -> None:
        done = system.tool("install", "arm64", "--qemu", str(emulators), "--private", *more)
        assert done.returncode == 0, done.stdout + done.stderr

    install("--credentials")
    assert "C" in system.entries()["qemu-aarch64"].flags
    said = system.tool("check", "arm64").stdout
    assert "install --no-credentials --private linux/arm64" in " ".join(said.split())
    # A new emulator is registered, and nobody says anything about credentials.
    path = emulators / "qemu-aarch64-static"
    shutil.copy(path, f"{path}.new")
    path.with_name(f"{path.name}.new").rename(path)
    install()
    assert "C" in system.entries()["qemu-aarch64"].flags
    install("--no-credentials")
    assert "C" not in system.entries()["qemu-aarch64"].flags
    install()
    assert "C" not in system.entries()["qemu-aarch64"].flags


def test_both_wishes_contradict_each_other(registry: Sandbox) -> None:
    done = registry.tool("install", "arm64", "--credentials", "--no-credentials", *HERE)
    assert done.returncode == 2
    assert "contradict" in done.stderr
