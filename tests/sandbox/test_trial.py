"""An emulator is proven where nobody else meets it, and what failed leaves the host as it was."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, cast

import pytest

from tests.foreign_starts import starting
from tests.own_namespace import TOP, run
from tests.swaps import BAD, bad_emulator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

HERE = ("--private", "--no-persist")
DIRECTLY = """
import sys
from binfmt_setup.model.registration import Registration
from binfmt_setup.system import trial
found = trial._directly([trial.Candidate(
    Registration("qemu-aarch64", sys.argv[1], "POF", b"x", b"x"), ("aarch64",))])
print(found["aarch64"].ok, found["aarch64"].argv0_kept, found["aarch64"].why())
"""


def rows(data: dict[str, object], key: str) -> list[dict[str, object]]:
    return cast("list[dict[str, object]]", data[key])


@pytest.mark.parametrize("what", [what for what in BAD if what != "hangs"])
def test_nobody_meets_an_emulator_that_does_not_work(
    registry: Sandbox, emulators: Path, what: str
) -> None:
    registry.json("install", "arm64", *HERE)
    before = registry.entries()
    bad_emulator(emulators, what)
    with starting(registry) as starts:
        for _ in range(3):
            data = registry.json("install", "arm64", *HERE, "--qemu", str(emulators), status=4)
            assert [error["code"] for error in rows(data, "errors")] == ["probe-failed"]
            assert [row["ok"] for row in rows(data, "platforms")] == [True]
            assert data["changed"] is False
    assert starts.failed == 0
    assert starts.done > 20
    assert registry.entries() == before


def test_without_a_namespace_it_is_started_directly(emulators: Path) -> None:
    """As root, as install is; here of a namespace, which may change its root directory."""
    good = emulators / "qemu-aarch64-static"
    inside = [sys.executable, "-m", "tests.own_namespace", sys.executable, "-c", DIRECTLY]
    assert run([*inside, good]).stdout == "True True \n"
    bad_emulator(emulators, "fails")
    assert run([*inside, good]).stdout == "False False exit status 3: nothing printed\n"
    bad_emulator(emulators, "crashes")
    assert run([*inside, good]).stdout == "False False killed by SIGABRT: no pages\n"
    assert run([*inside, emulators / "gone"]).stdout == "False False execve: ENOENT\n"


def test_where_no_namespace_may_be_made_install_works_all_the_same(registry: Sandbox) -> None:
    registry.sh("echo 0 > /proc/sys/user/max_user_namespaces")
    data = registry.json("install", "arm64", *HERE)
    assert [row["ok"] for row in rows(data, "platforms")] == [True]


def test_a_failed_replacement_leaves_file_unit_and_links_as_they_were(
    system: Sandbox, emulators: Path
) -> None:
    tree = "cd /etc && find binfmt.d systemd binfmt-setup -type f -exec sha256sum {} + | sort"
    system.json("install", "arm64", "--private")
    before = system.entries(), system.sh(tree).stdout, system.sh("find /etc/systemd").stdout
    bad_emulator(emulators, "fails")
    system.json("install", "arm64", "--private", "--qemu", str(emulators), status=4)
    after = system.entries(), system.sh(tree).stdout, system.sh("find /etc/systemd").stdout
    assert after == before
    assert system.json("install", "arm64", "--private")["changed"] is False


def test_what_failed_from_the_start_leaves_no_unit(system: Sandbox, emulators: Path) -> None:
    bad_emulator(emulators, "fails")
    before = system.sh("find /etc | sort").stdout
    system.json("install", "arm64", "--private", "--qemu", str(emulators), status=4)
    assert system.sh("find /etc | sort").stdout == before
    assert system.entries() == {}


@pytest.mark.parametrize("fault", ["read-only", "full"])
def test_what_was_rolled_back_is_not_said_to_work(system: Sandbox, fault: str) -> None:
    """binfmt.d on a file system that takes nothing."""
    option = "ro" if fault == "read-only" else "size=4k,nr_inodes=1"
    system.sh(f"mkdir /etc/binfmt.d && mount -t tmpfs -o {option} none /etc/binfmt.d")
    data = system.json("install", "arm64", "--private", status=4)
    assert [row["ok"] for row in rows(data, "platforms")] == [False]
    assert all("--no-persist" in str(error["hint"]) for error in rows(data, "errors"))
    assert len(rows(data, "errors")) == 1
    assert system.entries() == {}
    system.json("install", "arm64", "--private", "--no-persist")


def test_a_plan_is_what_a_run_does_in_a_bare_namespace() -> None:
    """Root's own namespace maps the outer root: whose the registry is, ownership cannot tell."""
    tool = f"{sys.executable} -m binfmt_setup install arm64 --private --no-persist"
    script = f"mount -t tmpfs none /run && {tool} && {tool} --check && {tool}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
        capture_output=True, text=True, check=False, cwd=TOP, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nothing would change\n" in done.stdout
    assert done.stdout.endswith("works: linux/arm64; nothing changed\n")


def test_an_entry_without_its_file_is_ours_when_it_is_what_we_write(system: Sandbox) -> None:
    """What an install that was killed before it wrote the file left."""
    system.json("install", "arm64", "--private")
    before = system.sh("cat /etc/binfmt.d/*").stdout
    system.sh("rm -r /etc/binfmt.d /etc/systemd/system/* /etc/binfmt-setup")
    system.json("install", "arm64", "--private")
    assert system.sh("cat /etc/binfmt.d/*").stdout == before
    assert system.json("install", "arm64", "--private")["changed"] is False
    system.json("uninstall", "--private")
    assert system.entries() == {}


@pytest.mark.parametrize("old_name", [True, False])
def test_what_a_killed_replacement_left_is_never_a_handler(
    registry: Sandbox, *, old_name: bool
) -> None:
    """Alone, or in front of the entry that it covers."""
    registry.json("install", "arm64", *HERE)
    entry = registry.entries()["qemu-aarch64"].registration
    cover = "binfmt-setup-swap-" + ("aarch64" if old_name else "qemu-aarch64")
    for alone in (True, False):
        line = entry.line.replace("qemu-aarch64", cover, 1)
        registry.run("sh", "-c", "cat > /proc/sys/fs/binfmt_misc/register", stdin=line)
        if alone:
            registry.sh("echo -1 > /proc/sys/fs/binfmt_misc/qemu-aarch64")
        planned = registry.json("install", "arm64", *HERE, "--check")
        assert planned["changed"] is True
        done = registry.json("install", "arm64", *HERE)
        kinds = [row["kind"] for row in rows(done, "actions")]
        assert kinds == [row["kind"] for row in rows(planned, "actions")]
        assert set(registry.entries()) == {"qemu-aarch64"}
        assert [row["ok"] for row in rows(done, "platforms")] == [True]
        assert registry.json("install", "arm64", *HERE)["changed"] is False
