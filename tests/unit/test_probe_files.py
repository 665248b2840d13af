"""The probes that lie in the package: whole, what they claim to be, and built from the source."""

from __future__ import annotations

import hashlib
import os
import platform
import resource
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import toolchains
from binfmt_setup.model.targets import target_named

pytestmark = pytest.mark.one_python

TOP = Path(__file__).resolve().parents[2]
FOLDER = TOP / "binfmt_setup" / "data" / "probes"
SCRIPT = TOP / "scripts" / "build-probes"

# Written down a second time on purpose: the table in scripts/build-probes may be wrong.
EXPECTED = {
    "aarch64": (64, "little", "EM_AARCH64"),
    "aarch64_be": (64, "big", "EM_AARCH64"),
    "alpha": (64, "little", 0x9026),  # never in the standard, hence without a name
    "arm-v5": (32, "little", "EM_ARM"),
    "arm-v6": (32, "little", "EM_ARM"),
    "arm-v7": (32, "little", "EM_ARM"),
    "armeb": (32, "big", "EM_ARM"),
    "hexagon": (32, "little", "EM_QDSP6"),
    "hppa": (32, "big", "EM_PARISC"),
    "i386": (32, "little", "EM_386"),
    "loongarch64": (64, "little", "EM_LOONGARCH"),
    "m68k": (32, "big", "EM_68K"),
    "mips": (32, "big", "EM_MIPS"),
    "mips64": (64, "big", "EM_MIPS"),
    "mips64el": (64, "little", "EM_MIPS"),
    "mipsel": (32, "little", "EM_MIPS"),
    "mipsn32": (32, "big", "EM_MIPS"),
    "mipsn32el": (32, "little", "EM_MIPS"),
    "or1k": (32, "big", "EM_OPENRISC"),
    "ppc": (32, "big", "EM_PPC"),
    "ppc64": (64, "big", "EM_PPC64"),
    "ppc64le": (64, "little", "EM_PPC64"),
    "riscv32": (32, "little", "EM_RISCV"),
    "riscv64": (64, "little", "EM_RISCV"),
    "s390x": (64, "big", "EM_S390"),
    "sh4": (32, "little", "EM_SH"),
    "sh4eb": (32, "big", "EM_SH"),
    "sparc": (32, "big", "EM_SPARC"),
    "sparc32plus": (32, "big", "EM_SPARC32PLUS"),
    "sparc64": (64, "big", "EM_SPARCV9"),
    "x86_64": (64, "little", "EM_X86_64"),
    "x86_64-v2": (64, "little", "EM_X86_64"),
    "x86_64-v3": (64, "little", "EM_X86_64"),
    "x86_64-v4": (64, "little", "EM_X86_64"),
    "xtensa": (32, "little", "EM_XTENSA"),
}
# Bits of e_flags without which the kernel or QEMU takes the file for another target.
ABI2, EABI5, BE8, ELFV2 = 0x20, 0x5000000, 0x800000, 2
EXPECTED_FLAGS = {
    "arm-v5": (EABI5 | BE8, EABI5),
    "arm-v6": (EABI5 | BE8, EABI5),
    "arm-v7": (EABI5 | BE8, EABI5),
    "armeb": (EABI5 | BE8, EABI5 | BE8),
    "mips": (ABI2, 0),
    "mipsel": (ABI2, 0),
    "mipsn32": (ABI2, ABI2),
    "mipsn32el": (ABI2, ABI2),
    "ppc64": (3, ELFV2),
    "ppc64le": (3, ELFV2),
}
READ_EXECUTE, READ_WRITE = 5, 6
NATIVE = {"aarch64", "loongarch64", "ppc64le", "riscv64", "s390x", "x86_64"}


