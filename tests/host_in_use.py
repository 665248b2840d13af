"""This machine as a host in use: other tools, engines and settings planted over its files.

`python -m tests.host_in_use COMMAND…` runs a command where the machine's folders carry what
other tools leave on hosts: another distribution's name, formats of binfmt-support, binfmt.d
files, units and locks of a binfmt-setup, emulators, container engines, and settings in root's
home and the environment. All of it is wrong, so that a test fails which looks there.
scripts/test runs the open tiers of the newest Python so. It takes root.

Everything lies in a mount namespace that ends with the command: the machine stays as it is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FOLDERS = ("/etc", "/usr/lib/binfmt.d", "/usr/local", "/var/lib")
PLANTED = Path("/run/planted")
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
RULE = f":qemu-aarch64:M::{MAGIC}:{MASK}:/opt/wrong/qemu-aarch64:OCF\n"
FORMAT = f"wrong\nmagic\n0\n{MAGIC}\n{MASK}\n/opt/wrong/qemu-aarch64\n\nyes\nyes\nyes\n"
PROGRAM = "#!/bin/sh\necho planted\nexit 1\n"
UNIT = "[Unit]\nDescription=wrong\n[Service]\nExecStart=/opt/wrong/binfmt-setup\n"
FILES = {
    "/etc/os-release": 'ID=alpine\nVERSION_ID=3.1\nPRETTY_NAME="A host in use"\n',
    "/etc/binfmt.d/qemu-aarch64.conf": RULE,
    "/etc/binfmt.d/wrong.conf": "this is no rule\n",
    "/usr/lib/binfmt.d/qemu-aarch64.conf": RULE,
    "/usr/local/lib/binfmt.d/qemu-riscv64.conf": RULE.replace("aarch64", "riscv64"),
    "/run/binfmt.d/qemu-arm.conf": RULE.replace("aarch64", "arm"),
    "/run/binfmt-setup.lock": "",
    "/run/.containerenv": "engine=wrong\n",
    "/etc/binfmt-setup/register": "wrong\n",
    "/etc/systemd/system/binfmt-setup.service": UNIT,
    "/etc/fstab": "UUID=1 /usr ext4 defaults 0 2\nUUID=2 /var/lib xfs nofail 0 2\n",
    "/etc/docker/daemon.json": '{"wrong": true}\n',
    **{f"/var/lib/binfmts/qemu-{name}": FORMAT for name in ("aarch64", "riscv64", "arm", "s390x")},
}
PROGRAMS = (
    *(f"/usr/local/bin/{name}" for name in ("docker", "podman", "buildah", "update-binfmts")),
    *("/usr/local/bin/qemu-aarch64", "/usr/local/bin/qemu-aarch64-static"),
    "/usr/local/sbin/qemu-riscv64-static",
)
HOME = {
    ".docker/config.json": '{"credsStore": "wrong", "auths": {"localhost": {"auth": "x"}}}',
    ".config/containers/containers.conf": "wrong",
}
SETTINGS = {
    "QEMU_CPU": "wrong", "QEMU_LD_PREFIX": "/opt/wrong", "QEMU_LOG": "wrong", "QEMU_STRACE": "1",
    "NO_COLOR": "1", "FORCE_COLOR": "1", "COLUMNS": "20", "LINES": "5", "TERM": "dumb",
    "XDG_CACHE_HOME": "/opt/wrong", "XDG_CONFIG_HOME": "/opt/wrong", "XDG_DATA_HOME": "/opt/wrong",
    "DOCKER_HOST": "tcp://192.0.2.1:1", "DOCKER_CONFIG": "/opt/wrong", "DOCKER_CONTEXT": "wrong",
    "CONTAINER_HOST": "tcp://192.0.2.1:1", "BUILDX_BUILDER": "wrong", "REGISTRY_AUTH_FILE": "/x",
    "LANG": "de_DE.UTF-8", "LC_ALL": "tr_TR.UTF-8", "LANGUAGE": "de", "TZ": "Asia/Kathmandu",
    "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": "/opt/wrong", "SUDO_UID": "12345",
    "container": "lxc", "PYTHONWARNINGS": "ignore",
}  # fmt: skip


def plant() -> None:
    """Put everything in its place; the folders lie over the machine's, in memory."""
    mount("-t", "tmpfs", "planted", "/run")
    for folder in FOLDERS:
        upper, work = (PLANTED / name / folder.strip("/") for name in ("upper", "work"))
        for own in (upper, work):
            own.mkdir(parents=True)
        options = f"lowerdir={folder},upperdir={upper},workdir={work}"
        mount("-t", "overlay", "-o", options, "planted", folder)
    for path, text in FILES.items():
        write(Path(path), text)
    for program in PROGRAMS:
        write(Path(program), PROGRAM).chmod(0o755)
    for name, text in HOME.items():
        write(PLANTED / "home" / name, text)


def write(path: Path, text: str) -> Path:
    """Write a file anew, also where a link was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)
    return path


def mount(*words: str) -> None:
    """mount(8)."""
    subprocess.run(["mount", *words], check=True)


def main() -> None:
    """Become the command, in a namespace made by unshare(1)."""
    if sys.argv[1] != "--planting":
        again = ["unshare", "--mount", sys.executable, "-m", "tests.host_in_use", "--planting"]
        os.execvp(again[0], [*again, *sys.argv[1:]])  # noqa: S606 - a shell would be in the way
    plant()
    environment = {**os.environ, **SETTINGS, "HOME": str(PLANTED / "home")}
    os.execvpe(sys.argv[2], sys.argv[2:], environment)  # noqa: S606 - likewise


if __name__ == "__main__":
    main()
