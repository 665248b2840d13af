"""What survives what, on a real systemd that boots, is changed, and boots again."""

from __future__ import annotations

import json
import re

import pytest

from binfmt_setup.boot.next_registry import next_registry
from binfmt_setup.boot.survival import why_lost
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.system.host import Host
from tests import bootlab
from tests.bootlab import LAB, QEMU, REGISTRY, RUNS, SETTLE, UPGRADE, Machine

pytestmark = pytest.mark.skipif(bool(bootlab.why_not()), reason=bootlab.why_not() or "it can")

UNITS = "/etc/systemd/system"
# A registration of somebody else's, in a file of theirs.
THEIRS = ":theirs:E::theirs::/bin/true:\n"


def answer_of(box: Machine, name: str) -> dict[str, object]:
    """The JSON that a command printed, behind what it said on standard error."""
    text = box.answer(name).rpartition("status ")[0]
    found: dict[str, object] = json.loads(text[text.index("{\n") :])
    return found


def assert_upgraded(box: Machine) -> None:
    for number in (1, 2, 3):
        assert box.answer(f"settled{number}") == "status 0\n"
    starts, failures = re.findall(r"\d+", box.answer("loop"))
    assert int(starts) > 10
    assert int(failures) == 0
    assert "binfmt-setup-swap" not in box.answer("swaps")


def test_a_host_stays_right_until_uninstall() -> None:
    with bootlab.machine() as box:
        before = bootlab.listing(box.tree)
        box.write("/etc/binfmt.d/theirs.conf", THEIRS)
        box.install_tool()
        first_boot(box)
        box.remove_tool()
        second_boot(box)
        box.install_tool()
        box.boot(
            "try uninstall setup uninstall --private\n"
            "try units systemctl list-units --all --no-legend 'binfmt-setup*'\n"
            "try theirs cat /proc/sys/fs/binfmt_misc/theirs\n"
        )
        assert box.answer("uninstall").endswith("status 0\n")
        assert "binfmt-setup" not in box.answer("units")
        assert "extension .theirs" in box.answer("theirs")
        box.remove_tool()
        box.boot(f"try entries ls {REGISTRY}\ntry failed systemctl --failed --no-legend\n")
        assert "qemu-aarch64" not in box.answer("entries")
        assert box.answer("failed") == "status 0\n"
        assert "status 127" in box.read(f"{LAB}/docker")
        box.path("/etc/binfmt.d/theirs.conf").unlink()
        # What systemd itself writes at a first boot is not ours, nor is QEMU's new inode.
        own = {"etc/.pwd.lock", "etc/machine-id", "etc/resolv.conf"}
        after = bootlab.listing(box.tree)
        changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
        assert {n for n in changed if not n.startswith(("var/", "srv/"))} - own == set()


def first_boot(box: Machine) -> None:
    """Install; it works at once, also through an upgrade; and then nothing is left to do."""
    box.boot(
        SETTLE
        + "try before sh /srv/lab/foreign\n"
        + "try install setup install --private arm64 --format json\n"
        + "try again setup install --private arm64 --format json\n"
        + "try after sh /srv/lab/foreign\n"
        + UPGRADE
        + "try status setup status --format json\n"
        + "try enabled systemctl is-enabled binfmt-setup.service binfmt-setup.path\n"
        + "cp -a /etc/systemd/system /srv/lab/links\n"
        + "try disable systemctl disable binfmt-setup.service binfmt-setup.path\n"
        + "try enable systemctl enable binfmt-setup.service binfmt-setup.path\n"
        # Where what no preset names is disabled, as at a first boot of Fedora's.
        + "echo 'disable *' >/etc/systemd/system-preset/99-lab.preset\n"
        + "try preset systemctl preset binfmt-setup.service binfmt-setup.path\n"
        + "rm /etc/systemd/system-preset/99-lab.preset\n"
        + "try same diff -r --no-dereference /srv/lab/links /etc/systemd/system\n"
    )
    assert "status 127" in box.answer("before"), "the host's own handler shows through"
    assert answer_of(box, "install")["changed"] is True
    again = answer_of(box, "again")
    assert (again["changed"], again["actions"]) == (False, [])
    assert RUNS in box.answer("after")
    assert_upgraded(box)
    states = answer_of(box, "status")["findings"]
    assert isinstance(states, list)
    assert "interpreter-stale" not in {finding["code"] for finding in states}
    assert box.answer("enabled") == "enabled\nenabled\nstatus 0\n"
    assert box.answer("preset").endswith("status 0\n"), box.answer("preset")
    assert box.answer("same") == "status 0\n", "links differ from what systemctl makes"


