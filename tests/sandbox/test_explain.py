"""What explain says agrees with what the kernel does, in a registry of its own."""

from __future__ import annotations

import json
import os
import platform
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import target_named, target_of_machine
from tests.explain_kinds import crashing
from tests.own_namespace import PROBES
from tests.report_schema import assert_fits

DRIVER = Path(__file__).with_name("explain_driver.py")
CANNOT_MOUNT = 77
NATIVE = target_of_machine(platform.machine())
FOREIGN = target_named("riscv64" if NATIVE and NATIVE.name == "aarch64" else "aarch64")
QEMU = f"/usr/bin/qemu-{FOREIGN.name}-static"

pytestmark = [
    pytest.mark.skipif(not Path(QEMU).exists(), reason=f"no {QEMU} here"),
    pytest.mark.skipif(NATIVE is None, reason="a machine that the table does not know"),
]


@dataclass(frozen=True)
class Answer:
    """What explain said, and what execve did."""

    errno: str
    status: int
    output: str
    code: int
    document: dict[str, object]

    @property
    def said(self) -> dict[str, object]:
        said = self.document["explanation"]
        assert isinstance(said, dict)
        return said


@dataclass
class Scene:
    """A directory of files and the registrations to make, oldest first."""

    folder: Path
    register: list[str] = field(default_factory=list)
    disable: list[str] = field(default_factory=list)
    noexec: str = ""
    hide: bool = False

    def put(self, path: str, content: bytes | str, mode: int = 0o755) -> str:
        where = self.folder / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_bytes(content.encode() if isinstance(content, str) else content)
        where.chmod(mode)
        return str(where)

    def entry(
        self, name: str, interpreter: str = QEMU, flags: str = "F", mask: bytes = FOREIGN.mask
    ) -> None:
        rule = Registration(name, interpreter, flags, FOREIGN.magic, mask)
        self.register.append(rule.line)

    def ask(self, *files: str, chroot: str = "") -> list[Answer]:
        """Ask explain and the kernel; every answer has to fit the schema."""
        scenario = {
            "register": self.register, "disable": self.disable, "noexec": self.noexec,
            "hide": self.hide,
            "ask": [{"file": file, "chroot": chroot} for file in files],
        }  # fmt: skip
        done = subprocess.run(
            ["unshare", "--user", "--map-root-user", "--mount", sys.executable, str(DRIVER)],
            input=json.dumps(scenario), capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if done.returncode == CANNOT_MOUNT or done.stderr.startswith("unshare:"):
            pytest.skip(f"no registry of its own for a user namespace: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        answers = [Answer(**row) for row in json.loads(done.stdout)]
        for answer in answers:
            assert_fits(answer.document)
            agree(answer)
        return answers


def agree(answer: Answer) -> None:
    """The whole point: the same errno, and success where success was foretold."""
    shifted = " argc=1 " in answer.output  # it ran, and lost one of its two arguments
    really = answer.errno == "" and answer.status == 0 and not shifted
    assert answer.said["runs"] == really, (answer.said, answer.errno, answer.output)
    assert (answer.said["errno"] or "") == answer.errno, (answer.said, answer.output)
    assert answer.code == (0 if really else 1)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def probe() -> bytes:
    return (PROBES / FOREIGN.name).read_bytes()


def with_loader(program: bytes, loader: str) -> bytes:
    """The same program, asking for a loader: one program header becomes PT_INTERP."""
    data = bytearray(program)
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    kinds = [struct.unpack_from("<I", data, table + n * size)[0] for n in range(count)]
    spare = next(n for n, kind in enumerate(kinds) if kind not in (1, 6))
    raw = loader.encode() + b"\0"
    row = struct.pack("<IIQQQQQQ", 3, 4, len(data), 0, 0, len(raw), len(raw), 1)
    data[table + spare * size : table + (spare + 1) * size] = row
    return bytes(data) + raw


def test_pinned_interpreter_runs_everywhere(scene: Scene) -> None:
    scene.entry("e")
    scene.put("root/hello", probe())
    here = scene.ask(str(scene.folder / "root/hello"))[0]
    inside = scene.ask("/hello", chroot=str(scene.folder / "root"))[0]
    assert here.said["handler"] == inside.said["handler"] == "e"
    assert here.said["container"] == inside.said["container"] == "runs"


def test_nothing_is_registered(scene: Scene) -> None:
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert answer.errno == "ENOEXEC"
    assert answer.said["cause"] == "entry-missing"
    assert answer.said["container"] == "exec format error"
    hints = answer.said["hints"]
    assert isinstance(hints, list)
    here = "run: binfmt-setup install --private --no-persist"
    assert f"{here} {FOREIGN.platforms[0].name}" in hints


def test_no_emulator_is_advised_for_what_is_not_to_be_emulated(scene: Scene) -> None:
    """A compiled Python file, a Windows program: their entries start a program of the host."""
    for name, magic in (("pyc", b"\xa7\x0d\x0d\x0a"), ("windows", b"MZ")):
        scene.register.append(Registration(name, "/bin/true", "", magic).line)
    compiled = scene.put("a.pyc", b"\xa7\x0d\x0d\x0a" + bytes(12))
    for answer in scene.ask(compiled, scene.put("a.exe", b"MZ" + bytes(62))):
        assert answer.said["runs"] is True
        assert answer.said["container"] != "runs"
        assert answer.said["hints"] == []


def test_the_executable_bit_is_advised_where_it_helps(scene: Scene) -> None:
    text = scene.put("notes", "text\n", 0o644)
    script = scene.put("script", "#!/bin/sh\n", 0o644)
    program = scene.put("hello", probe(), 0o644)
    hints = [answer.said["hints"] for answer in scene.ask(text, script, program)]
    assert hints[0] == ["it would not run with that bit either: it is text without a `#!` line"]
    assert hints[1] == [f"run: chmod +x {script}"]
    assert hints[2] == [f"run: chmod +x {program}"]
    # What is told, word for word.
    Path(script).chmod(0o755)
    assert scene.ask(script)[0].said["runs"] is True


def test_without_f_a_chroot_finds_no_interpreter(scene: Scene) -> None:
    scene.entry("e", flags="")
    scene.put("root/hello", probe())
    here = scene.ask(str(scene.folder / "root/hello"))[0]
    inside = scene.ask("/hello", chroot=str(scene.folder / "root"))[0]
    assert here.errno == ""
    assert str(here.said["container"]).startswith("no such file or directory")
    assert inside.errno == "ENOENT"
    assert inside.said["cause"] == "flag-f-missing"


def test_the_newest_entry_wins_even_if_it_is_broken(scene: Scene) -> None:
    scene.entry("good")
    scene.entry("broken", "/nowhere/qemu", "")
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert answer.errno == "ENOENT"
    assert states(answer) == {"broken": "handler", "good": "shadowed"}


def test_the_newest_entry_wins_also_if_it_is_good(scene: Scene) -> None:
    scene.entry("broken", "/nowhere/qemu", "")
    scene.entry("good")
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert answer.errno == ""
    assert states(answer) == {"good": "handler", "broken": "shadowed"}


def states(answer: Answer) -> dict[str, str]:
    steps = answer.said["steps"]
    assert isinstance(steps, list)
    return {c["name"]: c["state"] for c in steps[0]["candidates"]}


def test_a_disabled_entry_gets_nothing(scene: Scene) -> None:
    scene.entry("e")
    scene.disable = ["e"]
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert answer.errno == "ENOEXEC"
    assert answer.said["cause"] == "entry-disabled"
    assert answer.said["hints"] == ["run: echo 1 > /proc/sys/fs/binfmt_misc/e"]


def test_a_disabled_entry_lets_an_older_one_through(scene: Scene) -> None:
    scene.entry("old")
    scene.entry("new", "/nowhere/qemu", "")
    scene.disable = ["new"]
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert states(answer) == {"new": "disabled", "old": "handler"}


def test_everything_is_switched_off(scene: Scene) -> None:
    scene.entry("e")
    scene.disable = ["status"]
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert answer.errno == "ENOEXEC"
    assert answer.said["cause"] == "globally-disabled"


def test_a_mask_that_looks_too_closely(scene: Scene) -> None:
    mask = bytearray(FOREIGN.mask)
    mask[7] = 0xFF
    magic = bytearray(FOREIGN.magic)
    magic[7] = 3
    rule = Registration(FOREIGN.entry_name, QEMU, "F", bytes(magic), bytes(mask))
    scene.register.append(rule.line)
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert answer.errno == "ENOEXEC"
    near = answer.said["nearest"]
    assert isinstance(near, dict)
    assert near == {
        "name": FOREIGN.entry_name, "offset": 7, "field": "EI_OSABI", "has": 0, "wants": 3,
        "mask": 255, "differing_bytes": 1,
    }  # fmt: skip


def test_a_wrapper_script_runs_on_the_host_and_in_no_other_root(scene: Scene) -> None:
    wrapper = scene.put("wrapper", f'#!/bin/sh\nexec {QEMU} "$@"\n')
    scene.entry("e", wrapper)
    scene.put("root/hello", probe())
    here = scene.ask(str(scene.folder / "root/hello"))[0]
    inside = scene.ask("/hello", chroot=str(scene.folder / "root"))[0]
    assert here.said["runs"] is True
    assert "is a script, whose shell F does not hold" in str(here.said["container"])
    assert (inside.errno, inside.said["cause"]) == ("ENOENT", "script-interpreter-missing")


def test_with_o_an_interpreter_has_none_in_turn(scene: Scene) -> None:
    wrapper = scene.put("wrapper", f'#!/bin/sh\nexec {QEMU} "$@"\n')
    scene.entry("e", wrapper, "OF")
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert (answer.errno, answer.said["cause"]) == ("ENOEXEC", "second-interpreter")


@pytest.mark.parametrize("kind", ["crashes", "another target's", "wants P and O"])
def test_the_probe_outvotes_what_the_entry_looks_like(scene: Scene, kind: str) -> None:
    interpreter = {
        "crashes": scene.put("crash", crashing((PROBES / platform.machine()).read_bytes())),
        "another target's": QEMU.replace(FOREIGN.name, "mips"),
        "wants P and O": f"/usr/libexec/qemu-binfmt/{FOREIGN.name}-binfmt-P",
    }[kind]
    if not Path(interpreter).exists():
        pytest.skip(f"no {interpreter} here")
    scene.entry("e", interpreter)
    answer = scene.ask(scene.put("hello", probe()))[0]
    assert (answer.errno, answer.said["cause"]) == ("", "emulator-fails")
    assert answer.said["container"] == "the program starts and fails at once"


def test_a_guest_whose_loader_is_missing_in_the_chroot(scene: Scene) -> None:
    scene.entry("e")
    scene.put("root/hello", with_loader(probe(), "/lib/ld-nowhere.so.1"))
    answer = scene.ask("/hello", chroot=str(scene.folder / "root"))[0]
    assert answer.errno == ""
    assert "Could not open '/lib/ld-nowhere.so.1'" in answer.output
    assert answer.said["cause"] == "loader-missing"
    assert answer.said["loader"] == {"path": "/lib/ld-nowhere.so.1", "exists": False}


def test_a_guest_with_its_loader_and_its_library(scene: Scene) -> None:
    compiler = shutil.which(f"{FOREIGN.name}-linux-gnu-gcc")
    if compiler is None:
        pytest.skip(f"no compiler for {FOREIGN.name} here")
    scene.entry("e")
    source = scene.put("hello.c", "int main(void) { return 0; }\n", 0o644)
    scene.put("root/hello", b"")
    subprocess.run([compiler, "-o", str(scene.folder / "root/hello"), source], check=True)
    without = scene.ask("/hello", chroot=str(scene.folder / "root"))[0]
    assert without.said["cause"] == "loader-missing"
    loader = without.said["loader"]
    assert isinstance(loader, dict)
    libraries = Path(f"/usr/{FOREIGN.name}-linux-gnu/lib")
    for name in (Path(loader["path"]).name, "libc.so.6"):
        scene.put(f"root/lib/{name}", (libraries / name).read_bytes())
    with_it = scene.ask("/hello", chroot=str(scene.folder / "root"))[0]
    assert with_it.said["loader"] == {"path": loader["path"], "exists": True}


def test_a_program_of_this_machine_whose_loader_is_missing(scene: Scene) -> None:
    scene.put("root/true", Path("/bin/true").read_bytes())
    answer = scene.ask("/true", chroot=str(scene.folder / "root"))[0]
    assert answer.errno == "ENOENT"
    assert answer.said["cause"] == "loader-missing"
    assert scene.ask("/bin/true")[0].said["how"] == "kernel"


def test_a_dynamic_interpreter_finds_no_loader_in_a_chroot(scene: Scene) -> None:
    scene.entry("e", "/bin/true")
    scene.put("root/hello", probe())
    assert scene.ask(str(scene.folder / "root/hello"))[0].errno == ""
    answer = scene.ask("/hello", chroot=str(scene.folder / "root"))[0]
    assert answer.errno == "ENOENT"
    assert answer.said["cause"] == "interpreter-dynamic"


def test_scripts(scene: Scene) -> None:
    scene.entry("e")
    hello = scene.put("hello", probe())
    answers = scene.ask(
        scene.put("plain", "#!/bin/sh\nexit 0\n"),
        scene.put("missing", "#! /nowhere/sh -e\nexit 0\n"),
        scene.put("windows", "#!/bin/sh\r\nexit 0\r\n"),
        scene.put("foreign", f"#!{hello}\n"),
        scene.put("bare", "exit 0\n"),
        scene.put("empty", ""),
        scene.put("no-name", "#! \t\n"),
        scene.put("too-long", "#!/" + "x" * 300 + "\n"),
        scene.put("no-newline", "#!/bin/true"),
    )
    assert [answer.errno for answer in answers] == [
        "", "ENOENT", "ENOENT", "", "ENOEXEC", "ENOEXEC", "ENOEXEC", "ENOEXEC", "",
    ]  # fmt: skip
    assert answers[2].said["cause"] == "carriage-return"
    assert answers[3].said["handler"] == "e"
    assert answers[8].said["how"] == "kernel"


def test_interpreters_of_interpreters_up_to_the_kernels_limit(scene: Scene) -> None:
    last, files = "/bin/true", []
    for number in range(1, 8):
        last = scene.put(f"script{number}", f"#!{last}\n")
        files.append(last)
    answers = scene.ask(*files)
    assert [answer.errno for answer in answers] == [""] * 5 + ["ELOOP"] * 2


def test_an_entry_that_catches_its_own_interpreter(scene: Scene) -> None:
    assert NATIVE is not None
    rule = Registration("native", "/bin/true", "F", NATIVE.magic, NATIVE.mask)
    scene.register.append(rule.line)
    answer = scene.ask("/bin/true")[0]
    assert answer.errno == "ELOOP"
    assert answer.said["hints"] == ["run: echo -1 > /proc/sys/fs/binfmt_misc/native"]


def test_entries_by_extension(scene: Scene) -> None:
    scene.register.append(Registration("jar", "/bin/true", "", extension="jar").line)
    scene.register.append(Registration("tgz", "/bin/true", "", extension="tar.gz").line)
    answers = scene.ask(
        scene.put("a.jar", "x"), scene.put("a.jar.txt", "x"), scene.put("a.tar.gz", "x")
    )
    assert [answer.errno for answer in answers] == ["", "ENOEXEC", "ENOEXEC"]
    assert answers[0].said["handler"] == "jar"


def test_what_may_not_be_executed(scene: Scene) -> None:
    scene.noexec = str(scene.folder / "noexec")
    Path(scene.noexec).mkdir()
    os.mkfifo(scene.folder / "pipe", 0o755)
    (scene.folder / "loop").symlink_to("loop")
    answers = scene.ask(
        scene.put("plain", "#!/bin/sh\n", 0o644), str(scene.folder), "/dev/null",
        str(scene.folder / "pipe"), str(scene.folder / "loop"), f"{scene.noexec}/program",
    )  # fmt: skip
    assert [a.said["cause"] for a in answers] == [
        "not-executable", "not-a-file", "not-a-file", "not-a-file", "link-loop", "noexec",
    ]  # fmt: skip


def test_a_registry_that_is_not_to_be_seen(scene: Scene) -> None:
    scene.hide = True
    hello = scene.put("hello", probe())
    without = scene.ask(hello)[0]
    assert without.said["cause"] == "not-mounted"
    scene.entry("e")
    behind = scene.ask(hello)[0]
    assert behind.said["how"] == "entry"
    assert behind.said["handler"] is None
    assert "a probe did" in str(behind.said["notes"])


def test_relatives_of_this_machine_run_if_the_kernel_says_so(scene: Scene) -> None:
    assert NATIVE is not None
    relatives = [target_named(name) for name in NATIVE.runs_also]
    files = [
        scene.put(target.name, (PROBES / target.platforms[0].probe).read_bytes())
        for target in relatives
    ]
    for answer in scene.ask(*files):
        assert answer.said["how"] == ("kernel" if answer.errno == "" else "nothing")


def test_cut_off_and_huge_files(scene: Scene) -> None:
    scene.entry("e")
    cut = scene.put("cut", probe()[:40])
    shorter = scene.put("shorter", probe()[:180])  # four bytes of code
    huge = scene.put("huge", b"\x7fELF")
    os.truncate(huge, 1 << 40)
    answers = scene.ask(cut, shorter, huge)
    assert [answer.said["cause"] for answer in answers] == ["cut-off", "cut-off", "no-program"]
