"""Preparing and inspecting a file tree with --root: the kernel is not there, files are."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from binfmt_setup.model.binfmt_d import BY_UNIT, MARKER
from tests.offline_tree import NATIVE, made_tree, tool
from tests.own_namespace import PROBES, TOP
from tests.packing import Item, deb, tar, write
from tests.report_schema import assert_fits

UNIT = "etc/systemd/system/binfmt-setup.service"
PACKAGED = "usr/lib/binfmt.d/qemu-s390x.conf"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return made_tree(tmp_path)


def contents(root: Path) -> dict[str, str]:
    """Everything in a tree, to be compared."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(root))] = f"-> {path.readlink()}"
        else:
            text = path.read_bytes().hex() if path.is_file() else "directory"
            found[str(path.relative_to(root))] = f"{path.stat().st_mode:o} {text}"
    return found


def test_install_writes_uninstall_removes_exactly_that(tree: Path) -> None:
    before = contents(tree)
    done = tool(tree, "install", "s390x")
    assert done.returncode == 0
    assert "write file /etc/binfmt.d/qemu-s390x.conf" in done.stdout
    assert done.stdout.endswith("prepared: linux/s390x; changed\n")
    new = set(contents(tree)) - set(before)
    assert new == {
        "etc/binfmt.d",
        "etc/binfmt.d/qemu-s390x.conf",
        "etc/binfmt-setup",
        "etc/binfmt-setup/register",
        UNIT,
        "etc/systemd/system/binfmt-setup.path",
        "etc/systemd/system/binfmt-setup-changed.service",
        "etc/systemd/system/binfmt-setup.service.wants",
        "etc/systemd/system/binfmt-setup.service.wants/binfmt-setup.path",
        "etc/systemd/system/multi-user.target.wants/binfmt-setup.service",
        "etc/systemd/system/systemd-binfmt.service.d",
        "etc/systemd/system/systemd-binfmt.service.d/binfmt-setup.conf",
        "etc/systemd/system-preset",
        "etc/systemd/system-preset/50-binfmt-setup.preset",
        "etc/systemd/system/systemd-binfmt.service.wants",
        "etc/systemd/system/systemd-binfmt.service.wants/binfmt-setup.service",
    }
    text = (tree / "etc/binfmt.d/qemu-s390x.conf").read_text()
    assert text.startswith(MARKER + "\n")
    assert ":/usr/bin/qemu-s390x-static:OF\n" in text
    again = tool(tree, "install", "s390x")
    assert "nothing changed" in again.stdout
    assert tool(tree, "uninstall").returncode == 0
    assert contents(tree) == before


def test_a_link_of_our_units_name_is_ours_where_it_leads_to_our_unit(tree: Path) -> None:
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    link = wants / "binfmt-setup.service"
    link.symlink_to("/etc/passwd")
    before = contents(tree)
    done = tool(tree, "uninstall")
    assert (done.returncode, contents(tree)) == (0, before), done.stdout
    assert tool(tree, "install", "s390x").returncode == 0
    assert tool(tree, "uninstall").returncode == 0
    assert contents(tree) == before
    link.unlink()
    for target in ("../binfmt-setup.service", "/etc/systemd/system/binfmt-setup.service"):
        link.symlink_to(target)
        assert tool(tree, "uninstall").returncode == 0
        assert not link.is_symlink()


def test_stages_for_osbuild_make_the_files_that_install_writes(tree: Path) -> None:
    foreseen = tool(tree, "install", "s390x", "--check", "--format", "json").stdout
    recipe = Path(__file__).parents[2] / "deploy/images/osbuild.py"
    done = subprocess.run([sys.executable, recipe], input=foreseen, text=True,
                          capture_output=True, check=True)  # fmt: skip
    made = json.loads(done.stdout)
    assert tool(tree, "install", "s390x").returncode == 0
    items = made["sources"]["org.osbuild.inline"]["items"]
    folders, copies, modes, units = (stage["options"] for stage in made["stages"])
    assert made["stages"][1]["inputs"]["files"]["references"] == sorted(items)
    for copy in copies["paths"]:
        name, path = copy["from"].rpartition("/")[2], copy["to"].removeprefix("tree://")
        data = base64.b64decode(items[name]["data"])
        file = tree / path[1:]
        assert (data, name) == (file.read_bytes(), f"sha256:{hashlib.sha256(data).hexdigest()}")
        assert modes["items"][path]["mode"] == f"{file.stat().st_mode & 0o7777:04o}"
        assert path.rpartition("/")[0] in [folder["path"] for folder in folders["paths"]]
    links = [path for path in tree.rglob("*.wants/binfmt-setup*") if path.is_symlink()]
    assert units == {"enabled_services": sorted({link.name for link in links})}


