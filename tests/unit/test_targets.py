"""The table of targets against its oracles, and every alias in both directions."""

from __future__ import annotations

from pathlib import Path

import pytest

from binfmt_setup.model.errors import ExitCode, UsageProblem
from binfmt_setup.model.probe_headers import HEADERS
from binfmt_setup.model.registration import Registration, parse_line
from binfmt_setup.model.targets import (
    TARGETS,
    Target,
    container_platforms,
    parse_platform,
    platforms_by_alias,
    target_named,
    target_of_entry,
    target_of_machine,
)
from tests.own_namespace import PROBES

DATA = Path(__file__).parent / "data"
STOCK = DATA / "stock"
"""Where its rows come from is told beside them."""


def rows_of(release: str) -> list[Registration]:
    return [parse_line(line) for line in (STOCK / f"{release}.conf").read_text().splitlines()]


RELEASES = {"debian-11": 27, "debian-12": 29, "debian-13": 33, "forky": 33}
EVERY_STOCK_ROW = [(release, row) for release in RELEASES for row in rows_of(release)]
SCRIPT = [
    line.split()
    for line in (DATA / "qemu-binfmt-conf.txt").read_text().splitlines()
    if not line.startswith("#")
]

# Where a row of ours departs from the oracles: which bytes are looked at, and why.
PADDING = "EI_ABIVERSION and EI_PAD are free: no loader looks at them, AppImages write there"
FREED = range(8, 16)
# Debian's rows look at more than ours in these.
VERSION = "Debian 13 looks at e_version, which no loader does"
LOOKS_AT_VERSION = ("qemu-mips", "qemu-mipsel", "qemu-mipsn32", "qemu-mipsn32el")
OSABI_X86 = "Debian's rows for x86 take OSABI 0 to 3, QEMU's script and ours any"
TAKES_ANY_OSABI = ("qemu-i386", "qemu-x86_64")