def second_boot(box: Machine) -> None:
    """After a reboot without Python: in time for docker, after restarts, after upgrades."""
    box.boot(
        SETTLE
        + "try order systemctl show -p After docker.service\n"
        + "try python ls /srv/tool\n"
        + "for n in 1 2 3 4 5 6 7 8; do systemctl restart systemd-binfmt; done\n"
        + "for n in 1 2 3 4 5 6 7 8 9 10; do\n"
        + "  [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] && break; sleep 0.2; done\n"
        + "systemctl reset-failed\n"
        + "try flags cat /proc/sys/fs/binfmt_misc/qemu-aarch64\n"
        + "systemctl restart systemd-binfmt\n"
        + "systemctl start binfmt-setup.service\n"
        + "try stopstart systemctl stop systemd-binfmt\n"
        + "systemctl start systemd-binfmt\n"
        + "try again sh /srv/lab/foreign\n"
        + "try theirs cat /proc/sys/fs/binfmt_misc/theirs\n"
        + UPGRADE
        + "try status systemctl status --no-pager -n 0 binfmt-setup.service\n"
    )
    assert RUNS in box.read(f"{LAB}/docker")
    assert "binfmt-setup.service" in box.answer("order")
    assert "No such file" in box.answer("python")
    assert "flags: POF" in box.answer("flags")
    assert RUNS in box.answer("again")
    assert "extension .theirs" in box.answer("theirs")
    assert_upgraded(box)
    assert 'Status: "1 registered"' in box.answer("status")


LATE = f"""
try status systemctl status --no-pager -n 5 binfmt-setup-opt.service
try runs sh {LAB}/foreign
"""
# /opt is one of the machine's own directories, mounted once a unit of the test's has ended.
FSTAB = "/srv/opt /opt none bind,nofail,x-systemd.requires=slow.service 0 0\n"


@pytest.mark.parametrize("comes", [True, False])
def test_a_late_file_system_is_waited_for_but_not_by_the_boot(*, comes: bool) -> None:
    with bootlab.machine() as box:
        box.path("/srv/opt").mkdir()
        box.path(QEMU).rename(box.path("/opt/qemu-aarch64-static"))
        box.write("/etc/fstab", FSTAB)
        box.write(
            f"{UNITS}/slow.service",
            "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nRemainAfterExit=yes\n"
            f"ExecStart=/bin/sleep {2 if comes else 600}\n",
        )
        box.offline("install", "arm64", "--qemu", "/opt")
        box.path("/opt/qemu-aarch64-static").rename(box.path("/srv/opt/qemu-aarch64-static"))
        # The entry comes before the unit has told that it is there.
        wait = "until systemctl -q is-active binfmt-setup-opt.service; do sleep 0.1; done\n"
        box.boot(
            f"try early sh {LAB}/foreign\n"
            "try jobs systemctl list-jobs --no-legend\n" + (wait if comes else "") + LATE
        )
        # The boot went on: docker and everything else was up before /opt was there.
        assert "status 127" in box.read(f"{LAB}/docker")
        assert "status 127" in box.answer("early")
        assert "opt.mount" in box.answer("jobs")
        assert (RUNS in box.answer("runs")) is comes
        if comes:
            assert 'Status: "1 registered"' in box.answer("status")
        else:
            assert "wait for /opt" in box.answer("status")


def trouble(box: Machine, *extra: str) -> tuple[str, dict[str, dict[str, str]], str]:
    """Boot with what is broken; returns the unit's status, check's findings, and failed units."""
    box.install_tool()
    box.boot(
        "try status systemctl status --no-pager -n 0 binfmt-setup.service\n"
        "try check setup check arm64 --format json\n"
        "try failed systemctl --failed --no-legend --plain\n"
        f"try runs sh {LAB}/foreign\n" + "".join(extra)
    )
    found = answer_of(box, "check")["findings"]
    assert isinstance(found, list)
    return box.answer("status"), {f["code"]: f for f in found}, box.answer("failed")


def test_systemd_binfmt_masked() -> None:
    with bootlab.machine() as box:
        box.offline("install", "arm64")
        box.link(f"{UNITS}/systemd-binfmt.service", "/dev/null")
        _, findings, failed = trouble(box)
        assert RUNS in box.read(f"{LAB}/docker")
        assert "not-persistent" not in findings
        assert failed == "status 0\n"