def build_probes(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def answers(output: str) -> dict[str, str]:
    return {name: answer for name, _, answer in (x.partition(": ") for x in output.splitlines())}


@pytest.fixture(name="rebuilt", scope="module")
def rebuild_what_this_machine_can() -> dict[str, str]:
    done = build_probes("--check")
    found = answers(done.stdout)
    if set(found.values()) <= {"no compiler", "other compiler version"}:
        pytest.skip("none of the recorded compilers is installed (see build-probes --check)")
    return found


def records() -> dict[str, str]:
    lines = (FOLDER / "BUILT-WITH").read_text(encoding="ascii").splitlines()
    return {name: record for name, _, record in (line.partition(" ") for line in lines)}


def test_folder_holds_the_expected_probes_and_the_two_lists() -> None:
    names = {path.name for path in FOLDER.iterdir()}
    assert names == {*EXPECTED, "SHA256SUMS", "BUILT-WITH"}


def test_checksums_match() -> None:
    lines = (FOLDER / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    sums = {line[66:]: line[:64] for line in lines if line[64:66] == "  "}
    assert len(sums) == len(lines)
    assert sums == {
        name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in EXPECTED
    }


def test_every_probe_has_its_compiler_and_linker_recorded_with_versions() -> None:
    found = records()
    assert list(found) == sorted(EXPECTED)
    assert all(len(record.split()) == 4 for record in found.values())


@pytest.mark.parametrize("name", EXPECTED)
def test_header_is_that_of_the_target(name: str) -> None:
    with (FOLDER / name).open("rb") as stream:
        elf = ELFFile(stream)
        order = "little" if elf.little_endian else "big"
        assert (elf.elfclass, order, elf["e_machine"]) == EXPECTED[name]
        assert elf["e_type"] == "ET_EXEC"
        mask, value = EXPECTED_FLAGS.get(name, (0, 0))
        assert elf["e_flags"] & mask == value


@pytest.mark.parametrize("name", EXPECTED)
def test_nothing_but_one_segment_and_a_stack(name: str) -> None:
    with (FOLDER / name).open("rb") as stream:
        segments = [(s["p_type"], s["p_flags"]) for s in ELFFile(stream).iter_segments()]
    assert segments == [("PT_LOAD", READ_EXECUTE), ("PT_GNU_STACK", READ_WRITE)]


@pytest.mark.parametrize("name", EXPECTED)
def test_size_and_mode(name: str) -> None:
    status = (FOLDER / name).stat()
    assert status.st_size < 4096
    # A umask may take away from the group and others, never from the owner.
    assert stat.S_IMODE(status.st_mode) & 0o700 == 0o700


@pytest.mark.parametrize("name", EXPECTED)
def test_probe_names_its_own_target(name: str) -> None:
    assert f"binfmt-probe target={name} machine=\0".encode() in (FOLDER / name).read_bytes()


def native_probe() -> Path:
    machine = platform.machine()
    if machine not in NATIVE:
        pytest.skip(f"no probe is surely native where uname says {machine}")
    return FOLDER / machine


# Which of the levels a processor of QEMU's runs; the one above ends with SIGILL.
LEVELS = {
    ("arm", "arm926"): "v5",
    ("arm", "arm1136"): "v6",
    ("arm", "cortex-a8"): "v7",
    ("x86_64", "qemu64"): "",
    ("x86_64", "Nehalem"): "v2",
    ("x86_64", "max"): "v3",
}


@pytest.mark.parametrize(("target", "processor"), LEVELS)
def test_a_level_runs_on_no_processor_below_it(target: str, processor: str) -> None:
    emulator = shutil.which(f"qemu-{target}-static")
    if emulator is None:
        pytest.skip(f"no qemu-{target}-static here")
    probes = [p.probe for p in target_named(target).platforms]
    if status_of(emulator, str(FOLDER / probes[0])) != 0:
        # As QEMU 7.2's for arm where pages have 64 KiB.
        pytest.skip(f"{emulator} runs no program on this machine")
    ended = {probe: status_of(emulator, "-cpu", processor, str(FOLDER / probe)) for probe in probes}
    highest = probes.index("-".join(filter(None, (target, LEVELS[target, processor]))))
    assert ended == {
        probe: 0 if at <= highest else -signal.SIGILL for at, probe in enumerate(probes)
    }


def status_of(*command: str) -> int:
    """What a command ends with that has nothing to read."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/",
        preexec_fn=without_core_files,
    ).returncode  # fmt: skip


def without_core_files() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def test_native_probe_prints_one_line_and_waits_for_stdin() -> None:
    probe = native_probe()
    command = ["some name", "x", "y"]
    with subprocess.Popen(
        command, executable=probe, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line == (
            f"binfmt-probe target={probe.name} machine={os.uname().machine} "
            "argc=3 argv0=some name\n"
        )
        assert process.poll() is None
        assert Path(f"/proc/{process.pid}/exe").samefile(probe)
        rest, _ = process.communicate(b"x")
    assert (rest, process.returncode) == (b"", 0)


def test_native_probe_cuts_a_long_name() -> None:
    done = subprocess.run(
        ["n" * 5000], executable=native_probe(), stdin=subprocess.DEVNULL, stdout=-1, check=True
    )
    assert done.stdout.endswith(b" argc=1 argv0=" + b"n" * 100 + b"\n")


def test_native_probe_reports_a_failed_write() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([native_probe()], stdin=subprocess.DEVNULL, stdout=full, check=False)
    assert done.returncode == 1


def test_native_probe_reports_a_short_write(tmp_path: Path) -> None:
    command = ["prlimit", "--fsize=20", str(native_probe())]
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, check=False)
    assert (done.returncode, (tmp_path / "out").stat().st_size) == (1, 20)


def test_recorded_compilers_give_the_same_bytes(rebuilt: dict[str, str]) -> None:
    wrong = {name: answer for name, answer in rebuilt.items() if answer.startswith("different")}
    assert not wrong
    assert set(rebuilt) == set(EXPECTED)


def test_check_notices_an_altered_probe(rebuilt: dict[str, str], tmp_path: Path) -> None:
    name = next(name for name, answer in rebuilt.items() if answer == "same")
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    with (tmp_path / name).open("ab") as stream:
        stream.write(b"\0")
    done = build_probes("--check", "--out", str(tmp_path), "--only", name)
    assert (done.returncode, answers(done.stdout)) == (1, {name: "different"})


@pytest.mark.parametrize(
    ("compiler", "status", "why"), [("c 1 l 1", 1, "the same compilers"), ("c 2 l 1", 0, "other")]
)
def test_other_bytes_are_a_fault_where_the_recorded_compilers_made_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], compiler: str, status: int, why: str
) -> None:
    for name, sums, built in (
        ("recorded", "1  a\n2  b-pie\n", "a c 1 l 1\nb c 1 l 1\n"),
        ("fresh", "1  a\n3  b-pie\n", f"a c 1 l 1\nb {compiler}\n"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "SHA256SUMS").write_text(sums)
        (tmp_path / name / "BUILT-WITH").write_text(built)
    assert toolchains.compare_folders(tmp_path / "recorded", tmp_path / "fresh") == status
    first, others = capsys.readouterr().out.splitlines()
    assert first == "fresh: 1 of 2 have the recorded bytes"
    assert why in others
    assert others.endswith(": b-pie")


def test_a_missing_compiler_fails_its_probe_and_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "out").mkdir()
    old = tmp_path / "out" / "sh4"
    old.write_bytes(b"old")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    done = build_probes("--out", str(old.parent), "--only", "sh4", "alpha")
    assert done.returncode == 1
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
        ["alpha", " no compiler"],
        ["sh4", " no compiler"],
    ]
    assert old.read_bytes() == b"old"


def test_list_of_packages_names_every_recorded_compiler_and_linker() -> None:
    listed = build_probes("--list-packages").stdout.split()
    recorded = {package for record in records().values() for package in record.split()[::2]}
    assert listed == sorted(recorded)


def test_documentation_has_the_sizes_and_compilers_of_all_probes() -> None:
    lines = (TOP / "docs" / "probes.md").read_text(encoding="utf-8").splitlines()
    rows = [tuple(cell.strip() for cell in line.split("|")[1:4]) for line in lines if "|" in line]
    facts = {
        (name, str((FOLDER / name).stat().st_size), record.split()[0])
        for name, record in records().items()
    }
    assert facts <= set(rows)
    assert {row[0] for row in rows if row[1].isdecimal()} - {"0", "1", "2"} == set(EXPECTED)