# Rows that differ from QEMU's script beyond the padding, each with its reason; where Debian has
# a file for the target the row is Debian's (Debian generates it from a corrected copy of it).
OSABI = "any OSABI in the script, System V to GNU/Linux in Debian's and in ours"
N32 = "o32 and n32 differ in one bit of e_flags alone, which the script does not look at"
DIFFERS_FROM_SCRIPT = {
    "alpha": "the script leaves bits of EI_DATA and EI_VERSION free, for no known reason",
    "m68k": "the script leaves a bit of EI_VERSION free, for no known reason",
    "microblaze": "the script's mask has the free bit of e_type in the wrong byte",
    "mips": N32,
    "mipsel": N32,
    "mipsn32": N32,
    "mipsn32el": N32,
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
# No compiler for them builds a probe; docs/probes.md says which was tried.
NO_PROBE = {"cris", "microblaze", "microblazeel", "nios2", "xtensaeb"}


def differing_bytes(ours: Registration, theirs: Registration) -> set[int]:
    """Where two patterns look at different bits, or want something else."""
    width = max(len(ours.magic), len(theirs.magic))
    mine, other = (
        (rule.mask.ljust(width, b"\0"), rule.magic.ljust(width, b"\0")) for rule in (ours, theirs)
    )
    return {
        at
        for at in range(width)
        if mine[0][at] != other[0][at] or (mine[1][at] ^ other[1][at]) & mine[0][at]
    }


def row_of(target: Target) -> Registration:
    return Registration(target.entry_name, "x", "", target.magic, target.mask)


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_is_there_as_a_whole(release: str) -> None:
    assert len(rows_of(release)) == RELEASES[release]
    assert f"`{release}.conf`" in (STOCK / "README.md").read_text()


@pytest.mark.parametrize(("release", "theirs"), EVERY_STOCK_ROW, ids=str)
def test_row_is_debians_but_for_what_is_named(release: str, theirs: Registration) -> None:
    target = target_of_entry(theirs.name)
    assert target is not None
    assert target.entry_name == theirs.name
    named = set(FREED)
    if release in ("debian-13", "forky") and theirs.name in LOOKS_AT_VERSION:
        named |= {20, 21, 22, 23}
    if theirs.name in TAKES_ANY_OSABI:
        named.add(7)
    found = differing_bytes(row_of(target), theirs)
    assert found <= named
    assert found - set(FREED) == named - set(FREED)  # a difference that is gone is named no more


@pytest.mark.parametrize(("release", "theirs"), EVERY_STOCK_ROW, ids=str)
def test_debians_row_takes_the_probes_of_its_target_and_no_others(
    release: str, theirs: Registration
) -> None:
    target = target_of_entry(theirs.name)
    taken = {p for t in TARGETS for p in t.platforms if theirs.matches(p.header)}
    assert target is not None
    assert taken == set(target.platforms), release


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_row_takes_all_that_debians_takes(target: Target) -> None:
    """So that what ran by the distribution's entry runs by ours: tried bit by bit of the header."""
    theirs = [row for _, row in EVERY_STOCK_ROW if row.name == target.entry_name]
    ours = row_of(target)
    header = bytearray(target.header.ljust(40, b"\0"))
    for at in range(40):
        for bit in range(8):
            header[at] ^= 1 << bit
            if any(row.matches(bytes(header)) for row in theirs):
                assert ours.matches(bytes(header)), (at, bit)
            header[at] ^= 1 << bit


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_padding_is_free_and_the_machine_is_not(target: Target) -> None:
    """AppImages write `AI` and 2 from byte 8; a native program differs in its machine."""
    header = bytearray(target.header)
    header[8:11] = b"AI\x02"
    assert row_of(target).matches(bytes(header)), PADDING
    for other in TARGETS:
        header = bytearray(other.header)
        header[8:16] = b"AI\x02" + bytes(range(1, 6))
        assert row_of(target).matches(bytes(header)) == (other is target)


def test_headers_are_those_of_the_probes() -> None:
    """`scripts/build-probes` writes the table; what entries are asked about is what runs."""
    files = {path.name: path.read_bytes() for path in PROBES.iterdir() if path.stat().st_mode & 0o1}
    assert set(HEADERS) == set(files)
    for name, content in files.items():
        assert content.startswith(bytes.fromhex(HEADERS[name])), name
        assert len(HEADERS[name]) == 2 * (64 if content[4] == 2 else 52)


@pytest.mark.parametrize("target", [t for t in TARGETS if t.name in HEADERS], ids=lambda t: t.name)
def test_a_plain_header_is_like_the_probes(target: Target) -> None:
    """What targets without a probe are matched with says the same in all that entries look at."""
    seen = row_of(target).mask[:20] + b"\xff" * 4
    pairs = zip(target.plain_header[:24], target.header[:24], seen, strict=True)
    assert all((plain ^ real) & bits == 0 for plain, real, bits in pairs)


@pytest.mark.parametrize("row", SCRIPT, ids=lambda row: row[0])
def test_row_equals_qemus_script_or_the_difference_has_a_reason(row: list[str]) -> None:
    name, magic, mask = row
    theirs = Registration("x", "x", "", bytes.fromhex(magic), bytes.fromhex(mask))
    differs = differing_bytes(row_of(target_named(name)), theirs) - set(FREED)
    assert bool(differs) == (name in DIFFERS_FROM_SCRIPT)


def test_every_row_has_an_oracle_or_is_named_as_having_none() -> None:
    seen = {r.name.removeprefix("qemu-") for _, r in EVERY_STOCK_ROW} | {row[0] for row in SCRIPT}
    assert {target.name for target in TARGETS} - seen == NO_ORACLE


def test_every_platform_has_a_probe_or_is_named_as_having_none() -> None:
    probes = {path.name for path in PROBES.iterdir()}
    without = {t.name for t in TARGETS for p in t.platforms if p.probe not in probes}
    assert without == NO_PROBE


def test_installed_debian_files_are_among_the_recorded_ones() -> None:
    """Where this machine has Debian's files they must not have moved away from the table."""
    recorded = {row.pattern for _, row in EVERY_STOCK_ROW}
    for path in sorted(Path("/usr/lib/binfmt.d").glob("qemu-*.conf")):
        assert parse_line(path.read_text()).pattern in recorded, path


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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("arm46", "did you mean linux/arm"), ("aarhc64", "did you mean linux/arm64?"),
        ("s390", "did you mean linux/s390x?"), ("WSLInterop", "container platforms are"),
        ("linux/foo", "container platforms are"), ("linux/arn64", "did you mean linux/arm64?"),
        ("python3.11", "container platforms are"), ("rosetta", "container platforms are"),
        ("windows/amd64", "use Wine"), ("darwin/arm64", "on a Mac"),
        ("freebsd/amd64", "a virtual machine"),
    ],
)  # fmt: skip
def test_only_what_is_near_is_suggested(name: str, hint: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_platform(name)
    assert hint in caught.value.hint
    assert name in caught.value.message


def test_platforms_of_other_systems_are_told_apart() -> None:
    with pytest.raises(UsageProblem, match="a platform of Windows"):
        parse_platform("windows/amd64")
    with pytest.raises(UsageProblem, match="a platform of macOS"):
        parse_platform("darwin/arm64")


def test_container_platforms_hold_no_cpu_levels() -> None:
    names = [platform.name for platform in container_platforms()]
    assert "linux/amd64" in names
    assert "linux/amd64/v3" not in names
    assert len(names) == len(set(names))
