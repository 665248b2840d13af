"""The action on a runner without docker, and the commands of docs/ci.md: on a host of their own."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import ci, ci_runner, registries
from tests.ci_runner import act, said
from tests.emulator_sources import version_of
from tests.own_namespace import TOP
from tests.packing import Item, image, tar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.image_host import ImageHost

QEMU = Path("/usr/bin/qemu-aarch64-static")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not QEMU.exists(),
    reason="all users are mapped by root alone" if os.geteuid() else "no qemu-user-static",
)
# The tool, with an emulator that fails at something, as each does; exercising takes half a minute.
WITH_FAULTS = """
mkdir /mnt/faulty
cat >/mnt/faulty/binfmt-setup <<'END'
#!/bin/sh
case "$*" in "check --deep "*) echo "fail heap-pie"; exit 1 ;; esac
exec /mnt/tool/binfmt-setup "$@"
END
chmod 755 /mnt/faulty/binfmt-setup
"""
HOSTILE = (
    "$(touch /mnt/temp/made)`touch /mnt/temp/made`;touch /mnt/temp/made\n"
    "';touch /mnt/temp/made;'\";touch /mnt/temp/made;\"\n::warning::forged\n--root=/mnt/temp/made"
)


@pytest.fixture
def runner() -> Iterator[ImageHost]:
    """A runner with the tool."""
    with ci_runner.runner() as made:
        yield made


def test_without_docker_it_is_the_tool_with_the_package_of_the_runner(runner: ImageHost) -> None:
    runner.run("sh", "-ec", WITH_FAULTS)
    done = act(runner, {"platforms": "arm64, riscv64", "deep": "true"}, tool="/mnt/faulty:")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "::group::Exercises\nfail heap-pie\n::endgroup::\n::warning " in done.stdout
    assert "::group::Install arm64 riscv64\n" in done.stdout
    assert sorted(runner.entries()) == ["qemu-aarch64", "qemu-riscv64"]
    assert "| linux/riscv64 | ✅ runs | emulated | qemu-riscv64 |" in said(runner, "summary")
    output = said(runner, "output")
    assert output.startswith("platforms=linux/amd64,")
    assert output.endswith(",linux/arm64,linux/riscv64\n")

    done = act(
        runner, {"platforms": "arm64", "reset": "true", "check": "false", "qemu-version": "6"}
    )
    assert done.returncode == 1
    assert "removed 4 items, 2 put back\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith(
        f"::error title=binfmt-setup::QEMU {version_of(QEMU)} "
    )
    assert said(runner, "output") == output


def test_without_docker_the_emulators_come_out_of_the_image(
    runner: ImageHost, tmp_path: Path
) -> None:
    if not registries.PROGRAM:
        pytest.skip("docker-registry is not installed")
    layer, version = tar(Item("usr/bin/qemu-aarch64", QEMU.read_bytes())), version_of(QEMU)
    with registries.running(tmp_path / "registry") as address:
        registries.push(address, "binfmt", f"qemu-v{version}", image(layer))
        done = act(
            runner, {"image": f"{address}/binfmt", "platforms": "arm64", "qemu-version": version}
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"/usr/local/lib/binfmt-setup/qemu/{version}-" in runner.entries()["qemu-aarch64"]
    # A tag: it is said how to stay with what it is now.
    assert f"--qemu image:{address}/binfmt@sha256:" in done.stderr


@pytest.mark.parametrize("name", ci.action()["inputs"])
def test_an_input_is_never_a_part_of_a_script(runner: ImageHost, name: str) -> None:
    done = act(runner, {"platforms": "arm64", name: HOSTILE})
    assert runner.run("ls", "/mnt/temp").stdout == "output\nsummary\n"
    printed = (done.stdout + done.stderr + said(runner, "output")).splitlines()
    assert [line for line in printed if line.startswith("::warning::")] == []
    assert done.returncode in (1, 2, 5), done.stdout + done.stderr
    assert any(line.startswith("::error ") for line in printed)


def test_every_command_of_the_page(runner: ImageHost) -> None:
    """But for the single file's, which tests/root/test_single_file.py runs."""
    lines = re.findall(r"^\$ (.+)$", (TOP / "docs/ci.md").read_text(encoding="utf-8"), re.MULTILINE)
    place = "cd /mnt/temp; PATH=/mnt/tool:/mnt/bin:$PATH; printf 'test:\\n\\ttrue\\n' >Makefile; "
    assert len(lines) == 5
    for line in lines:
        if ".pyz" not in line:
            done = runner.run("bash", "-ec", place + line.replace("install l", "install riscv64 l"))
            assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