def test_the_lines_of_the_page_about_images(tree: Path, tmp_path: Path) -> None:
    """As they stand there, for this tree; scripts/try-images runs the recipes beside them."""
    page = (TOP / "docs/images.md").read_text(encoding="utf-8")
    text = "\n".join(
        re.findall(r"^(?:\$ (?:sudo )?)?(binfmt-setup .*--root /srv.+)$", page, re.MULTILINE)
    )
    packed = tar(Item("./usr/bin/qemu-s390x-static", (PROBES / NATIVE).read_bytes()))
    there = {
        "/srv/image": str(tree), "linux/arm64": "linux/s390x",
        "qemu-user-static.deb": str(write(tmp_path / "qemu.deb", deb(packed))),
        "binfmt-setup": f"{sys.executable} -m binfmt_setup",
    }  # fmt: skip
    for word, here in there.items():
        text = text.replace(word, here)
    assert text.count("\n") == 3
    for line in text.splitlines():
        done = subprocess.run(["bash", "-o", "pipefail", "-c", line], cwd=TOP, text=True,
                              capture_output=True, timeout=60, check=False)  # fmt: skip
        assert done.returncode == 0, line + done.stdout + done.stderr
    (config,) = (tree / "etc/binfmt.d").iterdir()
    assert ":/usr/local/lib/binfmt-setup/qemu/" in config.read_text()


def test_an_existing_binfmt_d_stays(tree: Path) -> None:
    (tree / "etc/binfmt.d").mkdir()
    before = contents(tree)
    tool(tree, "install", "s390x")
    tool(tree, "uninstall")
    assert contents(tree) == before


@pytest.mark.parametrize("order", [("s390x", "riscv64"), ("riscv64", "s390x")])
def test_a_directory_that_install_made_goes_with_the_last_file(
    tree: Path, order: tuple[str, str]
) -> None:
    shutil.copy(tree / "usr/bin/qemu-s390x-static", tree / "usr/bin/qemu-riscv64-static")
    before = contents(tree)
    for removal in ((), order, order[::-1]):
        for platform in order:
            assert tool(tree, "install", platform).returncode == 0
        for names in ((name,) for name in removal) if removal else ((),):
            assert tool(tree, "uninstall", *names).returncode == 0
        assert contents(tree) == before


@pytest.mark.parametrize("command", [("install", "s390x"), ("uninstall",)])
def test_what_killed_runs_left_is_removed_and_nothing_else(
    tree: Path, command: tuple[str, ...]
) -> None:
    tool(tree, "install", "s390x")
    for path in (*ours(tree), *others(tree)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".wants", ".4242") or ".wants" in str(path):
            path.symlink_to(f"/etc/systemd/system/{path.name}")
        else:
            path.write_text("x")
    done = tool(tree, *command)
    assert done.returncode == 0, done.stderr
    assert [path for path in ours(tree) if os.path.lexists(path)] == []
    assert [path for path in others(tree) if not os.path.lexists(path)] == []
    assert done.stderr.count("removed what a killed run left") == len(ours(tree)) - 1


def ours(tree: Path) -> list[Path]:
    """What killed runs of this and of earlier versions leave; two lie in one directory."""
    store = tree / "usr/local/lib/binfmt-setup/qemu/.new-a1b2c3d4"
    system = tree / "etc/systemd/system"
    return [
        tree / "etc/binfmt.d/.binfmt-setup-ab_12xyz", system / ".binfmt-setup-01234567",
        system / "basic.target.wants/.binfmt-setup.service.4242",
        system / "opt.mount.wants/binfmt-setup-opt.service",
        system / ".binfmt-setup-abcdefgh/binfmt-setup.service",
        tree / "etc/.binfmt-setup-0a1b2c3d/x",
        store / "0-qemu-s390x", store / "1-qemu-arm",
    ]  # fmt: skip


def others(tree: Path) -> list[Path]:
    """Names that are nearly those."""
    store = tree / "usr/local/lib/binfmt-setup/qemu"
    return [
        tree / "etc/binfmt.d/.binfmt-setup-toolong123", tree / "etc/binfmt.d/.binfmt-setup-note",
        tree / "etc/systemd/system/.binfmt-setup.service.swp", tree / "etc/.binfmt-setup-01234567",
        tree / "etc/systemd/system/opt.mount.wants/binfmt-setuper.service",
        store / ".new-mine/file", store / "new-a1b2c3d4/file",
    ]  # fmt: skip


