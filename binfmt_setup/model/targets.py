"""The one table of targets: every name, alias, magic and mask derives from a row of it.

A *target* is what QEMU user mode emulates (`aarch64`); a *platform* is what containers
say (`linux/arm64`). The ELF numbers come from the kernel's include/uapi/linux/elf-em.h;
the rules of the masks follow QEMU's scripts/qemu-binfmt-conf.sh and the files that
Debian generates from it, against which the tests compare every row.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

from binfmt_setup.model.errors import UsageProblem
from binfmt_setup.model.probe_headers import HEADERS
from binfmt_setup.model.records import Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    ByteOrder = Literal["little", "big"]


ENTRY_PREFIX = "qemu-"
"""Entries are named `qemu-TARGET`, as QEMU's script and every distribution name them."""

_ELF_VERSION = 1
_ET_EXEC, _ET_DYN = 2, 3
_ET_EXEC_OR_DYN = 0xFFFE  # ET_EXEC is 2 and ET_DYN 3: they differ in the last bit alone
_E_FLAGS_OFFSET_32 = 36
_OSABI_ANY = 0x00
_OSABI_0_TO_3 = 0xFC  # System V (0) to GNU/Linux (3), which static glibc programs carry
_MIPS_ABI2 = 0x20  # the e_flags bit that tells n32 from o32


class Variant(Record):
    """One platform of a target: most targets have one, arm has v5, v6 and v7."""

    suffix: str = ""
    probe: str = ""
    debian: tuple[str, ...] = ()
    uname: tuple[str, ...] = ()
    other: tuple[str, ...] = ()


class Target(Record):
    """One CPU that QEMU user mode emulates, with the ELF facts that identify its programs.

    `goarch` is the architecture's name in an OCI platform. `runs_also` names targets
    whose programs a host of this target may run by itself; only a probe can tell.
    The `*_mask` fields and `flags` say where the row departs from the plain rule.
    """

    name: str
    machine: int
    bits: Literal[32, 64]
    order: ByteOrder
    goarch: str
    variants: tuple[Variant, ...]
    container: bool = False
    runs_also: tuple[str, ...] = ()
    osabi_mask: int = _OSABI_ANY
    ident_mask: int = 0xFF
    machine_mask: int = 0xFFFF
    flags: tuple[int, int] | None = None

    @property
    def entry_name(self) -> str:
        """The name of this target's binfmt_misc entry."""
        return ENTRY_PREFIX + self.name

    def runs(self, other: Target | None) -> bool:
        """Whether a host of this target may run programs of the other: its own, or a relative's."""
        return other is not None and (other == self or other.name in self.runs_also)

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that this target's entry serves."""
        return tuple(Platform(self, variant) for variant in self.variants)

    @cached_property
    def magic(self) -> bytes:
        """The bytes a program of this target starts with, where `mask` looks."""
        elf_class = self.bits // 32
        data = 1 if self.order == "little" else 2
        ident = b"\x7fELF" + bytes([elf_class, data, _ELF_VERSION]) + bytes(9)
        return ident + self._half(_ET_EXEC) + self._half(self.machine) + self._flags_field(0)

    @cached_property
    def mask(self) -> bytes:
        """Which bits of the magic count.

        The OSABI byte is free (static glibc writes 3, dynamic programs 0), the last bit
        of e_type is (position-independent programs are ET_DYN), and the ABI version and the
        padding are, which no loader looks at and AppImages write into (docs/decisions/12).
        """
        ident = b"\xff" * 5 + bytes([self.ident_mask, self.ident_mask, self.osabi_mask])
        ident += bytes(8)
        fields = self._half(_ET_EXEC_OR_DYN) + self._half(self.machine_mask)
        return ident + fields + self._flags_field(1)

    @cached_property
    def header(self) -> bytes:
        """The first bytes of a program of this target, as entries are asked about one."""
        return self.platforms[0].header

    @cached_property
    def headers(self) -> tuple[bytes, ...]:
        """That first, then the same of all its programs: for any address (PIE), by GNU or not."""
        starts = (self.header[:7] + osabi + self.header[8:16] for osabi in (b"\0", b"\3"))
        kinds = tuple(self._half(kind) + self.header[18:] for kind in (_ET_EXEC, _ET_DYN))
        every = (start + kind for start in starts for kind in kinds)
        return tuple(dict.fromkeys((self.header, *every)))

    @property
    def plain_header(self) -> bytes:
        """What a program of this target begins with when nothing more is known of it."""
        version = _ELF_VERSION.to_bytes(4, self.order)
        return self.magic[:20] + version + self.magic[24:]

    def _half(self, value: int) -> bytes:
        return value.to_bytes(2, self.order)

    def _flags_field(self, which: int) -> bytes:
        """Bytes 20 to the last byte of e_flags that is looked at; empty for most targets."""
        if self.flags is None:
            return b""
        length = len(self.flags[1].to_bytes(4, self.order).rstrip(b"\0"))
        return bytes(_E_FLAGS_OFFSET_32 - 20) + self.flags[which].to_bytes(4, self.order)[:length]


