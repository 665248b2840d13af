"""What the tests stand on: system packages, Pythons with environments, and a way to run.

scripts/test uses it, and decides what to run on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import IO

TOP = Path(__file__).resolve().parent.parent
OLDEST = (3, 10)
NEWEST = (3, 14)
# A command that tells nothing new for so long hangs. Whole tiers may take longer: how long
# depends on what the machine does besides.
MOST_SECONDS = 600
LOOK_SECONDS = 1
# What it gets then to take down what it has set up.
GRACE_SECONDS = 30

# Tests mount file systems of their own over these; a clone below one would be out of sight.
HIDDEN = ("/etc", "/mnt", "/run")

# Debian and Ubuntu packages, each with what it is for.
PACKAGES = {
    "python3-venv": "virtual environments of the system's Python",
    "strace": "faults at each system call of a run",
    "shellcheck": "lints the shell scripts",
    "bash-completion": "shells that complete command lines: this for bash,",
    "zsh": "this,",
    "fish": "and this",
    "mandoc": "lints the manual pages,",
    "groff": "and so does this,",
    "man-db": "and this shows them",
    "qemu-user-static": "the emulators that are registered and run",
    "busybox-static": "a program without libraries for chroots",
    "uidmap": "newuidmap, for namespaces with more than one user",
    "procps": "ps and pgrep, to see what a test left running",
    "iproute2": "ip, for the network of a namespace",
    "util-linux": "unshare, nsenter, mount and flock",
    "systemd": "systemd-binfmt, and systemd-analyze for the units",
    "systemd-container": "systemd-nspawn, which boots a systemd with a registry of its own",
    "arch-test": "an independent judge of what runs; mmdebstrap asks it too",
    "mmdebstrap": "root file systems of foreign distributions",
    "docker-registry": "a real registry for images with emulators",
    "dnf": "the package manager of Fedora,",
    "zypper": "that of openSUSE,",
    "pacman-package-manager": "that of Arch,",
    "rpm": "packages for the first two,",
    "createrepo-c": "and repositories of them",
    "rpmlint": "lints the recipe for the first two,",
    "makepkg": "and this reads that for Arch",
    "gcc": "builds the probes of this architecture",
    "libc6-dev": "the C library for it",
    "gcc-aarch64-linux-gnu": "builds a foreign program, static or dynamic",
    "libc6-dev-arm64-cross": "the C library for that",
}

# What the tests, pip and apt get to see of the caller's environment; everything else (locale,
# NO_COLOR, PYTHON*, QEMU_*, DOCKER_HOST …) could change what is tested.
KEPT_VARIABLES = (
    *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "XDG_RUNTIME_DIR", "CI"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("SSL_CERT_FILE", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"),
    *("PIP_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_RETRIES", "PIP_DEFAULT_TIMEOUT"),
)


@dataclass(frozen=True)
class Interpreter:
    """A Python found on this machine, with the environment made from it."""

    version: tuple[int, int]
    path: str

    @property
    def name(self) -> str:
        """The version as people write it."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def environment(self) -> Path:
        """Where its virtual environment is."""
        return TOP / ".venvs" / f"py{self.name}"

    @property
    def python(self) -> str:
        """The Python inside that environment."""
        return str(self.environment / "bin" / "python")


@dataclass
class Result:
    """What one check, or one tier on one Python, came to."""

    name: str
    passed: int = 0
    failed: int = 0
    skips: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    output: str = ""
    broken: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> int:
        """How many tests were skipped."""
        return sum(self.skips.values())

    @property
    def tests(self) -> int:
        """How many tests there were."""
        return self.passed + self.failed + self.skipped


def debian_mirror() -> str:
    """The archive that this machine takes Debian's packages from; empty when apt knows none."""
    if not shutil.which("apt-get"):
        return ""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)|$(CREATED_BY)"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    for line in listed.splitlines():
        origin, uri, created_by = line.split("|")
        if origin == "Debian" and created_by == "Packages" and "security" not in uri:
            return uri.rstrip("/")
    return ""


def hidden_by_tests(clone: Path) -> str:
    """Return the folder that tests mount over and in which the clone lies, "" where none is."""
    return next((folder for folder in HIDDEN if clone.is_relative_to(folder)), "")