def test_names_with_control_characters_get_into_no_file(tree: Path, tmp_path: Path) -> None:
    evil = tmp_path / "a\nExecStartPre=/bin/evil"
    evil.mkdir(parents=True)
    shutil.copy(tree / "usr/bin/qemu-s390x-static", evil)
    before = contents(tree)
    for arguments in (
        ("--qemu", str(evil)),
        ("--qemu", "x\ry"),
        ("--qemu", "/", "--qemu-store", "/a\nb"),
    ):
        done = tool(tree, "install", "s390x", *arguments)
        assert (done.returncode, "Traceback" in done.stderr) == (2, False)
        assert "control characters" in done.stderr
    assert contents(tree) == before
    # A link that root of the tree planted, and a mount that its fstab names.
    inside = tree / "opt/a\n[Service]\nExecStart=evil"
    inside.mkdir(parents=True)
    (tree / "usr/bin/qemu-s390x-static").rename(inside / "q")
    (tree / "usr/bin/qemu-s390x-static").symlink_to(f"/{inside.relative_to(tree)}/q")
    before = contents(tree)
    done = tool(tree, "install", "s390x")
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)
    assert contents(tree) == before


def test_a_mount_point_with_a_newline_gets_into_no_unit(tree: Path) -> None:
    (tree / "etc/fstab").write_text("/dev/sdb1 /usr/bin\\012ExecStart=evil ext4 noauto 0 0\n")
    (tree / "usr/bin\nExecStart=evil").mkdir()
    before = contents(tree)
    done = tool(tree, "unit", "s390x", "--qemu", "/usr/bin\nExecStart=evil")
    assert done.returncode == 2
    assert contents(tree) == before


@pytest.mark.parametrize("mask", ["0", "027", "077", "0777"])
def test_modes_are_the_tools_own_and_not_the_callers(tree: Path, mask: str) -> None:
    before = set(tree.rglob("*"))
    # The tree has none of these, so that each directory is made.
    shutil.rmtree(tree / "etc/systemd")
    command = f'umask {mask}; exec "$0" -m binfmt_setup install s390x --root "$1"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, tree],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = [path for path in tree.rglob("*") if path not in before and not path.is_symlink()]
    modes = {str(path.relative_to(tree)): path.stat().st_mode & 0o7777 for path in made}
    script = "etc/binfmt-setup/register"
    assert modes[script] == 0o755
    for path, mode in modes.items():
        assert path == script or mode == (0o755 if (tree / path).is_dir() else 0o644), path
    assert {"etc/binfmt.d", "etc/binfmt.d/qemu-s390x.conf"} <= modes.keys()


def test_check_and_diff_write_nothing(tree: Path) -> None:
    before = contents(tree)
    done = tool(tree, "install", "s390x", "--check", "--diff")
    assert done.returncode == 0
    assert "+ExecStart=" in done.stdout
    assert contents(tree) == before
    tool(tree, "install", "s390x")
    installed = contents(tree)
    assert "would remove" in tool(tree, "uninstall", "--check").stdout
    assert contents(tree) == installed


def test_the_unit_goes_with_the_last_platform(tree: Path) -> None:
    shutil.copy(tree / "usr/bin/qemu-s390x-static", tree / "usr/bin/qemu-riscv64-static")
    tool(tree, "install", "s390x", "riscv64")
    assert "qemu-s390x.conf" in (tree / UNIT).read_text()
    tool(tree, "uninstall", "s390x")
    assert "qemu-s390x.conf" not in (tree / UNIT).read_text()
    assert "qemu-riscv64.conf" in (tree / UNIT).read_text()
    tool(tree, "uninstall", "riscv64")
    assert not (tree / UNIT).exists()


