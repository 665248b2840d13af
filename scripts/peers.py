"""What scripts/bench measures and measures against: the tool as installed, and its peers.

Everything is made in a working directory that is thrown away afterwards, with no rights but
those of the caller, and before the namespace is entered (which may have no network).
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from testbed import debian_mirror

TOP = Path(__file__).resolve().parent.parent
SYSTEMD_BINFMT = Path("/usr/lib/systemd/systemd-binfmt")
DISTRIBUTION_FILES = Path("/usr/lib/binfmt.d")
_QEMU_SCRIPT = "scripts/qemu-binfmt-conf.sh"
_GO_MODULE = "github.com/tonistiigi/binfmt/cmd/binfmt@latest"
_DOWNLOAD_SECONDS = 300
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class Unavailable(Exception):
    """A peer that cannot be had here; the words say why."""


@dataclass(frozen=True)
class Peers:
    """What was installed and built; a peer that is not there has its reason in `lacking`."""

    tool: Path
    python: Path
    back_to_back: Path
    emulators: Path
    systemd_files: tuple[Path, ...]
    qemu_script: Path | None
    tonistiigi: Path | None
    versions: dict[str, str]
    lacking: dict[str, str]

    def save(self, file: Path) -> None:
        """Write down what was made, for the process in the namespace."""
        file.write_text(json.dumps(asdict(self), default=str))

    @classmethod
    def load(cls, file: Path) -> Peers:
        """Read what `save` wrote."""
        data = json.loads(file.read_text())
        for name in ("tool", "python", "back_to_back", "emulators", "qemu_script", "tonistiigi"):
            data[name] = data[name] and Path(data[name])
        data["systemd_files"] = tuple(Path(name) for name in data["systemd_files"])
        return cls(**data)


def assemble(work: Path, base_python: str, tonistiigi: Path | None = None) -> Peers:
    """Install the tool and get its peers; raises Unavailable for what nothing works without.

    `tonistiigi` is that program where somebody has built it already.
    """
    environment = install_tool(work, base_python)
    lacking: dict[str, str] = {}
    script = None
    try:
        tonistiigi = tonistiigi or build_tonistiigi(work)
        link_emulators(work / "emulators")
    except Unavailable as error:
        lacking["tonistiigi/binfmt"] = str(error)
        try:
            script = fetch_qemu_script(work)
        except Unavailable as other:
            lacking["qemu-binfmt-conf.sh"] = str(other)
    if not SYSTEMD_BINFMT.exists():
        lacking["systemd-binfmt"] = f"{SYSTEMD_BINFMT} is not there: install systemd"
    files = tuple(sorted(DISTRIBUTION_FILES.glob("qemu-*.conf")))
    if not files:
        lacking["binfmt.d"] = f"no {DISTRIBUTION_FILES}/qemu-*.conf: install qemu-user-static"
    python = environment / "bin" / "python"
    return Peers(
        environment / "bin" / "binfmt-setup", python, build_back_to_back(work),
        work / "emulators", files, script, tonistiigi, versions(python), lacking,
    )  # fmt: skip


def output(*command: str | Path, seconds: float = 60, **more: str) -> str:
    """What a command prints; raises Unavailable, with its last line, when it fails."""
    words = [str(word) for word in command]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            words, env=kept | more, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{words[0]}` took more than {seconds:g} s") from error
    except OSError as error:
        raise Unavailable(f"`{words[0]}`: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no word"]
        raise Unavailable(f"`{' '.join(words[:3])} …` failed: {said[0]}")
    return done.stdout


def install_tool(work: Path, base_python: str) -> Path:
    """A virtual environment with the tool as a user gets it, its bytecode compiled."""
    environment = work / "venv"
    output(base_python, "-I", "-m", "venv", environment)
    # `--compile` is pip's default and PYTHONDONTWRITEBYTECODE is kept away from it.
    output(
        environment / "bin" / "python", "-I", "-m", "pip", "install", "--quiet", "--compile",
        "--disable-pip-version-check", TOP, seconds=_DOWNLOAD_SECONDS,
    )  # fmt: skip
    output(environment / "bin" / "python", "-I", "-m", "compileall", "-q", environment / "lib")
    return environment


def build_back_to_back(work: Path) -> Path:
    """The comparator in C."""
    program = work / "back-to-back"
    source = Path(__file__).with_name("back-to-back.c")
    output("cc", "-O2", "-Wall", "-Werror", "-o", program, source)
    return program


def build_tonistiigi(work: Path) -> Path:
    """tonistiigi/binfmt out of the Go module proxy."""
    if shutil.which("go") is None:
        raise Unavailable("building it needs `go`: install golang-go")
    folders = {"GOBIN": str(work), "GOPATH": str(work / "go"), "GOCACHE": str(work / "go-cache")}
    output("go", "install", "-modcacherw", _GO_MODULE, seconds=_DOWNLOAD_SECONDS, **folders)
    return work / "binfmt"


def link_emulators(folder: Path) -> None:
    """Debian's static emulators under the names that tonistiigi/binfmt looks for."""
    folder.mkdir()
    for file in Path("/usr/bin").glob("qemu-*-static"):
        (folder / file.name.removesuffix("-static")).symlink_to(file)


