"""OpenRC: the same files, read by its own script, with OpenRC as the init that boots."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests import bootlab
from tests.bootlab import LAB, REGISTRY, RUNS, Machine

pytestmark = pytest.mark.skipif(bool(bootlab.why_not()), reason=bootlab.why_not() or "it can")

PACKAGES = "openrc,sysvinit-core,python3"
# Debian's package has the script that reads binfmt.d but leaves out the service that runs it;
# this does what the service of OpenRC's own release does, and mounts what its procfs would.
SERVICE = f"""#!/sbin/openrc-run
start() {{
    [ -e {REGISTRY}/register ] || mount -t binfmt_misc binfmt_misc {REGISTRY}
    /lib/rc/sh/binfmt.sh
}}
"""
DRIVER = f"""#!/sbin/openrc-run
depend() {{ after binfmt; }}
start() {{
    sh {LAB}/stage >{LAB}/log 2>&1 </dev/null
    sync
    /sbin/poweroff -f
}}
"""


def openrc_machine(folder: str) -> Machine:
    tree = Path(folder, "tree")
    bootlab.copy_tree(bootlab.base_tree("bookworm", PACKAGES), tree)
    box = Machine(tree)
    bootlab.furnish(box)
    for name, text in (("binfmt", SERVICE), ("lab", DRIVER)):
        box.write(f"/etc/init.d/{name}", text)
        box.path(f"/etc/init.d/{name}").chmod(0o755)
    box.link("/etc/runlevels/default/lab", "/etc/init.d/lab")
    return box


def codes(box: Machine, name: str) -> dict[str, str]:
    """The findings of an answer, each with its hint."""
    data = json.loads(box.answer(name).rpartition("status ")[0])
    return {finding["code"]: finding["hint"] for finding in data["findings"]}


def test_the_same_files_serve_openrc() -> None:
    with TemporaryDirectory(dir=bootlab.cache_directory()) as folder:
        box = openrc_machine(folder)
        box.link("/etc/runlevels/boot/binfmt", "/etc/init.d/binfmt")
        written = box.offline("install", "arm64")["actions"]
        assert isinstance(written, list)
        assert [step["target"] for step in written] == ["/etc/binfmt.d/qemu-aarch64.conf"]
        box.install_tool()
        box.boot(
            f"try runs sh {LAB}/foreign\n"
            f"try flags cat {REGISTRY}/qemu-aarch64\n"
            "try good setup check arm64 --format json\n"
            "rc-update del binfmt boot\n"
            "try lost setup check arm64 --format json\n"
        )
        assert RUNS in box.answer("runs")
        assert "flags: OF" in box.answer("flags")
        assert "not-persistent" not in codes(box, "good")
        assert codes(box, "lost")["not-persistent"] == "run: rc-update add binfmt boot"
        # Booted again as it is now: what check foretold.
        box.remove_tool()
        box.boot(f"try runs sh {LAB}/foreign\n")
        assert RUNS not in box.answer("runs")