def say(text: str) -> None:
    """Print a line at once, also when stdout is a pipe."""
    print(text, flush=True)


def require(good: bool, what: str, more: object = "") -> None:  # noqa: FBT001 - as in assert
    """Say what held, or end where it does not."""
    if not good:
        sys.exit(f"not so: {what}\n{more}")
    say(f"yes: {what}")


def environment(**more: str) -> dict[str, str]:
    """Return the environment of everything that is started here."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8"} | more


class Silence:
    """For how long a command has told nothing new."""

    def __init__(self, now: float) -> None:
        self._told, self._since = 0, now
        self.seconds = 0.0

    def look(self, told: int, now: float) -> None:
        """See how many bytes it has told so far."""
        if told != self._told:
            self._told, self._since = told, now
        self.seconds = now - self._since


class Children:
    """What runs at this moment, to be ended with the tests."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._no_more = False

    def wait(
        self, command: list[str], stream: IO[bytes], variables: dict[str, str], log: Path
    ) -> int:
        """Run a command to its end, or until its output and log have not grown for too long."""
        if self._no_more:
            return 130
        with subprocess.Popen(
            command, cwd=TOP, env=variables, stdin=subprocess.DEVNULL, stdout=stream,
            stderr=subprocess.STDOUT, start_new_session=True,
        ) as child:  # fmt: skip
            self._running.add(child)
            silence = Silence(time.monotonic())
            try:
                while silence.seconds < MOST_SECONDS:
                    with suppress(subprocess.TimeoutExpired):
                        return child.wait(LOOK_SECONDS)
                    told = os.fstat(stream.fileno()).st_size
                    told += log.stat().st_size if log.exists() else 0
                    silence.look(told, time.monotonic())
                self._end(child)
                return 124
            finally:
                self._running.discard(child)

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        """End it with all that it started; first as Ctrl-C does, so that it can clean up."""
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_SECONDS)
            # What it left behind, too: a shell's children in the background ignore Ctrl-C.
            os.killpg(child.pid, signal.SIGKILL)

    def end_all(self) -> None:
        """Let nothing go on, and nothing start any more."""
        self._no_more = True
        for child in list(self._running):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGINT)


CHILDREN = Children()
NO_LOG = Path("/dev/null")


def run(
    name: str, command: list[str], variables: dict[str, str] | None = None, *, log: Path = NO_LOG
) -> tuple[int, Result]:
    """Run a command from the top of the repository and keep what it printed.

    A log that grows shows that it goes on, as its output does.
    """
    start = time.monotonic()
    # A file, not a pipe: a daemon left behind by a test cannot keep this waiting.
    with tempfile.TemporaryFile() as stream:
        try:
            code = CHILDREN.wait(command, stream, environment(**variables or {}), log)
            note = f"\nended: nothing new for {MOST_SECONDS} s\n" if code == 124 else ""
        except OSError as error:
            code, note = 127, f"{command[0]}: {error.strerror}\n"
        stream.seek(0)
        output = stream.read().decode(errors="replace") + note
    return code, Result(name, output=output, seconds=time.monotonic() - start)


# --- system packages -----------------------------------------------------------------------


def missing_packages() -> list[str]:
    """Return the packages of the list that are not installed."""
    query = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *PACKAGES]
    _, answer = run("dpkg-query", query)
    return [name for name in PACKAGES if f"{name} installed\n" not in answer.output]


def install_packages(*, allowed: bool) -> None:
    """Say what is missing, and install it where that is allowed.

    The tests tell what they could not do without.
    """
    if not shutil.which("dpkg-query"):
        say("packages  not Debian or Ubuntu: make sure that these are there:")
        say("          " + ", ".join(PACKAGES))
        return
    missing = missing_packages()
    if missing and allowed and os.geteuid() == 0:
        apt("update")
        # One by one when all together fail: an unknown name must not keep out the others.
        if not install(missing):
            for name in missing:
                install([name])
        missing = missing_packages()
    for name in missing:
        say(f"packages  missing: {name} ({PACKAGES[name]})")


