"""What scripts/ansible-test does with booted hosts; it starts this in a network of its own."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sshlab
from tests import bootlab

if TYPE_CHECKING:
    from collections.abc import Callable

    from sshlab import Guest

MODULE = "binfmt_setup.hosts.binfmt"
WISH: dict[str, object] = {"platforms": ["linux/arm64"]}
PLAY = f"""---
- name: Hosts that build for arm64
  hosts: hosts
  gather_facts: false
  tasks:
    - name: Let them build for arm64
      {MODULE}: {json.dumps(WISH)}
"""
TARGETS = """---
- name: Integration targets
  hosts: hosts
  gather_facts: false
  tasks:
    - name: Run the target
      ansible.builtin.include_tasks: "{{ target }}"
"""
# As one that an older tool made: without F, and its interpreter is gone.
BREAK = rf"""
line=$(grep ^:qemu-aarch64: /etc/binfmt.d/qemu-aarch64.conf)
echo -1 >{bootlab.REGISTRY}/qemu-aarch64
printf '%s\n' "$line" | sed 's#:/usr/bin/qemu-aarch64-static:.*#:/usr/bin/qemu-gone:#' \
    >{bootlab.REGISTRY}/register
"""
OFFLINE = "[global]\nno-index = true\nfind-links = /srv/wheels\n"
RECAP = re.compile(
    r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE
)


@dataclass(frozen=True)
class Lab:
    """Where things are, and how Ansible is run."""

    folder: Path
    collections: Path
    programs: Path
    home: Path
    zipapp: Path

    @property
    def environment(self) -> dict[str, str]:
        """What programs of Ansible get to see."""
        return {
            "HOME": str(self.home), "LC_ALL": "C.UTF-8", "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin",
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections), "ANSIBLE_HOME": str(self.home),
        }  # fmt: skip

    def shell(self, command: str) -> None:
        """Run a command as somebody types it, with a place for collections of its own."""
        if command.startswith("scripts/build-zipapp"):  # there is no network here
            shutil.copy(self.zipapp, self.folder)
            return
        place = {"ANSIBLE_COLLECTIONS_PATH": str(self.folder / "installed")}
        done = subprocess.run(
            ["sh", "-c", command], env=self.environment | place, cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        require(done.returncode == 0, command, done.stdout)

    def ansible(self, program: str, *words: str | Path) -> str:
        """What a program of Ansible says, whether or not hosts failed."""
        done = subprocess.run(
            [self.programs / program, "-i", self.folder / "inventory", *words],
            env=self.environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        (self.folder / "said").write_text(done.stdout)
        return done.stdout

    def play(self, *words: str | Path) -> dict[str, tuple[int, int]]:
        """The recap of a play: changed and failed, by host."""
        said = self.ansible("ansible-playbook", *words)
        recap = {
            name: (int(changed), int(failed) + int(unreachable))
            for name, _, changed, unreachable, failed in RECAP.findall(said)
        }
        require(bool(recap), "a recap", said)
        return recap

    def each(
        self, tree: str, *words: str, wish: dict[str, object] = WISH
    ) -> dict[str, dict[str, object]]:
        """What the module returns for each host."""
        module = ["hosts", "-m", MODULE, "-a", json.dumps(wish), "-t", str(self.folder / tree)]
        said = self.ansible("ansible", *module, *words)
        require((self.folder / tree).is_dir(), "answers", said)
        found = (self.folder / tree).iterdir()
        return {path.name: json.loads(path.read_text()) for path in found}


def require(good: bool, what: str, said: str) -> None:  # noqa: FBT001 - as in assert
    """End with what Ansible said, where something is not as it must be."""
    if not good:
        sys.exit(f"not so: {what}\n{said[-6000:]}")


def steps(answer: dict[str, object]) -> list[list[object]]:
    """The actions of an answer, without what came of them."""
    actions = answer.get("actions")
    if not isinstance(actions, list):
        sys.exit(json.dumps(answer, indent=1))
    return [[action[key] for key in ("kind", "target", "before", "after")] for action in actions]


def hosts(lab: Lab, _: argparse.Namespace) -> None:
    """One right, one with a broken entry, one without QEMU and without a way to get it."""
    names = ["right", "broken", "without"]
    guests = sshlab.make(lab.folder, names, lab.zipapp, without_qemu="without")
    (lab.folder / "inventory").write_text(sshlab.inventory(guests))
    (lab.folder / "play.yml").write_text(PLAY)
    with sshlab.running(guests) as seconds:
        print(f"three hosts up in {seconds:.1f} s")
        for guest in guests[:2]:
            guest.ssh("binfmt-setup install linux/arm64")
        guests[1].ssh(BREAK)
        compare(lab)
        guests[1].ssh(BREAK)
        recaps(lab)


def compare(lab: Lab) -> None:
    """What check mode says would be done is what then is done, to the letter."""
    predicted = lab.each("predicted", "--check")
    done = lab.each("done")
    for name in ("right", "broken"):
        told = json.dumps([predicted[name], done[name]], indent=1)
        require(steps(predicted[name]) == steps(done[name]), f"{name}: predicted exactly", told)
        require(predicted[name]["changed"] == done[name]["changed"], f"{name}: changed", told)
    require(predicted["without"] == done["without"], "without: predicted exactly", str(done))
    require(bool(steps(done["broken"])) and not steps(done["right"]), "steps", str(done))
    print(f"predicted exactly: right {len(steps(done['right']))} steps, "
          f"broken {len(steps(done['broken']))}")  # fmt: skip
    print(f"without: {done['without']['msg']}")
    wish = {**WISH, "install_qemu": True}
    without = lab.each("tried", "--limit=without", wish=wish)["without"]
    require((without["exit_code"], without["changed"]) == (6, False), "no way", str(without))
    print(f"without, with install_qemu: {without['msg']}")


def recaps(lab: Lab) -> None:
    """Three plays: in check mode, for the first time, for the second."""
    first = {"right": (0, 0), "broken": (1, 0), "without": (0, 1)}
    expected = {"--check --diff": first, "first": first, "second": {**first, "broken": (0, 0)}}
    for what, recap in expected.items():
        start = time.monotonic()
        options = what.split() if what.startswith("--") else []
        found = lab.play("play.yml", *options)
        said = (lab.folder / "said").read_text()
        print(f"play, {what}: {time.monotonic() - start:.1f} s; (changed, failed): {found}")
        require(found == recap, f"{what}: {recap}", said)
        fatal = next(line for line in said.splitlines() if "without" in line and "msg" in said)
        require("-> " in said and bool(fatal), "the failure has its remedy", said)


def targets(lab: Lab, _: argparse.Namespace) -> None:
    """The integration targets of the collection."""
    guests = sshlab.make(lab.folder, ["target"], lab.zipapp)
    (lab.folder / "inventory").write_text(sshlab.inventory(guests))
    (lab.folder / "play.yml").write_text(TARGETS)
    where = lab.collections / "ansible_collections/binfmt_setup/hosts/tests/integration/targets"
    with sshlab.running(guests):
        for folder in sorted(where.iterdir()):
            found = lab.play("play.yml", "-e", f"target={folder}/tasks/main.yml")
            require(found["target"][1] == 0, folder.name, (lab.folder / "said").read_text())
            print(f"integration target {folder.name}: passed")


def roles(lab: Lab, options: argparse.Namespace) -> None:
    """The role with each way to install the tool: predicted, done, done again, taken back."""
    ways = {"zipapp": {"binfmt_setup_zipapp": str(lab.zipapp)}}
    if options.sources:
        ways["bootstrap"] = {"binfmt_setup_sources": options.sources}
    if options.package:
        ways["package"] = {"binfmt_setup_package_file": options.package}
    guests = sshlab.make(lab.folder, list(ways), None)
    for guest in guests:
        # There is no network: pip is told of the files that it would fetch.
        shutil.copytree(options.wheels, guest.tree / "srv/wheels")
        (guest.tree / "etc/pip.conf").write_text(OFFLINE)
    (lab.folder / "inventory").write_text(sshlab.inventory(guests))
    with sshlab.running(guests):
        for way, variables in ways.items():
            role(lab, way, variables)


def role(lab: Lab, way: str, variables: dict[str, str]) -> None:
    """One way to install the tool, on a host of its own."""
    wish = {"binfmt_setup_method": way, "binfmt_setup_platforms": ["linux/arm64"],
            "binfmt_setup_strict": True, **variables}  # fmt: skip
    words = ["binfmt_setup.hosts.builders", "--limit", way, "--diff", "-e"]
    start = time.monotonic()
    told = []
    for state, options in (
        ("present", ["--check"]), ("present", []), ("present", []), ("present", ["--check"]),
        ("absent", ["--check"]), ("absent", []), ("absent", []),
    ):  # fmt: skip
        given = json.dumps({**wish, "binfmt_setup_state": state})
        changed, failed = lab.play(*words, given, *options)[way]
        require(not failed, f"{way}, {state}", (lab.folder / "said").read_text())
        told.append((changed > 0, state, *options))
    expected = [True, True, False, False, True, True, False]
    said = (lab.folder / "said").read_text()
    require([row[0] for row in told] == expected, f"{way}: {told}", said)
    print(f"role, {way}: {len(told)} plays right, {time.monotonic() - start:.0f} s")


def crowd(lab: Lab, options: argparse.Namespace) -> None:
    """Many hosts from one image."""
    names = [f"host{number:02}" for number in range(1, options.hosts + 1)]
    guests = sshlab.make(lab.folder, names, lab.zipapp)
    (lab.folder / "inventory").write_text(sshlab.inventory(guests))
    (lab.folder / "play.yml").write_text(PLAY)
    with sshlab.running(guests) as seconds:
        print(f"{len(guests)} hosts up in {seconds:.1f} s, {os.cpu_count()} processors")
        plays(lab, guests, options)


def plays(lab: Lab, guests: list[Guest], options: argparse.Namespace) -> None:
    """In check mode, for the first time, and for the second."""
    for what, changed in (("--check", 1), ("first", 1), ("second", 0)):
        words = ["play.yml", f"--forks={options.forks}"]
        start = time.monotonic()
        found = lab.play(*words, *([what] if what.startswith("--") else []))
        print(f"play, {what}: {time.monotonic() - start:.1f} s with {options.forks} forks")
        expected = {guest.name: (changed, 0) for guest in guests}
        require(found == expected, what, (lab.folder / "said").read_text())


def documented(lab: Lab, _: argparse.Namespace) -> None:
    """Every command of docs/ansible.md, one after the other, with the files that it shows."""
    text = (bootlab.TOP / "docs/ansible.md").read_text(encoding="utf-8")
    guests = sshlab.make(lab.folder, ["builder"], None)
    for name, content in re.findall(r"`(\w+\.yml)`:\n\n```yaml\n(.*?)```", text, re.DOTALL):
        (lab.folder / name).write_text("---\n" + content)
    (lab.folder / "inventory").write_text(sshlab.inventory(guests))
    for name in ("deploy", "scripts"):
        (lab.folder / name).symlink_to(bootlab.TOP / name)
    commands = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    # What takes the tool away comes last, so that the modules alone have one.
    commands.sort(key=lambda command: "absent" in command)
    with sshlab.running(guests):
        for command in commands:
            lab.shell(command)
    print(f"docs/ansible.md: {len(commands)} commands succeeded")


PARTS: dict[str, Callable[[Lab, argparse.Namespace], None]] = {
    "hosts": hosts, "targets": targets, "roles": roles, "crowd": crowd,
    "documented": documented,
}  # fmt: skip


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    for name in ("collections", "programs", "home", "--zipapp"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--forks", type=int, default=10)
    parser.add_argument("--sources", default="")
    parser.add_argument("--wheels", default="")
    parser.add_argument("--package", default="")
    options = parser.parse_args()
    place = bootlab.cache_directory()
    with tempfile.TemporaryDirectory(prefix="sshlab-", dir=place) as name:
        lab = Lab(Path(name), options.collections, options.programs, options.home, options.zipapp)
        PARTS[options.part](lab, options)


if __name__ == "__main__":
    main()