def test_systemd_accepts_the_unit(tree: Path, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    shutil.copy(tree / "usr/bin/qemu-s390x-static", tree / "usr/bin/qemu-riscv64-static")
    for number, text in enumerate((
        tool(tree, "unit", "s390x", "riscv64").stdout,
        _after_install(tree),
    )):  # fmt: skip
        unit = tmp_path / str(number) / "binfmt-setup.service"
        unit.parent.mkdir()
        unit.write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=yes", unit],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


def _after_install(tree: Path) -> str:
    tool(tree, "install", "s390x", "riscv64")
    return (tree / UNIT).read_text()


def test_an_equivalent_file_of_the_distribution_is_left_alone(tree: Path) -> None:
    tool(tree, "install", "s390x")
    own = (tree / "etc/binfmt.d/qemu-s390x.conf").read_text().splitlines()[-1]
    line = own.removeprefix(BY_UNIT)
    tool(tree, "uninstall")
    (tree / PACKAGED).parent.mkdir(parents=True, exist_ok=True)
    (tree / PACKAGED).write_text(line + "\n")
    before = contents(tree)
    assert "nothing changed" in tool(tree, "install", "s390x").stdout
    assert contents(tree) == before


def test_a_file_without_f_is_masked_and_comes_back(tree: Path) -> None:
    tool(tree, "install", "s390x")
    own = (tree / "etc/binfmt.d/qemu-s390x.conf").read_text().splitlines()[-1]
    line = own.removeprefix(BY_UNIT)
    tool(tree, "uninstall")
    (tree / PACKAGED).parent.mkdir(parents=True, exist_ok=True)
    (tree / PACKAGED).write_text(line.removesuffix("OF") + "\n")
    before = contents(tree)
    tool(tree, "install", "s390x")
    assert (tree / "etc/binfmt.d/qemu-s390x.conf").exists()
    tool(tree, "uninstall")
    assert contents(tree) == before


def test_an_administrators_own_file_is_not_overwritten(tree: Path) -> None:
    (tree / "etc/binfmt.d").mkdir()
    (tree / "etc/binfmt.d/qemu-s390x.conf").write_text("# mine\n")
    before = contents(tree)
    done = tool(tree, "install", "s390x")
    assert done.returncode == 4
    assert f"mv {tree}/etc/binfmt.d/qemu-s390x.conf" in done.stdout
    assert contents(tree) == before


def test_a_missing_emulator_names_the_command_that_brings_it(tree: Path) -> None:
    done = tool(tree, "install", "riscv64")
    assert done.returncode == 5
    assert f"run: chroot {tree} apt-get install" in done.stdout + done.stderr
    asked = tool(tree, "install", "riscv64", "--install-qemu")
    assert asked.returncode == 5
    assert f"run: chroot {tree} apt-get install" in asked.stderr
    assert "(or use --install-qemu)" not in asked.stderr
    assert "qemu-user-static" in done.stdout + done.stderr


def test_the_trees_own_architecture_is_never_registered(tree: Path) -> None:
    shutil.copy(tree / "usr/bin/qemu-s390x-static", tree / f"usr/bin/qemu-{NATIVE}-static")
    before = contents(tree)
    tool(tree, "install", NATIVE)
    assert contents(tree) == before


def test_an_emulator_for_another_machine_is_refused(tree: Path) -> None:
    shutil.copy(PROBES / "riscv64", tree / "usr/bin/qemu-s390x-static")
    done = tool(tree, "install", "s390x", "--format", "json")
    assert done.returncode == 5
    data = json.loads(done.stdout)
    assert_fits(data)
    assert data["errors"][0]["code"] == "interpreter-wrong-architecture"


def test_garbage_in_binfmt_d_is_reported_and_does_no_harm(tree: Path) -> None:
    (tree / "etc/binfmt.d").mkdir()
    (tree / "etc/binfmt.d/bad.conf").write_bytes(b":\xff\xfe\x00:M::\nnonsense\n" + b"x" * 5000)
    (tree / "etc/binfmt.d/loop.conf").symlink_to("loop.conf")
    (tree / "etc/binfmt.d/directory.conf").mkdir()
    os.mkfifo(tree / "etc/binfmt.d/fifo.conf")
    before = {k for k in contents(tree) if "fifo" not in k}
    for command in (("check", "s390x"), ("status",), ("install", "s390x"), ("uninstall",)):
        done = tool(tree, *command)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 1)
    assert {k for k in contents(tree) if "fifo" not in k} == before


def test_no_link_leads_out_of_the_tree(tree: Path) -> None:
    (tree / "usr/bin/qemu-s390x-static").unlink()
    (tree / "usr/bin/qemu-s390x-static").symlink_to("/../../../../../../bin/sh")
    done = tool(tree, "install", "s390x")
    text = (tree / UNIT).read_text()
    assert done.returncode == 0
    assert str(tree) not in text
    assert "/bin" in text


def test_json_of_every_command_fits_the_schema(tree: Path) -> None:
    for command in (
        ("check", "s390x"), ("install", "s390x", "--check"), ("install", "s390x"),
        ("install", "riscv64"), ("status",), ("unit", "s390x"), ("uninstall", "--check"),
        ("uninstall",),
    ):  # fmt: skip
        done = tool(tree, *command, "--format", "json")
        assert_fits(json.loads(done.stdout))
