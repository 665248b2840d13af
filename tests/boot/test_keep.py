"""docs/keep.md and the timer of docs/monitoring.md on a real systemd, in one boot.

What is dropped comes back, what was meant stays away, what keeps vanishing is given up and told;
and what systemd-binfmt reads leaves that entry first which is preferred.
"""

from __future__ import annotations

import json
import re

import pytest

from tests import bootlab
from tests.boot.test_boot import answer_of
from tests.bootlab import LAB, QEMU, REGISTRY, RUNS, TOOL, Machine

pytestmark = pytest.mark.skipif(bool(bootlab.why_not()), reason=bootlab.why_not() or "it can")

ENTRY = f"{REGISTRY}/qemu-aarch64"
STATE = "/run/binfmt-setup-keep/returned"
UNITS = "binfmt-setup-keep.service binfmt-setup-lost.service"
# Nothing polls: the kernel tells systemd, which takes some milliseconds; a minute is promised.
STAGE = f"""
quiet() {{
    sleep 0.1
    until [ -z "$(systemctl list-jobs --no-legend 'binfmt-setup*')" ]; do sleep 0.05; done
}}
back() {{
    for n in $(seq 200); do [ -e {ENTRY} ] && break; sleep 0.05; done
    quiet
    [ -e {ENTRY} ]
}}
cost() {{ systemctl show -p CPUUsageNSec {UNITS}; }}

# The tool under the name that documents call it by, in this registry of a container's own.
cat >/usr/bin/binfmt-setup <<'END'
#!/bin/sh
case $1 in install | uninstall) set -- "$@" --private ;; esac
PYTHONPATH={TOOL} exec python3 -m binfmt_setup "$@"
END
chmod +x /usr/bin/binfmt-setup
"""

# What the table of the page says that ends it, and that it begins anew.
MEANT = f"""
MOUNT=proc-sys-fs-binfmt_misc.mount
lose() {{ echo -1 >{ENTRY}; quiet; }}
systemctl disable --now binfmt-setup-keep.path; lose; try unwatched ls {REGISTRY}
binfmt-setup install linux/arm64; lose; try still-off ls {REGISTRY}
binfmt-setup install linux/arm64 --keep
systemctl mask $MOUNT; umount {REGISTRY}; quiet; try masked ls {REGISTRY}
systemctl unmask $MOUNT; binfmt-setup install linux/arm64; lose; try mounted back
echo 0 >{ENTRY}; quiet; lose; try switched-off ls {REGISTRY}
binfmt-setup install linux/arm64; quiet
for unit in systemd-binfmt binfmt-setup; do
    systemctl stop $unit; try stopped-$unit systemctl is-active binfmt-setup-keep.path
    systemctl start $unit binfmt-setup
done
quiet; try watched systemctl is-active binfmt-setup-keep.path
"""
# Another emulator, which is preferred: it is first after systemd-binfmt has read all files, too.
PREFER = f"""
cp {QEMU} /usr/bin/other
sed -n 's/qemu-aarch64:/other-aarch64:/; s#:/usr[^:]*:#:/usr/bin/other:#p' \\
    /etc/binfmt.d/qemu-aarch64.conf >/etc/binfmt.d/other.conf
cat /etc/binfmt.d/other.conf >{REGISTRY}/register
printf 'platforms = ["linux/arm64"]\\nprefer = ["other-aarch64"]\\n' >/etc/binfmt-setup.toml
try wish binfmt-setup install
systemctl restart systemd-binfmt; quiet; try first ls -U {REGISTRY}
rm /etc/binfmt-setup.toml /etc/binfmt.d/other.conf
"""


def entries(said: str) -> list[dict[str, str]]:
    """What journalctl printed as JSON."""
    return [json.loads(line) for line in said.splitlines() if line.startswith("{")]


