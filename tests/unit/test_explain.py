"""What explain says: words for ABIs, the command line, and answers for what is no program."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from binfmt_setup.cli import app
from binfmt_setup.explain.abi import BoundedStream, abi_words, machine_words
from binfmt_setup.explain.explanation import Cause
from binfmt_setup.explain.loading import kernel_refusal, load
from binfmt_setup.explain.reasoning import explain
from binfmt_setup.explain.scripts import call_of_env, script_of
from binfmt_setup.explain.specimen import Specimen, look_at
from binfmt_setup.model.elf import identify
from binfmt_setup.model.facts import Distribution, HostFacts, KernelFacts, ProcessFacts
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter
from binfmt_setup.model.mountinfo import BinfmtMount
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts
from binfmt_setup.model.targets import TARGETS, target_named
from binfmt_setup.report.explanation_text import explanation_text
from binfmt_setup.report.specimen_words import field_name
from binfmt_setup.report.style import Style
from binfmt_setup.system.host import Host
from tests.own_namespace import PROBES
from tests.report_schema import SCHEMA, assert_fits

if TYPE_CHECKING:
    from binfmt_setup.explain.explanation import Explanation


GUIDE = Path(__file__).parents[2] / "docs" / "explain.md"
ARM64 = target_named("aarch64")


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "binfmt_setup", "explain", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def header(machine: int, flags: int, bits: int = 32, order: str = "little") -> bytes:
    end = "<" if order == "little" else ">"
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2, 1]) + bytes(9)
    address = "Q" if bits == 64 else "I"
    size = (64, 56) if bits == 64 else (52, 32)
    return ident + struct.pack(
        f"{end}HHI{address * 3}IHHHHHH", 2, machine, 1, 4096, 64, 0, flags, *size, 1, 0, 0, 0
    )


# From the processor supplements; those with a probe or a cross library were compared with
# what `readelf -h` says.
ABIS = [
    (40, 0x05000400, 32, "little", ("EABI 5", "hard-float")),
    (40, 0x05000200, 32, "little", ("EABI 5", "soft-float")),
    (40, 0x05800200, 32, "big", ("EABI 5", "soft-float", "BE-8")),
    (40, 0, 32, "little", ("no EABI (old ABI)",)),
    (8, 0x10001001, 32, "big", ("o32", "MIPS II")),
    (8, 0x80000027, 32, "little", ("n32", "MIPS 64r2")),
    (8, 0x80000007, 64, "little", ("n64", "MIPS 64r2")),
    (8, 0xA0000407, 64, "little", ("n64", "MIPS 64r6", "NaN 2008")),
    (243, 0x5, 64, "little", ("double-float", "compressed instructions (C)")),
    (243, 0x0, 64, "little", ("soft-float",)),
    (243, 0x18, 32, "little", ("soft-float", "16 registers (E)", "total store order")),
    (21, 0x1, 64, "big", ("ELFv1",)),
    (21, 0x2, 64, "little", ("ELFv2",)),
    (21, 0x0, 64, "big", ("ELF ABI not said",)),
    (258, 0x43, 64, "little", ("lp64, double-float", "object ABI v1")),
    (43, 0x2, 64, "big", ("relaxed memory order",)),
    (183, 0x0, 64, "little", ()),
]


@pytest.mark.parametrize(("machine", "flags", "bits", "order", "words"), ABIS)
def test_flags_in_words(
    machine: int, flags: int, bits: int, order: str, words: tuple[str, ...]
) -> None:
    elf = identify(header(machine, flags, bits, order))
    assert elf is not None
    assert abi_words(elf) == words
    wide = header(machine, flags, bits, order).ljust(300, b"\0")
    loading = load(BoundedStream(io.BytesIO(wide), len(wide)), wide, bits, elf.order)
    assert kernel_refusal(loading) is None


def test_every_target_has_a_name_of_its_own() -> None:
    assert all(not machine_words(target.machine).startswith("machine ") for target in TARGETS)
    assert machine_words(83) == "AVR"
    assert machine_words(0xFFFE) == "machine 65534"


def test_fields_of_the_header() -> None:
    names = [field_name(at, wide=True) for at in (0, 4, 7, 16, 18, 19, 36, 48)]
    assert names == [
        "EI_MAG", "EI_CLASS", "EI_OSABI", "e_type", "e_machine", "e_machine",
        "behind e_version", "e_flags",
    ]  # fmt: skip
    assert field_name(39, wide=False) == "e_flags"


@pytest.mark.parametrize(
    ("line", "interpreter", "argument"),
    [
        (b"#!/bin/sh\n", "/bin/sh", ""),
        (b"#! \t/usr/bin/env  python3 -u \nx", "/usr/bin/env", "python3 -u"),
        (b"#!/bin/sh", "/bin/sh", ""),
        (b"#!/bin/sh " + b"x" * 400, "/bin/sh", "x" * 245),
    ],
)
def test_scripts_as_the_kernel_reads_them(line: bytes, interpreter: str, argument: str) -> None:
    script = script_of(line)
    assert script is not None
    assert (script.interpreter, script.argument) == (interpreter, argument)


@pytest.mark.parametrize("argument", ["", "-i", "-u HOME", "-S A=b", "-S # true"])
def test_env_without_a_program_starts_the_script_for_ever(tmp_path: Path, argument: str) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/usr/bin/env {argument}\n")
    script.chmod(0o755)
    done = tool(str(script))
    assert done.returncode == 1
    assert "starts it again, and again" in " ".join(done.stdout.split())


@pytest.mark.parametrize("argument", ["-S -a x true", "-S --argv0=x true", "-S ${A}", "-S a\\_b"])
def test_what_not_every_env_understands_is_not_known(argument: str) -> None:
    assert call_of_env(argument) is None


@pytest.mark.parametrize("line", [b"", b"#", b"#!\n", b"#! \t\nx", b"#!/" + b"x" * 300, b"exit"])
def test_no_scripts(line: bytes) -> None:
    assert script_of(line) is None


def host(*entries: Entry, distribution: str = "debian") -> HostFacts:
    """An amd64 host with a static QEMU for arm64."""
    qemu = "/usr/bin/qemu-aarch64-static"
    program = identify((PROBES / "x86_64").read_bytes())
    return HostFacts(
        root="/", kernel=KernelFacts("6.1", "x86_64"),
        registry=RegistryFacts(
            BinfmtMount("mounted"), enabled=True, entries=entries, listing=None
        ),
        emulators=EmulatorFacts(files={qemu: Interpreter(qemu, qemu, elf=program)}),
        distribution=Distribution(distribution),
    )  # fmt: skip


def arm64(name: str = "qemu-aarch64", *, flags: str = "OF", enabled: bool = True) -> Entry:
    rule = Registration(name, "/usr/bin/qemu-aarch64-static", flags, ARM64.magic, ARM64.mask)
    return Entry(rule, enabled)


def about(facts: HostFacts, **files: Specimen) -> Explanation:
    """What is said about /x, with these files in the tree."""
    found = {f"/{name.replace('__', '/')}": file for name, file in files.items()}

    def look(path: str) -> Specimen:
        return found.get(path, Specimen(path, "missing"))

    return explain(facts, "/x", look=look, look_on_host=look_at_host, prove=lambda _: None)


def look_at_host(path: str) -> Specimen:
    if path != "/usr/bin/qemu-aarch64-static":
        return Specimen(path, "missing")
    return replace(look_at(Host(), str(PROBES / "x86_64")), path=path)


def program(**changes: object) -> Specimen:
    found = replace(look_at(Host(), str(PROBES / "aarch64")), path="/x")
    return replace(found, **changes)


def asking_for(loader: str) -> Specimen:
    found = program()
    layout = (64, "little")
    return replace(found, loadings={layout: replace(found.loadings[layout], loader=loader)})


def test_the_text_names_everything_and_ends_with_the_verdict() -> None:
    old, off = arm64("old"), arm64("off", enabled=False)
    seen = about(host(arm64(), off, old), x=asking_for("/lib/ld.so"), lib__ld=program())
    text = explanation_text(seen, Style())
    update, install = "apt-get update", "apt-get install -y libc6:arm64"
    assert text.splitlines() == [
        "/x",
        "· ELF 64-bit little-endian program for AArch64, System V",
        "✓ entry qemu-aarch64 handles it: /usr/bin/qemu-aarch64-static, flags OF",
        "! entry off matches, but is disabled: /usr/bin/qemu-aarch64-static, flags OF",
        "· entry old matches as well, but a newer entry is used instead:",
        "  /usr/bin/qemu-aarch64-static, flags OF",
        "· /usr/bin/qemu-aarch64-static: ELF 64-bit little-endian program for x86-64,",
        "  System V",
        "· /usr/bin/qemu-aarch64-static: statically linked: it wants no loader",
        "✗ its loader /lib/ld.so is not there",
        "✓ in a container: runs",
        f"  → run: dpkg --add-architecture arm64 && {update} && {install}",
        "  → for a program of another root: binfmt-setup explain --chroot DIR /x",
        "does not run: its loader /lib/ld.so is not there",
    ]
    assert "".join(f"    {line}\n" for line in text.splitlines()) in GUIDE.read_text()


def test_every_cause_has_its_paragraph() -> None:
    headings = re.findall(r"^### (.+)$", GUIDE.read_text(), re.MULTILINE)
    assert headings == list(get_args(Cause))
    listed = SCHEMA["$defs"]["explanation"]["properties"]["cause"]["enum"]
    assert listed == [*get_args(Cause), None]


def test_musl_programs_are_not_sent_to_a_package_manager() -> None:
    seen = about(host(arm64()), x=asking_for("/lib/ld-musl-aarch64.so.1"))
    assert "musl (Alpine)" in seen.hints[0]


def test_debian_prefix_counts_as_a_place_for_the_loader() -> None:
    loader = Specimen("/etc/qemu-binfmt/aarch64/lib/l")
    files = {"etc__qemu-binfmt__aarch64__lib__l": loader}
    seen = about(host(arm64()), x=asking_for("/lib/l"), **files)
    assert seen.runs
    assert "below /etc/qemu-binfmt/aarch64" in seen.notes[0]


def test_what_a_container_would_say_of_an_entry_without_f() -> None:
    local = look_at_host("/usr/bin/qemu-aarch64-static")
    files = {"usr__bin__qemu-aarch64-static": local}
    seen = about(host(arm64(flags="O")), x=program(), **files)
    assert seen.runs
    assert seen.container.startswith("no such file or directory: ")
    assert seen.hints[0].startswith("run: binfmt-setup install linux/arm64")


def test_names_out_of_a_file_cannot_steer_the_terminal() -> None:
    seen = about(host(arm64()), x=asking_for("/lib/\x1b[2Jld\udcff"))
    text = explanation_text(seen, Style())
    assert "\x1b" not in text
    assert "\\x1b[2Jld\\xff" in text


def test_kinds_of_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop2")
    (tmp_path / "loop2").symlink_to(tmp_path / "loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "empty").touch()
    kinds = {
        name: look_at(Host(), str(tmp_path / name)).kind
        for name in ("pipe", "loop", "dangling", "empty", "", "empty/below", "x" * 300)
    }
    assert kinds == {
        "pipe": "fifo", "loop": "link-loop", "dangling": "missing", "empty": "file",
        "": "directory", "empty/below": "missing", "x" * 300: "missing",
    }  # fmt: skip
    assert look_at(Host(), "/dev/zero").kind == "device"
    assert look_at(Host(), "a\0b").kind == "missing"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"), (b"MZ\x90\0", "a Windows or DOS program"),
        (b"echo hello\n", "text without a `#!` line"), (bytes(300), "data of an unknown kind"),
        (b"\x7fELF", "a cut-off ELF header"),
        (b"\x7fELF" + b"\xff" * 99, "an ELF header that makes no sense"),
        (header(183, 0, 64)[:16] + b"\x01\0" + header(183, 0, 64)[18:],
         "no program but an object file or kernel module"),
    ],
)  # fmt: skip
def test_what_is_no_program(content: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    file.chmod(0o755)
    done = tool(str(file))
    assert done.returncode == 1
    said = " ".join(done.stdout.split())
    assert said.endswith(f" does not run: it is {words} (exec format error)")


def test_a_terabyte_of_nothing(tmp_path: Path) -> None:
    file = tmp_path / "huge"
    file.write_bytes((PROBES / "aarch64").read_bytes())
    os.truncate(file, 1 << 40)
    file.chmod(0o755)
    done = tool(str(file), "--format", "json")
    document = json.loads(done.stdout)
    assert_fits(document)
    assert document["explanation"]["file"]["size"] == 1 << 40
    assert document["explanation"]["file"]["target"] == "aarch64"


@pytest.mark.parametrize(
    "arguments", [("/nonexistent",), (), ("/bin/sh", "--chroot", "/nonexistent"), ("a", "b")]
)
def test_bad_arguments_exit_2_with_a_hint(arguments: tuple[str, ...]) -> None:
    done = tool(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_file_as_json() -> None:
    done = tool("/nonexistent", "--format", "json")
    assert done.returncode == 2
    assert_fits(json.loads(done.stdout))


def test_a_file_that_may_not_be_read_exits_3(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x")
    file.chmod(0)
    assert app.run_command_line(["explain", "/bin/sh"]) == 0  # loads all modules as this user
    capfd.readouterr()
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        os._exit(app.run_command_line(["explain", str(file)]))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 3
    assert "may not be read" in " ".join(capfd.readouterr().err.split())


def test_inside_and_outside_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/tool"
    program.write_bytes((PROBES / "aarch64").read_bytes())
    program.chmod(0o755)
    link = tmp_path.with_name("link")
    link.symlink_to(tmp_path)
    for name in ("/bin/tool", str(program), str(link / "bin/tool")):
        document = json.loads(tool(name, "--chroot", str(link), "--format", "json").stdout)
        assert document["explanation"]["file"]["path"] == "/bin/tool"
        assert document["explanation"]["tree"] == str(tmp_path)


def test_with_a_tree_the_hosts_file_is_not_answered_for(tmp_path: Path) -> None:
    done = tool("/bin/true", "--chroot", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert f"/bin/true: no such file in {tmp_path}" in " ".join(done.stderr.split())


def test_a_command_for_a_file_of_a_tree_names_it_from_outside(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/tool"
    program.write_bytes((PROBES / "aarch64").read_bytes())
    script = tmp_path / "bin/script"
    script.write_bytes(b"#!/bin/tool\r\n")
    script.chmod(0o755)
    for name, command in (("/bin/tool", f"chmod +x {program}"), ("/bin/script", f"' {script}")):
        said = json.loads(tool(name, "--chroot", str(tmp_path), "--format", "json").stdout)
        assert command in " ".join(said["explanation"]["hints"]), said


def test_an_empty_name_is_a_mistake_and_not_this_directory() -> None:
    done = tool("")
    assert (done.returncode, done.stdout) == (2, "")
    assert "FILE is empty" in done.stderr


def test_a_name_without_a_slash_is_looked_up_as_a_shell_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, mode in (("first", 0o644), ("second", 0o755), ("here", 0o755)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "hello").write_text("#!/bin/sh\n")
        (tmp_path / folder / "hello").chmod(mode)
    (tmp_path / "here" / "only").write_text("#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/nowhere:{tmp_path}/first:{tmp_path}/second:/bin")
    monkeypatch.setenv("PYTHONPATH", str(GUIDE.parents[1]))
    monkeypatch.chdir(tmp_path / "here")
    for name, path in (
        ("hello", f"{tmp_path}/second/hello"), ("sh", "/bin/sh"),
        ("only", f"{tmp_path}/here/only"), ("./hello", f"{tmp_path}/here/hello"),
    ):  # fmt: skip
        document = json.loads(tool(name, "--format", "json").stdout)
        assert document["explanation"]["file"]["path"] == path, name


def test_an_offline_tree_has_its_own_registry(tmp_path: Path) -> None:
    registry = tmp_path / "proc/sys/fs/binfmt_misc"
    registry.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "proc/self/mountinfo").write_text(
        "20 1 0:1 / / rw - ext4 a rw\n21 20 0:2 / /proc/sys/fs/binfmt_misc rw - binfmt_misc b rw\n"
    )
    (registry / "status").write_text("enabled\n")
    rule = arm64().registration
    (registry / rule.name).write_text(
        f"enabled\ninterpreter {rule.interpreter}\nflags: OF\noffset 0\n"
        f"magic {rule.magic.hex()}\nmask {rule.mask.hex()}\n"
    )
    (tmp_path / "hello").write_bytes((PROBES / "aarch64").read_bytes())
    (tmp_path / "hello").chmod(0o755)
    done = tool("/hello", "--root", str(tmp_path), "--format", "json")
    document = json.loads(done.stdout)
    assert_fits(document)
    assert document["explanation"]["handler"] == "qemu-aarch64"
    assert document["explanation"]["runs"] is True


def test_who_is_not_root_is_told_of_sudo() -> None:
    host, probe = Host(), str(PROBES / "aarch64")

    def look(path: str) -> Specimen:
        return look_at(host, path)

    for uid, start in ((0, "run: binfmt-setup"), (1000, "run: sudo binfmt-setup")):
        facts = HostFacts("/", kernel=KernelFacts("6.1", "x86_64"), process=ProcessFacts(uid))
        mounted = RegistryFacts(BinfmtMount("mounted"), enabled=True, listing=None)
        seen = replace(facts, registry=mounted)
        said = explain(seen, probe, look=look, look_on_host=look, prove=lambda _: None)
        assert said.hints[0].startswith(f"{start} install")
