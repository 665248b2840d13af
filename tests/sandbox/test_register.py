"""The script that registers at boot and after an upgrade: no Python, no gap, in every shell."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from binfmt_setup.boot import units
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Registration
from binfmt_setup.model.registry_facts import SWAP_PREFIX
from binfmt_setup.model.targets import target_named
from binfmt_setup.report.words import boot
from tests.foreign_starts import starting
from tests.own_namespace import PROBES, TOP

if TYPE_CHECKING:
    from pathlib import Path

    from tests.sandbox.conftest import Sandbox

pytestmark = pytest.mark.one_python

ARM64 = target_named("aarch64")
NAME = ARM64.entry_name
SCRIPT = TOP / "systemd" / "register"
REGISTRY = "/proc/sys/fs/binfmt_misc"
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    words = SHELLS[request.param]
    if not shutil.which(words[0]):
        pytest.skip(f"{words[0]} is not installed")
    return words


@pytest.fixture
def emulator(emulators: Path) -> Path:
    return emulators / "qemu-aarch64-static"


@pytest.fixture
def config(emulator: Path, tmp_path: Path) -> Path:
    """A binfmt.d file as install writes it."""
    path = tmp_path / f"{NAME}.conf"
    path.write_text(units.config_text(wanted(emulator), None, by_unit=True))
    return path


def wanted(emulator: Path) -> Registration:
    return Registration(NAME, str(emulator), "OF", ARM64.magic, ARM64.mask)


def test_a_new_entry_is_what_the_file_says(
    registry: Sandbox, shell: list[str], config: Path, emulator: Path
) -> None:
    done = registry.run(*shell, str(SCRIPT), str(config))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    found = registry.entries()
    assert list(found) == [NAME]
    assert found[NAME].registration == wanted(emulator)


@pytest.mark.parametrize("stuck", [NAME, f"{SWAP_PREFIX}{NAME}"])
def test_an_entry_that_cannot_be_removed_is_no_success(
    registry: Sandbox, shell: list[str], config: Path, emulator: Path, stuck: str
) -> None:
    """As where another mount lies over it: what is written there never reaches the kernel."""
    assert registry.run(*shell, str(SCRIPT), str(config)).returncode == 0
    if stuck != NAME:  # left of a run that was killed
        registry.register(replace(wanted(emulator), name=stuck))
    before = sorted(registry.entries())
    registry.sh(f"echo 0 >/run/over; mount --bind /run/over {REGISTRY}/{stuck}")
    done = registry.run(*shell, str(SCRIPT), str(config))
    assert done.returncode == 1
    assert f"does not let go of the entry {stuck}" in done.stderr
    registry.sh(f"umount {REGISTRY}/{stuck}")
    assert sorted(registry.entries()) == before


@pytest.mark.parametrize("path", ["with space", "with:colon", "back\\slash", "quo'te", "pct%s\\n"])
def test_any_path_passes_as_it_is(
    registry: Sandbox, shell: list[str], emulator: Path, tmp_path: Path, path: str
) -> None:
    odd = tmp_path / path
    shutil.copy(emulator, odd)
    config = tmp_path / "odd.conf"
    config.write_text(units.config_text(wanted(odd), None, by_unit=False))
    assert registry.run(*shell, str(SCRIPT), str(config)).returncode == 0
    seen = registry.entries()[NAME].interpreter
    # The kernel unescapes \xNN in magic and mask alone; what it shows is what it opened.
    assert seen == str(odd)


def test_what_is_switched_off_stays_off_with_another_file(
    registry: Sandbox, shell: list[str], config: Path
) -> None:
    """As after an upgrade of QEMU: whoever switched it off meant it."""
    registry.run(*shell, str(SCRIPT), str(config))
    registry.sh(f"echo 0 >{REGISTRY}/{NAME}")
    done = registry.run(*shell, str(SCRIPT), str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: entry.enabled for name, entry in registry.entries().items()} == {NAME: False}


def test_no_start_fails_while_the_file_is_replaced_and_pinned_anew(
    registry: Sandbox, shell: list[str], config: Path, emulator: Path
) -> None:
    registry.run(*shell, str(SCRIPT), str(config))
    with starting(registry, loops=3) as starts:
        for _ in range(50):
            new = emulator.with_suffix(".dpkg-new")
            shutil.copy(emulator, new)
            new.rename(emulator)
            done = registry.run(*shell, str(SCRIPT), str(config))
            assert (done.returncode, done.stderr) == (0, "")
    assert starts.failed == 0
    assert starts.done > 20
    assert list(registry.entries()) == [NAME]
    assert pinned(registry) == emulator.stat().st_ino


def pinned(registry: Sandbox) -> int:
    """The inode of the interpreter that really runs a foreign program."""
    done = registry.run(
        "python3", "-I", "-c",
        "import os, subprocess\n"
        f"p = subprocess.Popen([{str(PROBES / 'aarch64')!r}], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE)\n"
        "p.stdout.readline()\n"
        "print(os.stat(f'/proc/{p.pid}/exe').st_ino)\n"
        "p.stdin.close()\n",
    )  # fmt: skip
    return int(done.stdout)


def test_a_refused_file_leaves_the_entry_as_it_was(
    registry: Sandbox, shell: list[str], config: Path, emulator: Path
) -> None:
    registry.run(*shell, str(SCRIPT), str(config))
    old = emulator.stat().st_ino
    new = emulator.with_suffix(".new")
    shutil.copy(emulator, new)
    new.chmod(0o644)
    new.rename(emulator)
    done = registry.run(*shell, str(SCRIPT), str(config))
    assert done.returncode == 1
    assert f"the kernel refuses {emulator} for {NAME}, which stays as it was" in done.stderr
    assert list(registry.entries()) == [NAME]
    assert pinned(registry) == old


def test_a_missing_file_is_named_in_the_words_of_check(
    registry: Sandbox, shell: list[str], config: Path, emulator: Path
) -> None:
    emulator.unlink()
    done = registry.run(*shell, str(SCRIPT), str(config))
    words = f"{boot.MISSING.format(emulator)}: {boot.BRING_BACK}\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_no_registry_is_named_in_the_words_of_check(
    sandbox: Sandbox, shell: list[str], config: Path
) -> None:
    systemd = "mkdir -p /run/systemd/system && echo systemd >/run/comm"
    systemd += " && mount --bind /run/comm /proc/1/comm"
    made = sandbox.sh(f"mount -t tmpfs none {REGISTRY} && {systemd}")
    assert made.returncode == 0, made.stderr
    done = sandbox.run(*shell, str(SCRIPT), str(config))
    words = f"{boot.NOT_MOUNTED}: {boot.UNMASK_REGISTRY}\n"
    assert (done.returncode, done.stderr) == (1, words)


def test_a_mount_that_is_refused_is_told_without_a_word_of_systemd(
    sandbox: Sandbox, config: Path
) -> None:
    sandbox.sh(f"mount -t tmpfs none {REGISTRY}")  # this machine's may be mounted there
    done = sandbox.run("setpriv", "--bounding-set=-sys_admin", "sh", str(SCRIPT), str(config))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == (
        f"binfmt_misc cannot be mounted: run: mount -t binfmt_misc binfmt_misc {REGISTRY}"
    )


def test_without_systemd_the_script_mounts_the_registry(
    sandbox: Sandbox, shell: list[str], config: Path
) -> None:
    # As in a container that has the /run of its host.
    sandbox.sh(f"mount -t tmpfs none {REGISTRY} && mkdir -p /run/systemd/system")
    # This machine's first process may be systemd.
    sandbox.sh("echo init >/run/comm && mount --bind /run/comm /proc/1/comm")
    done = sandbox.run(*shell, str(SCRIPT), str(config))
    assert (done.returncode, done.stderr) == (0, "")
    assert list(sandbox.entries()) == [NAME]


def test_a_registry_switched_off_is_named(
    registry: Sandbox, shell: list[str], config: Path
) -> None:
    registry.sh(f"echo 0 > {REGISTRY}/status")
    done = registry.run(*shell, str(SCRIPT), str(config))
    assert done.returncode == 1
    assert done.stderr == f"{boot.SWITCHED_OFF}: {boot.SWITCH_ON}\n"


@pytest.mark.parametrize("alone", [True, False])
def test_what_a_killed_run_left_is_cleared_away(
    registry: Sandbox, config: Path, emulator: Path, *, alone: bool
) -> None:
    """Killed before or after the old entry went: the temporary one goes either way."""
    left = Registration(SWAP_PREFIX + NAME, str(emulator), "OF", ARM64.magic, ARM64.mask)
    registry.register(left)
    if not alone:
        registry.register(wanted(emulator))
    assert registry.run("sh", str(SCRIPT), str(config)).returncode == 0
    assert list(registry.entries()) == [NAME]


def test_entries_of_others_and_bad_lines_are_left_alone(
    registry: Sandbox, shell: list[str], config: Path, tmp_path: Path
) -> None:
    theirs = Registration("theirs", "/bin/true", "", extension="theirs")
    registry.register(theirs)
    config.write_text(config.read_text() + "; a comment\n\n:status:M::ab::/bin/true:\nnonsense")
    done = registry.run(*shell, str(SCRIPT), str(config), str(tmp_path / "gone.conf"))
    assert done.returncode == 1
    assert "'status' cannot be the name of an entry" in done.stderr
    assert "gone.conf is missing" in done.stderr
    found = registry.entries()
    assert set(found) == {NAME, "theirs"}
    assert found["theirs"].registration == theirs
    assert registry.sh(f"cat {REGISTRY}/status").stdout == "enabled\n"


def test_it_waits_while_install_is_at_work(
    registry: Sandbox, shell: list[str], config: Path, tmp_path: Path
) -> None:
    """Both lock the registry's own file `register`."""
    over = tmp_path / "over"
    hold = f"echo held; sleep 1; touch {over}"
    argv = [*registry.inside, "flock", f"{REGISTRY}/register", "sh", "-c", hold]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not over.exists()
        assert registry.run(*shell, str(SCRIPT), str(config)).returncode == 0
        assert over.exists()
