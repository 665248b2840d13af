"""A runner of GitHub's without docker: a host of its own, in namespaces, with a user and sudo."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests import ci
from tests.image_host import ImageHost, image_host
from tests.own_namespace import TOP

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Mapping
    from pathlib import Path

USER = "1001"
# Its user becomes root by sudo, without a password: here by a program with the setuid bit.
_SUDO = """#!/bin/sh
[ "$1" = -n ] && shift
exec /mnt/bin/as-root --reuid=0 --regid=0 --clear-groups "$@"
"""
_TOOL = f'#!/bin/sh\nPYTHONPATH={TOP} exec {sys.executable} -m binfmt_setup "$@"\n'
# What is written reaches nothing of the machine.
_MADE = """
mount -o remount,bind,ro /
mount -t tmpfs -o mode=755 none /usr/local
mount -t tmpfs -o mode=755 none /run
mkdir /mnt/bin /mnt/tool /mnt/temp
cp /usr/bin/setpriv /mnt/bin/as-root
chmod 4755 /mnt/bin/as-root
printf %s "$1" >/mnt/bin/sudo
printf %s "$2" >/mnt/tool/binfmt-setup
chmod 755 /mnt/bin/sudo /mnt/tool/binfmt-setup
touch /mnt/temp/output /mnt/temp/summary
chown -R "$3" /mnt/temp
"""


@contextmanager
def runner() -> Iterator[ImageHost]:
    """A fresh one, with the tool in /mnt/tool."""
    with image_host(TOP) as made:
        made.mount()
        done = made.run("sh", "-ec", _MADE, "sh", _SUDO, _TOOL, USER)
        assert done.returncode == 0, done.stderr
        yield made


def act(
    host: ImageHost,
    inputs: Mapping[str, str],
    *,
    folder: Path = ci.FOLDER,
    tool: str = "/mnt/tool:",
    user: str = USER,
    python: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run the action's shell step as a runner's user, with the tool that is found on the way."""
    (run,) = ci.action_runs(inputs, {})
    variables = {
        **run.variables, "GITHUB_ACTION_PATH": str(folder), "RUNNER_TEMP": "/mnt/temp",
        "GITHUB_OUTPUT": "/mnt/temp/output", "GITHUB_STEP_SUMMARY": "/mnt/temp/summary",
        "PATH": f"{tool}/mnt/bin:/usr/bin:/bin", "DOCKER_HOST": "unix:///mnt/no-daemon",
        "PYTHON": python,
    }  # fmt: skip
    words = [f"{name}={value}" for name, value in variables.items()]
    become = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups")
    return host.run("env", "-i", *words, *become, *ci.GITHUB, run.script)


def said(host: ImageHost, name: str) -> str:
    """What the step has left in one of the files that GitHub reads."""
    return host.run("cat", f"/mnt/temp/{name}").stdout
