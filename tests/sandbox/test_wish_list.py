"""The wish list: what is asked for where a command line names no platform, on the real kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from binfmt_setup.inspect.wish_list import PATH
from tests.unit.test_command_line import tool

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

HERE = ("--private", "--no-persist")


def platforms(data: dict[str, object]) -> list[object]:
    return [row["platform"] for row in cast("list[dict[str, object]]", data["platforms"])]


def wish(system: Sandbox, text: str, path: str = PATH) -> None:
    assert system.run("sh", "-c", f"cat > {path}", stdin=text).returncode == 0


def test_install_check_and_uninstall_take_the_platforms_of_the_list(system: Sandbox) -> None:
    assert system.tool("install", "s390x", *HERE).returncode == 0
    wish(system, 'platforms = ["arm64", "linux/riscv64"]\n')
    assert platforms(system.json("install", *HERE)) == ["linux/arm64", "linux/riscv64"]
    assert set(system.entries()) == {"qemu-s390x", "qemu-aarch64", "qemu-riscv64"}
    assert platforms(system.json("check")) == ["linux/arm64", "linux/riscv64"]
    assert platforms(system.json("check", "s390x")) == ["linux/s390x"]
    system.json("uninstall", "--private")
    assert set(system.entries()) == {"qemu-s390x"}
    system.json("uninstall", "all", "--private")
    assert system.entries() == {}
    assert platforms(system.json("check", status=1)) == ["linux/arm64", "linux/riscv64"]


def test_a_line_goes_before_the_list(system: Sandbox, emulators: Path) -> None:
    wish(system, f'platforms = ["arm64"]\ncredentials = true\nqemu = "{emulators}"\n')
    assert system.tool("install", *HERE).returncode == 0
    entry = system.entries()["qemu-aarch64"]
    assert "C" in entry.flags
    assert Path(entry.interpreter).parent == emulators
    assert system.tool("install", "--no-credentials", *HERE).returncode == 0
    assert "C" not in system.entries()["qemu-aarch64"].flags


def test_what_the_list_keeps(system: Sandbox) -> None:
    path = "/etc/systemd/system/binfmt-setup-keep.path"
    there = f"test -e {path} && grep -q keep.path /etc/systemd/system-preset/50-binfmt-setup.preset"
    assert system.tool("install", "arm64", "--private").returncode == 0
    wish(system, 'platforms = ["arm64"]\nkeep = true\n')
    assert "not-kept" in system.tool("check").stdout
    assert "not-kept" not in system.tool("check", "arm64").stdout
    # A line goes before the list, and what is not to last cannot be kept.
    assert system.json("install", "--private", "--no-keep")["changed"] is False
    assert system.json("install", *HERE)["changed"] is False
    assert system.json("install", "--private")["changed"] is True
    assert system.sh(there).returncode == 0
    assert "not-kept" not in system.tool("check").stdout
    wish(system, 'platforms = ["arm64"]\nkeep = false\n')
    assert system.json("install", "--private")["changed"] is True
    assert system.sh(f"ls {path}").returncode != 0
    wish(system, 'platforms = ["arm64"]\nkeep = true\n')
    assert system.json("install", "--private")["changed"] is True
    assert system.json("uninstall", "--private")["changed"] is True
    assert system.sh("find /etc/systemd | grep binfmt-setup").stdout == ""


def test_what_the_list_asks_for_is_no_warning(system: Sandbox) -> None:
    wish(system, 'platforms = ["arm64"]\ncredentials = true\nstrict = true\n')
    assert system.tool("install", *HERE).returncode == 0
    data = system.json("check")
    assert '"severity": "warning"' not in str(data).replace("'", '"')
    # Named, the list does not count, and C is a risk again.
    assert system.tool("check", "arm64", "--strict").returncode == 1


def test_strictness_of_the_list(system: Sandbox) -> None:
    assert system.tool("install", "arm64", "--credentials", *HERE).returncode == 0
    wish(system, 'platforms = ["arm64"]\n')
    assert system.tool("check").returncode == 0
    wish(system, 'platforms = ["arm64"]\nstrict = true\n')
    assert system.tool("check").returncode == 1


def test_another_file_is_named_with_config(system: Sandbox, tmp_path: Path) -> None:
    wish(system, 'platforms = ["s390x"]\n')
    other = tmp_path / "wishes"
    other.write_text('platforms = ["arm64"]\n')
    assert platforms(system.json("install", *HERE, "--config", str(other))) == ["linux/arm64"]
    assert platforms(system.json("check", "--config", str(other))) == ["linux/arm64"]
    both = system.json("check", "riscv64", "--config", str(other), status=1)
    assert platforms(both) == ["linux/riscv64"]
    assert system.tool("check", "--config", "/nowhere").returncode == 2
    assert system.tool("check", "--config", str(tmp_path)).returncode == 4


@pytest.mark.parametrize(
    ("text", "said", "allowed"),
    [
        ("platforms = [", ":", "the file is TOML"),
        ('\nplatfroms = ["arm64"]\n', ":2: there is no key 'platfroms'", "the keys are platforms,"),
        ("[platforms]\n", ":1: platforms must be a list", 'platforms = ["linux/arm64"'),
        ("platforms = []\n", ":1: platforms must be a list of one name or more", "platforms ="),
        ('platforms = "arm64"\n', "it is a text", "platforms ="),
        ("platforms = [1]\n", "platforms must be a list", "platforms ="),
        ('platforms = [""]\n', "platforms: a platform's name is empty", "'all'"),
        ('platforms = ["amr64"]\n', "platforms: unknown platform 'amr64'", "did you mean"),
        ('strict = "yes"\n', ":1: strict must be true or false", "strict = true"),
        ("keep = 1\n", ":1: keep must be true or false; it is a number", "keep = true"),
        ('qemu = "here"\n', ":1: qemu must be a path from / on", "qemu = "),
        ("a = " + "[" * 5000, ":", "the file is TOML"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_what_is_allowed(
    tmp_path: Path, text: str, said: str, allowed: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / PATH[1:]).write_text(text)
    for command in ("install", "check", "uninstall", "unit"):
        done = tool(command, "--root", str(tmp_path))
        words = " ".join(done.stderr.split())
        assert (done.returncode, done.stdout) == (2, "")
        assert f"{PATH}{said}" in words or said in words
        assert PATH in words
        assert allowed in words


@pytest.mark.parametrize("others", ["o+w", "g+w"])
def test_a_list_that_others_can_write_to_is_refused(system: Sandbox, others: str) -> None:
    wish(system, 'platforms = ["arm64"]\n')
    assert system.run("chmod", others, PATH).returncode == 0
    done = system.tool("check")
    assert done.returncode == 4
    assert f"{PATH} decides what runs as root" in " ".join(done.stderr.split())
    cure = done.stderr.rpartition("run: ")[2].strip()
    assert system.sh(cure).returncode == 0
    assert system.tool("check").returncode == 1


def test_plain_check_judges_what_is_here_and_all_asks_for_all(system: Sandbox) -> None:
    """Emulators for ten platforms are on this host; one is registered."""
    assert len(platforms(system.json("check", status=1))) > 5
    assert system.tool("install", "arm64", *HERE).returncode == 0
    assert platforms(system.json("check")) == ["linux/arm64"]
    assert system.tool("install", "sparc64", *HERE).returncode == 0
    assert platforms(system.json("check")) == ["linux/arm64", "linux/sparc64"]
    assert len(platforms(system.json("check", "all", status=1))) > 10
