"""A container with the host's root prepares that host for good: real systemd, real reboot."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from tests import bootlab, image_tree
from tests.bootlab import LAB, QEMU, REGISTRY, RUNS
from tests.image_host import LEAST

WHY_NOT = bootlab.why_not() or image_tree.why_not()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "it can")

# All users as themselves: so it is a host to the tool, as its container is one's with --pid=host.
EVERYBODY = "0:4294967295"
IMAGE = "/srv/image"
# As a runtime does it, with the host's root bound, read-only itself, and CAP_SYS_CHROOT alone.
CONTAINER = f"""
[ "$(ls {REGISTRY})" ] || mount -t binfmt_misc binfmt_misc {REGISTRY}
[ "$(ls {REGISTRY} | wc -l)" = 2 ] || exit 1  # it must be this machine's own
contained() {{
    unshare --mount --propagation slave sh -ec '
        mount --bind {IMAGE} {IMAGE} && cd {IMAGE}
        mount --rbind / host && mount -t proc proc proc && mount -t tmpfs tmpfs run
        mount -o remount,bind,ro .
        exec {LEAST} chroot . /usr/bin/binfmt --persist-to /host "$@"' sh "$@"
}}
"""


def test_what_a_container_persists_survives_without_its_image() -> None:
    with bootlab.machine() as made:
        box = replace(made, users=EVERYBODY)
        box.path(QEMU).unlink()
        shutil.copytree(image_tree.image_tree(), box.path(IMAGE), symlinks=True)
        box.boot(
            CONTAINER
            + "try first contained --install arm64\n"
            + "try again contained install arm64 --format json\n"
            + "try left ls -A /run\n"
            + f"try runs sh {LAB}/foreign\n"
            + f"rm -r {IMAGE}\n"
        )
        assert box.answer("first").startswith("installing: arm64 OK\n"), box.answer("first")
        again = box.answer("again")
        answer = json.loads(again[again.index("{\n") : again.rindex("status ")])
        assert (answer["ok"], answer["changed"]) == (True, False)
        assert [platform["persistent"] for platform in answer["platforms"]] == [True]
        assert "binfmt-setup-" not in box.answer("left")
        assert RUNS in box.answer("runs")

        box.boot(f"try runs sh {LAB}/foreign\ntry entry cat {REGISTRY}/qemu-aarch64\n")
        assert RUNS in box.answer("runs")
        assert RUNS in box.read(f"{LAB}/docker")  # it ran before docker started
        assert "interpreter /usr/local/lib/binfmt-setup/qemu/" in box.answer("entry")
