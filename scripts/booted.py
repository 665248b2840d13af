"""Root trees of Debian's releases, booted as hosts: what scripts that try whole hosts share."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from testbed import debian_mirror

if TYPE_CHECKING:
    from pathlib import Path

    from tests.bootlab import Machine

BASE = "systemd-sysv,dbus,procps,man-db,debianutils"
# The whole range of ids: so the container takes itself for a host, with a registry of its own.
IDENTITY = "--private-users=0:4294967295"
SECONDS = 1500


def kept_tree(name: str, release: str, packages: str, *options: str) -> Path:
    """A tree of a release with some packages, made once."""
    from tests import bootlab

    mark = hashlib.sha256(repr((packages, options)).encode()).hexdigest()[:12]
    tree = bootlab.cache_directory() / f"{name}-{mark}"
    if not tree.exists():
        fresh = tree.with_name(f"{tree.name}.part")
        shutil.rmtree(fresh, ignore_errors=True)
        subprocess.run(
            ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={packages}",
             '--aptopt=Acquire::Check-Valid-Until "false"', *options,
             "--dpkgopt=path-exclude=/usr/share/doc/*",
             "--dpkgopt=force-unsafe-io", release, fresh, debian_mirror()],
            check=True, capture_output=True,
        )  # fmt: skip
        shutil.rmtree(fresh / "dev", ignore_errors=True)
        (fresh / "dev").mkdir()
        fresh.rename(tree)
    return tree


def boot(made: Machine, script: str, *, init: bool = True, network: bool = False) -> dict[str, str]:
    """Boot the machine, which takes itself for a host; what each `try` printed, by its name."""
    from tests import bootlab

    made.stage(script)
    with bootlab.nspawn_groups() as groups:
        command = bootlab.nspawn_command(made.tree, groups, init=init)
        command[-1] = command[-1].replace(f"--private-users={bootlab.USERS}", IDENTITY)
        command[-1] = command[-1].replace(f" {bootlab.BOOT_SECONDS} ", f" {SECONDS} ")
        if network:
            command[-1] = command[-1].replace("--private-network", "")
        environment = {**bootlab.CLEAN, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              check=False, errors="replace", env=environment)  # fmt: skip
    answers = {p.suffix[1:]: p.read_text(errors="replace")
               for p in made.path(bootlab.LAB).glob("answer.*")}  # fmt: skip
    if done.returncode or "finished" not in answers:
        sys.exit(f"the boot broke off: {done.stdout}{done.stderr}{made.read(bootlab.LAB + '/log')}")
    return answers


def expect(answers: dict[str, str], name: str, *words: str, status: int = 0) -> None:
    """One answer has this status and these words."""
    said = answers.get(name, "nothing")
    if not said.endswith(f"status {status}\n") or any(word not in said for word in words):
        sys.exit(f"{name}: {words} with status {status} was expected:\n{said}")
