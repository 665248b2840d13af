"""The table of targets against its oracles, and every alias in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from binfmt_setup.model.errors import ExitCode, UsageProblem
from binfmt_setup.model.registration import Registration, parse_line
from binfmt_setup.model.targets import (
    TARGETS,
    container_platforms,
    parse_platform,
    platforms_by_alias,
    target_named,
    target_of_entry,
    target_of_machine,
)

DATA = Path(__file__).parent / "data"
DEBIAN = [
    parse_line(line)
    for line in (DATA / "debian-qemu-user-static-7.2.conf").read_text().splitlines()
]
SCRIPT = [
    line.split()
    for line in (DATA / "qemu-binfmt-conf.txt").read_text().splitlines()
    if not line.startswith("#")
]

# Rows that differ from QEMU's script, each with its reason; where Debian has a file for the
# target the row is Debian's (Debian generates it from a corrected copy of the script).
OSABI = "any OSABI in the script, System V to GNU/Linux in Debian's and in ours"
ABI_VERSION = "Debian leaves the last bit of EI_ABIVERSION free, which MIPS programs use"
N32 = "o32 and n32 differ in one bit of e_flags alone, which the script does not look at"
DIFFERS_FROM_SCRIPT = {
    "alpha": "the script leaves bits of EI_DATA and EI_VERSION free, for no known reason",
    "m68k": "the script leaves a bit of EI_VERSION free, for no known reason",
    "microblaze": "the script's mask has the free bit of e_type in the wrong byte",
    "mips": N32,
    "mipsel": N32,
    "mipsn32": N32,
    "mipsn32el": N32,
    "mips64": ABI_VERSION,
    "mips64el": ABI_VERSION,
    "ppc": OSABI,
    "ppc64": OSABI,
    "ppc64le": OSABI,
    "s390x": OSABI,
    "sh4": OSABI,
    "sh4eb": OSABI,
    "sparc": OSABI,
    "sparc32plus": OSABI,
}
# In neither oracle: rows that rest on the plain rule alone.
NO_ORACLE = {"nios2"}


def test_debian_registers_29_targets() -> None:
    assert len(DEBIAN) == 29


@pytest.mark.parametrize("theirs", DEBIAN, ids=lambda r: r.name)
def test_row_equals_debians_file_byte_for_byte(theirs: Registration) -> None:
    target = target_of_entry(theirs.name)
    assert target is not None
    assert (target.entry_name, target.magic, target.mask) == (
        theirs.name, theirs.magic, theirs.mask,
    )  # fmt: skip


@pytest.mark.parametrize("row", SCRIPT, ids=lambda row: row[0])
def test_row_equals_qemus_script_or_the_difference_has_a_reason(row: list[str]) -> None:
    name, magic, mask = row
    target = target_named(name)
    ours = Registration("x", "x", "", target.magic, target.mask).pattern
    theirs = Registration("x", "x", "", bytes.fromhex(magic), bytes.fromhex(mask)).pattern
    assert (ours != theirs) == (name in DIFFERS_FROM_SCRIPT)


def test_every_row_has_an_oracle_or_is_named_as_having_none() -> None:
    seen = {r.name.removeprefix("qemu-") for r in DEBIAN} | {row[0] for row in SCRIPT}
    assert {target.name for target in TARGETS} - seen == NO_ORACLE


def test_installed_debian_files_are_the_recorded_ones() -> None:
    """Where this machine has Debian's files they must not have moved away from the table."""
    for path in sorted(Path("/usr/lib/binfmt.d").glob("qemu-*.conf")):
        theirs = parse_line(path.read_text())
        target = target_of_entry(theirs.name)
        assert target is not None
        assert (target.magic, target.mask) == (theirs.magic, theirs.mask)


def test_no_two_targets_take_the_same_programs() -> None:
    for one in TARGETS:
        for other in TARGETS:
            if one is not other:
                registration = Registration("x", "x", "", one.magic, one.mask)
                assert not registration.matches(other.magic), f"{one.name} takes {other.name}"


def test_position_independent_programs_and_gnu_osabi_match() -> None:
    for target in TARGETS:
        header = bytearray(target.magic.ljust(64, b"\0"))
        header[7] = 3
        header[16 if target.order == "little" else 17] = 3
        assert Registration("x", "x", "", target.magic, target.mask).matches(bytes(header))


# What other tools call a platform, and which it is.
SPELLINGS = {
    "linux/arm64": "linux/arm64 arm64 aarch64 linux/arm64/v8 arm64v8",
    "linux/arm/v7": "arm linux/arm arm/v7 armhf armv7l arm32v7 linux/arm/v7",
    "linux/arm/v6": "arm/v6 armv6l linux/arm/v6",
    "linux/arm/v5": "armel arm/v5 armv5tel",
    "linux/386": "386 i386 i686 linux/386",
    "linux/amd64": "amd64 x86_64 x86-64 linux/amd64 AMD64",
    "linux/amd64/v3": "amd64/v3 linux/amd64/v3",
    "linux/ppc64le": "ppc64le ppc64el linux/ppc64le",
    "linux/loong64": "loong64 loongarch64",
    "linux/mips64le": "mips64le mips64el",
    "linux/mipsle": "mipsle mipsel",
    "linux/ppc": "powerpc ppc",
    "linux/s390x": "s390x linux/s390x",
    "linux/riscv64": "riscv64 linux/riscv64",
    "linux/hppa": "hppa parisc",
    "linux/or1k": "or1k openrisc",
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_usual_spellings_lead_to_the_platform(name: str) -> None:
    for spelling in SPELLINGS[name].split():
        assert parse_platform(spelling).name == name


def test_aliases_lead_there_and_back() -> None:
    for target in TARGETS:
        for platform in target.platforms:
            assert parse_platform(platform.name) == platform
            names = (*platform.variant.debian, *platform.variant.uname, *platform.variant.other)
            for name in names:
                assert parse_platform(name) == platform, name
        assert parse_platform(target.name).target == target
    for alias, platform in platforms_by_alias().items():
        assert parse_platform(alias) == platform


def test_uname_names_the_native_target() -> None:
    for machine, name in {
        "x86_64": "x86_64", "i686": "i386", "aarch64": "aarch64", "armv7l": "arm",
        "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64", "loongarch64": "loongarch64",
    }.items():  # fmt: skip
        target = target_of_machine(machine)
        assert target is not None
        assert target.name == name
    assert target_of_machine("pdp11") is None


def test_an_unknown_platform_suggests_the_nearest() -> None:
    with pytest.raises(UsageProblem, match="linux/amr64") as caught:
        parse_platform("linux/amr64")
    assert "did you mean linux/arm64?" in caught.value.hint
    assert caught.value.exit_code is ExitCode.USAGE


def test_container_platforms_hold_no_cpu_levels() -> None:
    names = [platform.name for platform in container_platforms()]
    assert "linux/amd64" in names
    assert "linux/amd64/v3" not in names
    assert len(names) == len(set(names))