def test_systemd_binfmt_blocked_by_a_condition() -> None:
    with bootlab.machine() as box:
        box.offline("install", "arm64")
        box.write(f"{UNITS}/systemd-binfmt.service.d/never.conf",
                  "[Unit]\nConditionPathExists=/nowhere\n")  # fmt: skip
        _, findings, failed = trouble(box)
        assert RUNS in box.read(f"{LAB}/docker")
        assert "not-persistent" not in findings
        assert failed == "status 0\n"


def test_the_registry_is_not_mounted() -> None:
    with bootlab.machine() as box:
        box.offline("install", "arm64")
        box.link(f"{UNITS}/proc-sys-fs-binfmt_misc.mount", "/dev/null")
        status, findings, failed = trouble(box)
        finding = findings["not-persistent"]
        hint = finding["hint"].replace(" --private", "")  # the unit knows of no namespace
        assert f'Status: "{finding["message"]}: {hint}"' in status
        assert failed.startswith("binfmt-setup.service")


def test_the_emulator_was_removed_and_comes_back() -> None:
    with bootlab.machine() as box:
        box.offline("install", "arm64")
        away = f"{QEMU}.away"
        box.path(QEMU).rename(box.path(away))
        status, findings, failed = trouble(
            box, f"mv {away} {QEMU}\n", SETTLE, "try settled settle\n",
            "try later systemctl status --no-pager -n 0 binfmt-setup.service\n",
        )  # fmt: skip
        finding = findings["not-persistent"]
        assert f'Status: "{finding["message"]}: {finding["hint"]}"' in status
        assert "binfmt-setup.service" in failed
        assert box.answer("settled").endswith("status 0\n")
        assert 'Status: "1 registered"' in box.answer("later")


# The same with a file that is gone after a reboot.
UNTIL_THE_REBOOT = f"""
setup uninstall --private
setup install arm64 --private --no-persist
try volatile_second setup install arm64 --private --no-persist --format json
mv {QEMU} {QEMU}.away
systemctl try-restart systemd-binfmt
try volatile systemctl is-active systemd-binfmt
try volatile_meanwhile cat {REGISTRY}/theirs
mv {QEMU}.away {QEMU}
for n in 1 2 3 4 5 6 7 8 9; do systemctl try-restart systemd-binfmt; done
try volatile_again systemctl is-active systemd-binfmt
try volatile_runs sh {LAB}/foreign
setup uninstall --private
try volatile_gone systemctl cat systemd-binfmt
try volatile_left ls /run/binfmt.d /run/systemd/system/systemd-binfmt.service.d
"""


def test_our_file_does_not_make_systemd_binfmt_fail() -> None:
    """Debian 12: the package goes, dpkg's trigger restarts the service, the package comes back.

    Then everything is there at once, without a reboot, and after a mere start as well.
    """
    with bootlab.machine() as box:
        box.offline("install", "arm64")
        box.write("/etc/binfmt.d/theirs.conf", THEIRS)
        box.install_tool()
        box.boot(
            f"mv {QEMU} {QEMU}.away\n"
            "systemctl try-restart systemd-binfmt\n"
            "try without systemctl is-active systemd-binfmt\n"
            f"try meanwhile cat {REGISTRY}/theirs\n"
            f"mv {QEMU}.away {QEMU}\n"
            "systemctl try-restart systemd-binfmt\n"
            f"try runs sh {LAB}/foreign\n"
            "try with systemctl is-active systemd-binfmt\n"
            f"try theirs cat {REGISTRY}/theirs\n"
            "systemctl stop systemd-binfmt\n"
            "systemctl start systemd-binfmt\n"
            f"try started sh {LAB}/foreign\n"
            "for n in 1 2 3 4 5 6 7 8 9; do systemctl restart systemd-binfmt; done\n"
            f"try often sh {LAB}/foreign\n"
            "try limit systemctl is-active systemd-binfmt\n" + UNTIL_THE_REBOOT
        )
        for name in ("without", "with", "limit", "volatile", "volatile_again"):
            assert box.answer(name) == "active\nstatus 0\n"
        for name in ("meanwhile", "theirs", "volatile_meanwhile"):
            assert "extension .theirs" in box.answer(name)
        for name in ("runs", "started", "often", "volatile_runs"):
            assert RUNS in box.answer(name)
        assert answer_of(box, "volatile_second")["changed"] is False
        assert "SuccessExitStatus" not in box.answer("volatile_gone")
        assert box.answer("volatile_left").count("No such file") == 2