class Platform(Record):
    """A target together with the variant that a container platform names."""

    target: Target
    variant: Variant

    @property
    def name(self) -> str:
        """The OCI name: `linux/arm64`, `linux/arm/v7`."""
        parts = ["linux", self.target.goarch, self.variant.suffix]
        return "/".join(part for part in parts if part)

    @property
    def probe(self) -> str:
        """The file name of the probe that proves this platform."""
        return self.variant.probe or self.target.name

    @property
    def header(self) -> bytes:
        """The first bytes of its probe: whether an entry takes that is what the kernel decides."""
        known = HEADERS.get(self.probe, "")
        return bytes.fromhex(known) if known else self.target.plain_header

    def __str__(self) -> str:
        return self.name


def _one(
    debian: str = "", uname: str = "", other: str = "", *, suffix: str = "", probe: str = ""
) -> tuple[Variant, ...]:
    """The only variant of a target, its aliases given as words."""
    return (_variant(suffix, probe, debian, uname, other),)


def _variant(suffix: str, probe: str, debian: str, uname: str, other: str = "") -> Variant:
    return Variant(suffix, probe, tuple(debian.split()), tuple(uname.split()), tuple(other.split()))


_ARM = (
    _variant("v5", "arm-v5", "armel", "armv5tel armv5tejl armv5l", "arm32v5"),
    _variant("v6", "arm-v6", "", "armv6l armv6", "arm32v6"),
    _variant("v7", "arm-v7", "armhf", "armv7l armv7 armv7hl armv8l", "arm32v7 arm arm/v8"),
)
_X86_64 = (
    _variant("", "", "amd64", "x86_64", "x86-64 amd64/v1"),
    *(_variant(v, f"x86_64-{v}", "", "", f"x86-64-{v}") for v in ("v2", "v3", "v4")),
)
_I386 = _one("i386", "i686 i586 i486", "x86")

# x86 masks leave a bit of EI_DATA and EI_VERSION free; the reason is lost, but every tool
# has registered it so since 2003 and equality with them is worth more than tidiness.
_X86_IDENT = 0xFE