def test_what_comes_back_what_stays_away_and_who_is_told() -> None:
    timer, metrics, logs = bootlab.blocks("monitoring.md")
    # The last one runs in scripts/try-rootless.
    turn_on, events, turn_off, _ = bootlab.blocks("keep.md")
    with bootlab.machine() as box:
        box.install_tool()
        box.boot(
            STAGE
            + f"try install sh -c '{turn_on}'\n"
            + "try again binfmt-setup install linux/arm64 --format json\n"
            + f"echo -1 >{REGISTRY}/status; try status back\n"
            + f"echo -1 >{ENTRY}; try entry back\n"
            + f"umount {REGISTRY}; try unmounted back\n"
            + f"try runs sh {LAB}/foreign\n"
            + "systemctl restart systemd-binfmt; try restarted back\n"
            + f"try times cat {STATE}\n"
            + f"echo 0 >{ENTRY}; quiet; try disabled head -1 {ENTRY}; echo 1 >{ENTRY}; quiet\n"
            + f"echo 0 >{REGISTRY}/status; quiet; try off cat {REGISTRY}/status\n"
            + f"echo 1 >{REGISTRY}/status; quiet; cost >{LAB}/cost; sleep 1; try idle cost\n"
            + timer
            + "mkdir -p /var/lib/prometheus/node-exporter\n"
            + metrics
            + f"for n in 4 5; do echo -1 >{ENTRY}; back; done\n"
            + f"echo -1 >{ENTRY}; quiet; try gone ls {REGISTRY}\n"
            + "try unit systemctl status --no-pager -n 0 binfmt-setup-keep.service\n"
            + "try check binfmt-setup check linux/arm64 --format json\n"
            + "try verify systemctl start binfmt-verify.service\n"
            + "try named systemctl --failed --no-legend\n"
            + f"(set -e; {logs})>{LAB}/answer.logs 2>&1\n"
            + f"(set -e; {events})>{LAB}/answer.events 2>&1\n"
            + f"try after binfmt-setup install; quiet; echo -1 >{ENTRY}; try anew back\n"
            + MEANT
            + PREFER
            + f"try uninstall sh -c '{turn_off} binfmt-setup uninstall'\n"
            + f"quiet; try removed ls {REGISTRY} /etc/systemd/system /run\n"
            + "systemctl reset-failed binfmt-verify.service\n"
            + "try failed systemctl --failed --no-legend\n"
        )
        assert_brought_back(box)
        assert_given_up_and_told(box)
        assert_meant(box)
        assert box.answer("first").startswith("other-aarch64\nqemu-aarch64\n"), box.answer("wish")
        assert box.answer("uninstall").endswith("status 0\n"), box.answer("uninstall")
        assert "qemu-aarch64" not in box.answer("removed")
        assert "binfmt-setup-keep" not in box.answer("removed")
        assert box.answer("failed") == "status 0\n"


def assert_brought_back(box: Machine) -> None:
    assert "changed" in box.answer("install")
    assert answer_of(box, "again")["actions"] == []
    for name in ("status", "entry", "unmounted", "restarted"):
        assert box.answer(name) == "status 0\n", (name, box.read(f"{LAB}/log"))
    assert RUNS in box.answer("runs")
    # What systemd-binfmt itself dropped was brought back by our service, and is not counted.
    assert len(re.findall(r"^\d+ qemu-aarch64$", box.answer("times"), re.MULTILINE)) == 3
    assert box.answer("disabled").startswith("disabled")
    assert box.answer("off").startswith("disabled")
    assert box.read(f"{LAB}/cost") == box.answer("idle").removesuffix("status 0\n")


def assert_meant(box: Machine) -> None:
    for name in ("unwatched", "still-off", "masked", "switched-off"):
        assert "qemu-aarch64" not in box.answer(name), name
    # What watched the registry before it was unmounted sees nothing of what is mounted later.
    assert box.answer("mounted") == "status 0\n"
    for unit in ("systemd-binfmt", "binfmt-setup"):
        assert box.answer(f"stopped-{unit}").startswith("inactive\n")
    assert box.answer("watched").startswith("active\n")


def assert_given_up_and_told(box: Machine) -> None:
    assert "qemu-aarch64" not in box.answer("gone")
    assert "find out by what, then run: binfmt-setup install" in box.answer("unit")
    found = answer_of(box, "check")["findings"]
    assert isinstance(found, list)
    assert {"dropped-again", "entry-missing"} <= {f["code"] for f in found}
    # The timer's service says so, too: in the journal, in the metrics, and by failing.
    assert "status 1" in box.answer("verify")
    assert "binfmt-verify.service" in box.answer("named")
    assert "linux/arm64 does not work" in box.answer("logs")
    told = entries(box.answer("logs"))
    assert {"BINFMT_PLATFORM", "BINFMT_CODE", "BINFMT_HINT"} <= set(told[-1]), told
    written = box.read("/var/lib/prometheus/node-exporter/binfmt.prom")
    assert 'binfmt_platform_ok{platform="linux/arm64"} 0\n' in written
    assert box.answer("events").count("to be brought back: qemu-aarch64") >= 3
    assert box.answer("after").endswith("status 0\n")
    assert box.answer("anew") == "status 0\n"