def test_a_failed_systemd_binfmt_is_told_and_what_is_told_cures_it() -> None:
    with bootlab.machine() as box:
        box.install_tool()
        box.write("/etc/binfmt.d/gone.conf", ":gone:E::gone::/srv/gone:F\n")
        box.write("/etc/binfmt.d/theirs.conf", THEIRS)
        box.boot(
            "systemctl start proc-sys-fs-binfmt_misc.mount\n"
            "systemctl start systemd-binfmt\n"
            "try check setup check arm64 --format json\n"
            "try install setup install --private arm64 --format json\n"
            "systemctl restart systemd-binfmt.service\n"
            "try active systemctl is-active systemd-binfmt\n"
            f"try theirs cat {REGISTRY}/theirs\n"
            f"try runs sh {LAB}/foreign\n"
            "try after setup check arm64 --format json\n"
        )
        found = answer_of(box, "check")["findings"]
        assert isinstance(found, list)
        told = {finding["code"]: finding for finding in found}
        assert told["systemd-binfmt-failed"]["remedy"]["command"] == [
            "systemctl", "restart", "systemd-binfmt.service",
        ]  # fmt: skip
        assert "/etc/binfmt.d/gone.conf:1:" in told["config-invalid"]["message"]
        assert box.answer("active") == "active\nstatus 0\n"
        assert "extension .theirs" in box.answer("theirs")
        assert RUNS in box.answer("runs")
        assert "systemd-binfmt-failed" not in box.answer("after")


def test_a_service_that_a_condition_keeps_away_is_told_and_a_unit_of_ours_does_it() -> None:
    with bootlab.machine() as box:
        box.offline("install", "arm64")
        line = box.read("/etc/binfmt.d/qemu-aarch64.conf").splitlines()[-1]
        box.offline("uninstall")
        box.write("/usr/lib/binfmt.d/qemu-aarch64.conf", line + "\n")
        box.write(
            f"{UNITS}/systemd-binfmt.service.d/wsl.conf",
            "[Unit]\nConditionVirtualization=!container\n",
        )
        box.install_tool()
        box.boot(
            "systemctl start proc-sys-fs-binfmt_misc.mount\n"
            "systemctl start systemd-binfmt\n"
            "/lib/systemd/systemd-binfmt /usr/lib/binfmt.d/qemu-aarch64.conf\n"
            "try check setup check arm64 --format json\n"
            "try install setup install --private arm64 --format json\n"
        )
        found = answer_of(box, "check")["findings"]
        assert isinstance(found, list)
        assert "not-persistent" in {finding["code"] for finding in found}
        assert answer_of(box, "install")["changed"] is True
        box.remove_tool()
        box.boot(f"try runs sh {LAB}/foreign\n")
        assert RUNS in box.answer("runs")


@pytest.mark.parametrize("ours", [False, True])
def test_the_next_boot_is_as_it_was_played_through(*, ours: bool) -> None:
    with bootlab.machine() as box:
        box.offline("install", "arm64")
        line = box.read("/etc/binfmt.d/qemu-aarch64.conf").splitlines()[-1]
        if not ours:
            box.offline("uninstall")
        magic = line.split(":")[4:6]
        for path, text in {
            "/usr/lib/binfmt.d/qemu-aarch64.conf": line,
            "/etc/binfmt.d/zbox.conf": ":".join(("", "zbox", "M", "", *magic, "/srv/zbox", "")),
            "/etc/binfmt.d/gone.conf": ":gone:E::gone::/srv/gone:F",
            "/etc/binfmt.d/a.conf": ":twice:E::twice::/bin/true:\n:ended:E::ended::/bin/true:",
            "/etc/binfmt.d/x.conf": ":ended:M::\\x4::/bin/true:",
            "/usr/lib/binfmt.d/b.conf": ":masked:E::masked::/bin/true:",
            "/etc/binfmt.d/b.conf": ":bad:M::\\x4::/bin/true:\n:good:E::good::/bin/true:",
            "/etc/binfmt.d/q.conf": ":twice:E::twice::/bin/false:",
        }.items():
            box.write(path, text + "\n")
        mount = "proc-sys-fs-binfmt_misc.mount"
        box.link(f"{UNITS}/sysinit.target.wants/{mount}", f"/lib/systemd/system/{mount}")
        facts = snapshot(Host(box.tree))
        played = [line.registration.name for line in next_registry(facts).lines]
        box.boot(f"try entries ls -U {REGISTRY}\ntry runs sh {LAB}/foreign\n")
        seen = box.answer("entries").splitlines()[:-1]
        assert [name for name in seen if name not in ("register", "status")] == played
        assert {"qemu-aarch64", "zbox", "twice", "good"} <= set(played)
        works = why_lost(facts, "qemu-aarch64") is None
        assert (RUNS in box.answer("runs")) is works is ours


