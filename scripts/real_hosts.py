"""Boot a host of another architecture, and go through the README there, until uninstall.

scripts/boot-test --arch uses it.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from tests import real_host
from tests.bootlab import LAB, REGISTRY
from tests.real_host import CLONE, HELPERS, RUNS, VENV, WHEELS, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bootlab import Machine
    from tests.virtual import Virtual

LEVELS = ("linux/amd64/v2", "linux/amd64/v3", "linux/amd64/v4")
ARM = "linux/arm/v7"
PC = "linux/amd64 linux/386"
WISHED = f"{PC} {ARM}"
TOOL = "binfmt-setup"
# A processor that is emulated takes its time.
TEST_SECONDS = 3000
# What the README says, with a folder of wheels in place of the network.
BOOTSTRAP = f"""
cd {CLONE}
export PIP_NO_INDEX=1 PIP_FIND_LINKS={WHEELS}
try compiler sh -c '! command -v cc && ! command -v gcc'
try bootstrap scripts/bootstrap --version
unset PIP_NO_INDEX PIP_FIND_LINKS
cd /
try before sh {LAB}/foreign
"""
PLATFORMS = f"""
try uname uname -r
try pages getconf PAGE_SIZE
try natives {TOOL} check --format json {ARM}
try install {TOOL} install {WISHED} --format json
try check {TOOL} check {WISHED} {" ".join(LEVELS)} --format json
[ "$(getconf PAGE_SIZE)" = 4096 ] || try deep {TOOL} check {PC} --deep --format json
try static chroot {LAB}/root /bin/busybox sh -c 'echo $((6 * 7))'
try dynamic chroot {LAB}/root /bin/dash -c 'echo $((6 * 7))'
"""
ANSWERS = f"""
try again {TOOL} install {WISHED} --format json
try status {TOOL} status --format json
try explain {TOOL} explain {LAB}/root/{real_host.FOREIGN}
"""
LOOK = f"""
try systemd systemctl --version
try failed systemctl --failed --no-legend --plain
restart
try restarted sh {LAB}/foreign
"""
AWAY = """
mv /usr/local/lib/binfmt-setup /srv/away
for python in /usr/bin/python3*; do mv $python $python.away; done
"""
BACK = f"""
for python in /usr/bin/python3*.away; do mv $python ${{python%.away}}; done
mv /srv/away /usr/local/lib/binfmt-setup
try uninstall {TOOL} uninstall --format json
"""
CLEAN = f"""
try entries ls {REGISTRY}
try files find /etc -name '*binfmt-setup*' -o -name 'qemu-*.conf'
try failed systemctl --failed --no-legend --plain
"""


@dataclass
class Row:
    """What came of one host: what was seen to hold, and facts."""

    name: str
    facts: dict[str, str] = field(default_factory=dict)
    results: dict[str, bool] = field(default_factory=dict)
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return not self.problem and all(self.results.values())


def try_host(kind: Kind, tests: Sequence[str], *, prepared: bool) -> Row:
    """All boots of one host, or one in which tests run."""
    row = Row(kind.hardware.architecture)
    try:
        before = real_host.for_tests if tests else real_host.bootstrap
        steps = [before] if tests or prepared else []
        made_of = kind.for_tests if tests else kind
        with real_host.machine(made_of, *steps, counted=not tests) as made:
            start = time.monotonic()
            if tests:
                _tests(made, row, tests)
            else:
                _boots(made, row, kind)
            row.facts["seconds for all"] = f"{time.monotonic() - start:.0f}"
    except (AssertionError, OSError, ValueError, subprocess.SubprocessError) as error:
        row.problem = str(error)
    return row


def _boots(made: Virtual, row: Row, kind: Kind) -> None:
    box = made.box
    upgrade = f"try upgraded upgrade {kind.emulator(real_host.FOREIGN)}\n"
    if kind.alike:
        made.boot(PLATFORMS)
        _platforms(box, row)
        return
    made.boot(HELPERS + BOOTSTRAP + PLATFORMS + ANSWERS + LOOK + upgrade + AWAY)
    _platforms(box, row)
    _installed(box, row)
    made.boot(HELPERS + LOOK + upgrade + BACK)
    row.results["reboot without Python: runs before docker starts"] = RUNS in box.read(
        f"{LAB}/docker"
    )
    _running(box, row, ", after the reboot")
    row.results["uninstall"] = _said(box, "uninstall")["exit_code"] == 0
    made.boot(CLEAN)
    _clean(box, row)


def _tests(made: Virtual, row: Row, tests: Sequence[str]) -> None:
    """Tests of this clone on the host's own Python and kernel."""
    made.boot(
        f"mount -t tmpfs -o mode=1777 none /tmp\nip link set lo up\ncd {CLONE}\n"
        f"try tests {VENV}/bin/python -m pytest -q -p no:cacheprovider -rs --durations=15 "
        f"-o timeout={TEST_SECONDS} {' '.join(tests)}\n"
        "try uname uname -r\n"
    )
    said = made.box.answer("tests")
    print(said, flush=True)
    row.facts["kernel"] = made.box.answer("uname").splitlines()[0]
    row.facts["tests"] = said.splitlines()[-2]
    row.results[" ".join(tests)] = said.endswith("status 0\n")