TARGETS: tuple[Target, ...] = (
    Target(
        "aarch64", 183, 64, "little", "arm64", _one("arm64", "aarch64", "arm64/v8 arm64v8"),
        container=True, runs_also=("arm",),
    ),
    Target("aarch64_be", 183, 64, "big", "arm64be", _one("", "aarch64_be")),
    Target("alpha", 0x9026, 64, "little", "alpha", _one("alpha", "alpha")),
    Target("arm", 40, 32, "little", "arm", _ARM, container=True),
    Target("armeb", 40, 32, "big", "armbe", _one("armeb", "armv7b armv5teb")),
    Target("cris", 76, 32, "little", "cris", _one("", "cris")),
    Target("hexagon", 164, 32, "little", "hexagon", _one("", "hexagon")),
    Target("hppa", 15, 32, "big", "hppa", _one("hppa", "parisc parisc64")),
    Target(
        "i386", 3, 32, "little", "386", _I386,
        container=True, ident_mask=_X86_IDENT,
    ),
    Target(
        "loongarch64", 258, 64, "little", "loong64", _one("loong64", "loongarch64"),
        container=True, osabi_mask=_OSABI_0_TO_3,
    ),
    Target("m68k", 4, 32, "big", "m68k", _one("m68k", "m68k")),
    # 0xbaab is what tools wrote before 189 was assigned; QEMU runs both, the script and
    # Debian register this one.
    Target("microblaze", 0xBAAB, 32, "big", "microblaze", _one("", "microblaze")),
    Target("microblazeel", 0xBAAB, 32, "little", "microblazeel", _one("", "")),
    Target(
        "mips", 8, 32, "big", "mips", _one("mips", "mips"),
        flags=(0, _MIPS_ABI2),
    ),
    Target(
        "mipsel", 8, 32, "little", "mipsle", _one("mipsel", ""),
        flags=(0, _MIPS_ABI2),
    ),
    Target(
        "mips64", 8, 64, "big", "mips64", _one("mips64", "mips64"),
        runs_also=("mips", "mipsn32"),
    ),
    Target(
        "mips64el", 8, 64, "little", "mips64le", _one("mips64el", ""),
        container=True, runs_also=("mipsel", "mipsn32el"),
    ),
    Target(
        "mipsn32", 8, 32, "big", "mips64p32", _one("mipsn32", ""),
        flags=(_MIPS_ABI2, _MIPS_ABI2),
    ),
    Target(
        "mipsn32el", 8, 32, "little", "mips64p32le", _one("mipsn32el", ""),
        flags=(_MIPS_ABI2, _MIPS_ABI2),
    ),
    Target("nios2", 113, 32, "little", "nios2", _one("nios2", "nios2")),
    Target("or1k", 92, 32, "big", "or1k", _one("or1k", "openrisc")),
    Target("ppc", 20, 32, "big", "ppc", _one("powerpc", "ppc"), osabi_mask=_OSABI_0_TO_3),
    Target(
        "ppc64", 21, 64, "big", "ppc64", _one("ppc64", "ppc64"),
        runs_also=("ppc",), osabi_mask=_OSABI_0_TO_3,
    ),
    Target(
        # The high byte of e_machine is free; EM_PPC64 is 21, so it is always zero.
        "ppc64le", 21, 64, "little", "ppc64le", _one("ppc64el", "ppc64le"),
        container=True, osabi_mask=_OSABI_0_TO_3, machine_mask=0x00FF,
    ),
    Target("riscv32", 243, 32, "little", "riscv", _one("", "riscv32")),
    Target(
        "riscv64", 243, 64, "little", "riscv64", _one("riscv64", "riscv64"),
        container=True, runs_also=("riscv32",),
    ),
    Target(
        "s390x", 22, 64, "big", "s390x", _one("s390x", "s390x"),
        container=True, osabi_mask=_OSABI_0_TO_3,
    ),
    Target("sh4", 42, 32, "little", "sh4", _one("sh4", "sh4 sh4a"), osabi_mask=_OSABI_0_TO_3),
    Target("sh4eb", 42, 32, "big", "sh4eb", _one("", ""), osabi_mask=_OSABI_0_TO_3),
    Target("sparc", 2, 32, "big", "sparc", _one("sparc", "sparc"), osabi_mask=_OSABI_0_TO_3),
    Target(
        "sparc32plus", 18, 32, "big", "sparc32plus", _one("", ""),
        osabi_mask=_OSABI_0_TO_3,
    ),
    Target(
        "sparc64", 43, 64, "big", "sparc64", _one("sparc64", "sparc64"),
        runs_also=("sparc", "sparc32plus"), osabi_mask=_OSABI_0_TO_3,
    ),
    Target(
        "x86_64", 62, 64, "little", "amd64", _X86_64,
        container=True, runs_also=("i386",), ident_mask=_X86_IDENT,
    ),
    Target("xtensa", 94, 32, "little", "xtensa", _one("", "xtensa")),
    Target("xtensaeb", 94, 32, "big", "xtensaeb", _one("", "")),
)  # fmt: skip

X86_LEVELS: dict[str, frozenset[str]] = {
    "v2": frozenset(("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")),
    "v3": frozenset(("abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave")),
    "v4": frozenset(("avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl")),
}
"""CPU flags, in the spelling of /proc/cpuinfo, that each x86-64 level adds to the one below."""


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Target]:
    return {target.name: target for target in TARGETS}