def test_a_host_without_the_unit_loses_what_is_in_no_file() -> None:
    with bootlab.machine() as box:
        box.install_tool()
        box.boot(
            "try install setup install --private --no-persist arm64\n"
            "try check setup check arm64 --format json\n"
        )
        found = answer_of(box, "check")["findings"]
        assert isinstance(found, list)
        assert "not-persistent" in {finding["code"] for finding in found}
        box.boot(f"try runs sh {LAB}/foreign\n")
        assert "status 127" in box.answer("runs")


def test_without_an_init_install_says_that_nothing_lasts() -> None:
    with bootlab.machine() as box:
        box.install_tool()
        box.boot(
            "try native setup install --private amd64\n"
            "try lasting setup install --private arm64\n"
            "try check setup check arm64 --format json\n"
            "setup uninstall --private\n"
            "try until setup install --private --no-persist arm64\n"
            f"try runs sh {LAB}/foreign\n",
            init=False,
        )
        assert "reboot" not in box.answer("native")  # nothing was made that could be lost
        assert "nothing of this will survive a reboot: in this systemd-nspawn" in (
            box.answer("lasting")
        )
        assert "use --no-persist" in box.answer("lasting")
        assert box.answer("until").endswith("status 0\n")
        assert "reboot" not in box.answer("until")
        assert RUNS in box.answer("runs")


# What somebody would try who runs code in the unit that registers, in our script's place.
ATTACK = r"""
import os, shutil, socket

def tried(what, action):
    try:
        print(what, "done", action(), flush=True)
    except OSError as error:
        print(what, os.strerror(error.errno), flush=True)

def connect(path):
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).connect(path)

def put(directory):
    path = directory + "/thief"
    shutil.copy("/bin/true", path)
    os.chmod(path, 0o755)
    return path

def run(directory):
    return os.posix_spawn(put(directory), ["thief"], {})

def register(directory):
    line = f":thief:E::thief::{put(directory)}:F"
    file = os.open("/proc/sys/fs/binfmt_misc/register", os.O_WRONLY)
    os.write(file, line.encode())

tried("manager", lambda: connect("/run/systemd/private"))
tried("bus", lambda: connect("/run/dbus/system_bus_socket"))
# An empty directory, and the one through which systemd would show it mounts.
usual = {"user", "systemd", "incoming"}
tried("run", lambda: sorted({*os.listdir("/run"), *os.listdir("/run/systemd")} - usual))
for place in ("/tmp", "/var/tmp", "/dev/shm"):
    tried(place + " executed", lambda: run(place))
    tried(place + " registered", lambda: register(place))
tried("memfd", lambda: os.memfd_create("x"))
tried("etc", lambda: put("/etc"))
tried("registry", lambda: "register" in os.listdir("/proc/sys/fs/binfmt_misc"))
"""


def test_what_who_runs_code_in_the_unit_that_registers_cannot_do() -> None:
    with bootlab.machine() as box:
        box.install_tool()
        box.write(f"{LAB}/attack", ATTACK)
        attack = (
            f"sed -e 's#^ExecStart=.*#ExecStart=/usr/bin/python3 {LAB}/attack#' "
            f"-e 's#^Type=oneshot#Type=oneshot\\nStandardOutput=append:{LAB}/answer.attack#' "
            f"{UNITS}/binfmt-setup.service >/run/systemd/system/attack.service\n"
            "systemctl daemon-reload\nsystemctl start attack\n"
        )
        box.boot(
            "try install setup install --private arm64\n"
            "try works sh /srv/lab/foreign\n"
            "try status systemctl show --property=StatusText --value binfmt-setup.service\n"
            f"{attack}"
            f"try entries ls {REGISTRY}\n"
        )
        assert box.answer("install").endswith("status 0\n")
        assert RUNS in box.answer("works")
        assert "1 registered" in box.answer("status")
        attack_said = box.answer("attack").splitlines()
        assert len(attack_said) == 12
        assert [line for line in attack_said if " done" in line] == [
            "run done ['notify']", "registry done True",
        ]  # fmt: skip
        assert "thief" not in box.answer("entries")