def install(names: list[str]) -> bool:
    """Say what comes onto this machine, then install it."""
    planned = apt("install", *names, simulate=True)
    coming = re.findall(r"^Inst (\S+)", planned.output, re.MULTILINE)
    if not planned.failed:
        say("packages  to be installed on this machine (--no-packages leaves it as it is):")
        say("          " + ", ".join(coming))
        planned = apt("install", *names)
    if planned.failed:
        say(planned.output.rstrip())
    return not planned.failed


def apt(task: str, *names: str, simulate: bool = False) -> Result:
    """Run apt-get without questions."""
    options = ["-qy", "-o", "DPkg::Lock::Timeout=120"]
    options += ["--no-install-recommends"] if names else []
    options += ["--simulate"] if simulate else []
    command = ["apt-get", *options, task, *names]
    code, result = run("apt-get", command, {"DEBIAN_FRONTEND": "noninteractive"})
    result.failed = int(bool(code))
    return result


# --- Pythons and their environments --------------------------------------------------------


def candidates() -> list[str]:
    """Return where a Python may be, in order of preference."""
    names = [f"python{OLDEST[0]}.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1)]
    found = [path for name in [*names, "python3"] if (path := shutil.which(name))]
    elsewhere = [
        *Path.home().glob(".pyenv/versions/*/bin/python3"),
        *Path("/opt").glob("python*/bin/python3"),
    ]
    return found + sorted(map(str, elsewhere))


def interpreter(path: str) -> Interpreter | None:
    """Ask a Python for its version; None when it is no good here."""
    code = "import ensurepip, sys, venv; print(*sys.version_info[:2], sys.executable)"
    try:
        done = subprocess.run(
            [path, "-I", "-c", code], capture_output=True, text=True, check=True, cwd=TOP
        )
        major, minor, executable = done.stdout.rstrip("\n").split(" ", 2)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None
    version = (int(major), int(minor))
    return Interpreter(version, executable) if OLDEST <= version <= NEWEST else None


def find_interpreters(wished: str | None) -> list[Interpreter]:
    """Return one Python of each version, the oldest first."""
    found: dict[tuple[int, int], Interpreter] = {}
    with ThreadPoolExecutor() as pool:
        for answer in pool.map(interpreter, candidates()):
            if answer and wished in {None, answer.name}:
                found.setdefault(answer.version, answer)
    return [found[version] for version in sorted(found)]


def make_environment(python: Interpreter) -> Result | None:
    """Make the virtual environment of a Python anew if it is not up to date."""
    start = time.monotonic()
    wish = hashlib.sha256((TOP / "pyproject.toml").read_bytes() + python.path.encode())
    stamp = python.environment / "stamp"
    if stamp.is_file() and stamp.read_text() == wish.hexdigest() and Path(python.python).exists():
        return None
    shutil.rmtree(python.environment, ignore_errors=True)
    install = [python.python, "-I", "-m", "pip", "install", "--quiet", "--prefer-binary"]
    for command in (
        [python.path, "-I", "-m", "venv", str(python.environment)],
        [*install, "--disable-pip-version-check", "--editable", ".[test]"],
    ):
        code, result = run(f"venv py{python.name}", command)
        if code:
            result.failed = 1
            return result
    # Last of all: an interrupted run leaves no stamp.
    stamp.write_text(wish.hexdigest())
    say(f"venv      made for Python {python.name} in {time.monotonic() - start:.0f} s")
    return None


def make_environments(pythons: list[Interpreter]) -> list[Result]:
    """Make all environments at the same time; return what went wrong."""
    folder = TOP / ".venvs"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock, ThreadPoolExecutor() as pool:
        # Another run of the tests may be making them right now.
        fcntl.flock(lock, fcntl.LOCK_EX)
        return [failure for failure in pool.map(make_environment, pythons) if failure]


def in_environment() -> None:
    """Go on in an environment that has what the tool and its tests need, made if need be.

    For scripts that anybody's python3 starts. Does nothing where that has everything.
    """
    if find_spec("typer") and find_spec("pytest"):
        return
    pythons = find_interpreters(None)[:1]
    if not pythons or make_environments(pythons):
        sys.exit("no environment can be made here: see what scripts/test says")
    os.execv(pythons[0].python, [pythons[0].python, *sys.argv])  # noqa: S606 - our own