def target_named(name: str) -> Target:
    """The row of one QEMU target name; KeyError when there is none."""
    return _by_name()[name]


def target_of_entry(entry_name: str) -> Target | None:
    """The target that an entry of this name belongs to, by the name alone."""
    if not entry_name.startswith(ENTRY_PREFIX):
        return None
    return _by_name().get(entry_name[len(ENTRY_PREFIX) :].removesuffix("-static"))


@lru_cache
def target_of_machine(uname_machine: str) -> Target | None:
    """The target whose programs a kernel with this `uname -m` runs natively."""
    for target in TARGETS:
        names = [name for variant in target.variants for name in variant.uname]
        if uname_machine == target.name or uname_machine in names:
            return target
    return None


def container_platforms() -> tuple[Platform, ...]:
    """What is meant when no platform is named: those that container images come for."""
    rows = (target for target in TARGETS if target.container)
    return tuple(p for t in rows for p in t.platforms if p.variant.suffix not in X86_LEVELS)


def targets_of(platforms: Sequence[Platform]) -> list[Target]:
    """The targets of these platforms, each once."""
    return list(dict.fromkeys(platform.target for platform in platforms))


def _spellings(platform: Platform) -> Iterator[str]:
    """Every name that leads to this platform, the most specific first."""
    variant = platform.variant
    own = [f"{platform.target.goarch}/{variant.suffix}"] if variant.suffix else []
    if not variant.suffix or len(platform.target.variants) == 1:
        own.append(platform.target.goarch)
    names = [*own, *variant.debian, *variant.uname, *variant.other]
    if not variant.suffix:
        names.append(platform.target.name)
    for name in names:
        yield name
        yield f"linux/{name}"


@lru_cache(maxsize=1)
def platforms_by_alias() -> dict[str, Platform]:
    """Every accepted spelling; where two platforms share one, the first row has it."""
    found: dict[str, Platform] = {}
    for target in TARGETS:
        for platform in target.platforms:
            for name in _spellings(platform):
                found.setdefault(name, platform)
        # The name of its entry, which `status` shows, means what the target's own name means.
        if target.name in found:
            found.setdefault(target.entry_name, found[target.name])
    return found


_OTHER_SYSTEMS = {
    "windows": "Windows", "darwin": "macOS", "freebsd": "FreeBSD", "openbsd": "OpenBSD",
    "netbsd": "NetBSD", "android": "Android", "ios": "iOS", "js": "JavaScript",
    "wasip1": "WebAssembly", "wasi": "WebAssembly", "plan9": "Plan 9", "solaris": "Solaris",
    "illumos": "illumos", "aix": "AIX", "dragonfly": "DragonFly BSD",
}  # fmt: skip
"""What else an OCI platform may begin with."""
_RUN_BY = {"windows": "use Wine or a virtual machine", "darwin": "build for it on a Mac"}
_CLOSE = 0.72
"""How like a known name a word is that is taken for a slip of the pen (difflib's ratio)."""


def parse_platform(text: str) -> Platform:
    """The platform that any usual spelling names.

    Raises UsageProblem, which suggests the nearest spelling, for an unknown one.
    """
    known = platforms_by_alias()
    wanted = text.strip().lower()
    if wanted in known:
        return known[wanted]
    system, slash, _ = wanted.partition("/")
    if slash and system in _OTHER_SYSTEMS:
        raise UsageProblem(
            f"{text!r} is a platform of {_OTHER_SYSTEMS[system]}; QEMU's user mode runs programs "
            "of Linux alone",
            hint=f"{_RUN_BY.get(system, 'use a virtual machine')}; names here begin with linux/",
        )
    import difflib

    # Without what all names begin with: that much alike is nothing.
    short = {alias.removeprefix("linux/"): alias for alias in known}
    near = difflib.get_close_matches(wanted.removeprefix("linux/"), short, n=1, cutoff=_CLOSE)
    names = ", ".join(platform.name for platform in container_platforms())
    hint = f"container platforms are {names}"
    if near:
        hint = f"did you mean {known[short[near[0]]].name}?"
    raise UsageProblem(
        f"unknown platform {text!r}", hint=f"{hint} (QEMU target names and 'all' work too)"
    )
