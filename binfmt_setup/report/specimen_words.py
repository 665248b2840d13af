"""What a file is, in words."""

from __future__ import annotations

from binfmt_setup.explain.abi import abi_words, machine_words, osabi_words, type_words
from binfmt_setup.explain.advice import format_words

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.explain.specimen import Specimen


_PROGRAMS = (2, 3)  # ET_EXEC and ET_DYN
_OTHER_SYSTEMS = (2, 6, 8, 9, 12)  # EI_OSABI of NetBSD, Solaris, IRIX, FreeBSD, OpenBSD
_HEADER_FIELDS = (
    (4, "EI_MAG"), (5, "EI_CLASS"), (6, "EI_DATA"), (7, "EI_VERSION"), (8, "EI_OSABI"),
    (9, "EI_ABIVERSION"), (16, "EI_PAD"), (18, "e_type"), (20, "e_machine"), (24, "e_version"),
)  # fmt: skip


def described(found: Specimen) -> Iterator[str]:
    """What a file is."""
    if found.kind != "file":
        yield {"link-loop": "a link that leads to itself", "fifo": "a named pipe"}.get(
            found.kind, f"a {found.kind}" if found.kind != "missing" else "is not there"
        )
        return
    if found.script is not None:
        words = f"a script for {found.script.interpreter} {found.script.argument}"
        yield words.rstrip(" ")
        return
    elf = found.elf
    if elf is None:
        yield format_words(found)
        return
    details = found.details
    loader = bool(found.loader)
    yield (
        f"ELF {elf.bits}-bit {elf.order}-endian {type_words(elf, loader=loader)} for "
        f"{machine_words(elf.machine)}, {osabi_words(elf.osabi)}"
    )
    attributes = [f"{name} {value}" for name, value in details.attributes] if details else []
    words = ", ".join([*abi_words(elf), *attributes])
    if words:
        yield f"ABI: {words} (flags {elf.flags:#x})"
    if details and details.problem:
        yield f"not all of it could be read: {details.problem}"
    elif found.loading and elf.elf_type in _PROGRAMS and found.loading.loader is None:
        yield "statically linked: it wants no loader"
    if elf.osabi in _OTHER_SYSTEMS:
        yield "made for another system than Linux: neither kernel nor QEMU looks at that"


def field_name(at: int, wide: bool) -> str:  # noqa: FBT001 - a class is 32 or 64
    """The ELF header's name for one of its bytes (elf(5))."""
    for end, name in _HEADER_FIELDS:
        if at < end:
            return name
    flags = 48 if wide else 36
    return "e_flags" if flags <= at < flags + 4 else "behind e_version"