def _clean(box: Machine, row: Row) -> None:
    row.results["uninstall leaves nothing, the next boot is clean"] = (
        not re.search(r"qemu-", box.answer("entries"))
        and box.answer("files") == box.answer("failed") == "status 0\n"
        and RUNS not in box.read(f"{LAB}/docker")
    )


def _said(box: Machine, name: str) -> dict[str, object]:
    """The JSON that a command printed, after what it said to people."""
    text = box.answer(name).rpartition("status ")[0]
    found: dict[str, object] = json.loads("{" + text.partition("{")[2])
    return found


def _platforms(box: Machine, row: Row) -> None:
    """What runs on such a processor and kernel."""
    row.facts["kernel"] = box.answer("uname").splitlines()[0]
    row.facts["page size"] = box.answer("pages").splitlines()[0]
    row.facts[f"{ARM} before"] = _states(_said(box, "natives"))[ARM]
    errors = cast("list[dict[str, str]]", _said(box, "install")["errors"])
    row.facts["install says"] = "; ".join(error["message"] for error in errors)
    states = _states(_said(box, "check"))
    row.facts |= states
    # On pages of 64 KiB QEMU 7.2 emulates no linux/arm.
    row.results[f"install {PC}"] = all(states[name] == "emulated" for name in PC.split())
    for real in ("static", "dynamic"):
        done = box.answer(real).splitlines()
        said = "runs" if done == ["42", "status 0"] else "; ".join(done)
        row.facts[f"Debian's {real} program of amd64"] = said
    if box.read(f"{LAB}/answer.deep"):  # where pages are larger than amd64's
        for workout in cast("list[dict[str, object]]", _said(box, "deep")["workouts"]):
            row.facts[f"check --deep {workout['platform']}"] = _failed(workout)


def _failed(workout: dict[str, object]) -> str:
    """How many exercises of a workout failed, and which."""
    exercises = cast("list[dict[str, str]]", workout["exercises"])
    names = [row["name"] for row in exercises if row["outcome"] == "fail"]
    return f"{len(names)} of {len(exercises)} fail: {' '.join(names)}{workout['not_run']}"


def _installed(box: Machine, row: Row) -> None:
    """The first boot: the bootstrap, and what the other commands say."""
    row.facts["systemd"] = box.answer("systemd").partition("(")[2].partition(")")[0]
    row.facts["binfmt-setup"] = box.answer("bootstrap").splitlines()[-2]
    row.results["bootstrap without a compiler"] = box.answer("compiler").endswith(
        "status 0\n"
    ) and box.answer("bootstrap").endswith("status 0\n")
    row.results["nothing runs before"] = RUNS not in box.answer("before")
    row.results["a second install changes nothing"] = _said(box, "again")["changed"] is False
    row.results["status and explain"] = "status 0" in box.answer(
        "status"
    ) and "status 0" in box.answer("explain")
    _running(box, row, "")


def _states(said: dict[str, object]) -> dict[str, str]:
    """How each platform runs: natively, emulated, or not, and then why."""
    found = {}
    for row in cast("list[dict[str, object]]", said["platforms"]):
        codes = [f["code"] for f in cast("list[dict[str, str]]", row["findings"])]
        found[cast("str", row["platform"])] = (
            str(row["how"]) if row["ok"] else "no: " + ", ".join(codes)
        )
    return found


def _running(box: Machine, row: Row, when: str) -> None:
    """A restart of systemd-binfmt, an upgrade of QEMU, and no failed unit."""
    row.results[f"systemctl restart systemd-binfmt{when}"] = RUNS in box.answer("restarted")
    row.results[f"upgraded QEMU is pinned by itself{when}"] = "status 0" in box.answer("upgraded")
    row.results[f"no unit failed{when}"] = box.answer("failed") == "status 0\n"