def fetch_qemu_script(work: Path) -> Path:
    """QEMU's own script, out of the Debian source package: no binary package holds it."""
    lists = work / "apt" / "lists"
    (lists / "partial").mkdir(parents=True)
    sources = work / "apt" / "sources.list"
    release = platform.freedesktop_os_release()
    suite = release.get("VERSION_CODENAME") if release["ID"] == "debian" else None
    mirror = debian_mirror()
    if not mirror:
        raise Unavailable("apt knows no archive of Debian's: run apt-get update")
    archive_line = f"{mirror} {suite or 'stable'} main"
    sources.write_text(f"deb-src [signed-by={_KEYRING}] {archive_line}\n")
    apt = (
        "apt-get", "-qq", "-o", f"Dir::Etc::SourceList={sources}",
        "-o", "Dir::Etc::SourceParts=/dev/null", "-o", f"Dir::State::Lists={lists}",
        "-o", f"Dir::Cache={work / 'apt'}", "-o", "Debug::NoLocking=1",
        "-o", "APT::Sandbox::User=root",
    )  # fmt: skip
    output(*apt, "update", seconds=_DOWNLOAD_SECONDS)
    output(
        "env", f"--chdir={work}", *apt, "source", "--download-only", "--tar-only", "qemu",
        seconds=_DOWNLOAD_SECONDS,
    )  # fmt: skip
    archive = next(work.glob("qemu_*.orig.tar.xz"), None)
    if archive is None:
        raise Unavailable("Debian's source package of QEMU has no .orig.tar.xz")
    output("tar", "-C", work, "-xf", archive, "--strip-components=1", "--wildcards",
           f"*/{_QEMU_SCRIPT}")  # fmt: skip
    archive.unlink()
    return work / _QEMU_SCRIPT


def versions(python: Path) -> dict[str, str]:
    """What took part, by name."""
    packages = output(python, "-I", "-m", "pip", "--disable-pip-version-check", "freeze")
    listed = dict(line.split("==") for line in packages.splitlines() if "==" in line)
    found = {"Python": output(python, "-VV").strip().partition(" ")[2]}
    found |= {name: listed[name] for name in ("typer",) if name in listed}
    asked = {
        "QEMU": ("qemu-aarch64-static", "--version"),
        "systemd": ("systemctl", "--version"),
        "C compiler": ("cc", "--version"),
    }
    for name, command in asked.items():
        try:
            found[name] = output(*command).splitlines()[0]
        except Unavailable as error:
            found[name] = str(error)
    return found
