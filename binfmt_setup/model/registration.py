"""One binfmt_misc registration in its three spellings, and how the kernel matches it.

The spellings are the line written to `register` (and kept in binfmt.d files) and the text
read back from an entry's file. Source: fs/binfmt_misc.c (`create_entry`,
`entry_status`, `search_binfmt_handler`) and Documentation/admin-guide/binfmt-misc.rst.
"""

from __future__ import annotations

from binfmt_setup.model.elf import bytes_match
from binfmt_setup.model.records import Record, replace

_MACHINE = slice(18, 20)
"""Where e_machine lies in an ELF header (elf(5))."""
MAX_LINE = 1920
"""The kernel's limit for one register line, in bytes."""
MAX_WINDOW = 256
"""Offset and magic must end within the first 256 bytes of a program."""
MAX_NAME = 255
FLAG_ORDER = "POCF"
_DELIMITERS = ":|,;!~^@+=\x01"  # the first that no field holds; paths may hold colons
_RESERVED_NAMES = frozenset({"", ".", "..", "register", "status"})


class BadRegistration(ValueError):
    """A line or an entry's text that is no registration; the words say what is wrong."""


class Registration(Record):
    """What an entry is registered with: which programs, which interpreter, how.

    Exactly one of `magic` and `extension` is set. `flags` are in the kernel's order POCF.
    With `off` it is disabled then: what stood so comes back so.
    """

    name: str
    interpreter: str
    flags: str = ""
    magic: bytes = b""
    mask: bytes = b""
    offset: int = 0
    extension: str = ""
    off: bool = False

    @property
    def line(self) -> str:
        r"""The text for `register` and for binfmt.d files.

        Bytes are written as `\xNN`: raw NUL bytes would be accepted and cut the magic
        short, and OpenRC's shell leaves only this escape alone.
        """
        if self.extension:
            what = ["E", "", self.extension, ""]
        else:
            what = ["M", str(self.offset or ""), _escaped(self.magic), _escaped(self.mask)]
        fields = [self.name, *what, self.interpreter, self.flags]
        delimiter = next(c for c in _DELIMITERS if not any(c in text for text in fields))
        return "".join(delimiter + text for text in fields)

    @property
    def pattern(self) -> tuple[int, bytes, bytes, str]:
        """What the entry matches, comparable: two spellings of one pattern are equal.

        Bits of the magic outside the mask and a tail that is not looked at do not count.
        """
        mask = self.mask or b"\xff" * len(self.magic)
        looked_at = bytes(a & b for a, b in zip(self.magic, mask, strict=True))
        length = len(mask.rstrip(b"\0"))
        return self.offset, looked_at[:length], mask[:length], self.extension

    def says_the_same(self, other: Registration) -> bool:
        """Whether both make the same entry, however their bytes are written."""
        mine = (self.name, self.interpreter, self.flags, self.pattern)
        return mine == (other.name, other.interpreter, other.flags, other.pattern)

    def matches(self, header: bytes, name: str = "") -> bool:
        """Whether the kernel would pick this registration for a program with this start.

        An extension is what follows the last dot of the whole path.
        """
        if self.extension:
            return "." in name and name.rpartition(".")[2] == self.extension
        return bytes_match(header[self.offset :], self.magic, self.mask)

    def takes_any(self, headers: tuple[bytes, ...]) -> bool:
        """The same of any of these, which begin programs of one machine.

        That is looked at first: there may be thousands of entries, and most are for another one.
        """
        if not self.offset and len(self.magic) >= _MACHINE.stop:
            mask = self.mask[_MACHINE] or b"\xff\xff"
            if not bytes_match(headers[0][_MACHINE], self.magic[_MACHINE], mask):
                return False
        return any(self.matches(header) for header in headers)


class Entry(Record):
    """An entry as the kernel shows it.

    `unknown` keeps lines of newer kernels that this version cannot read.
    """

    registration: Registration
    enabled: bool
    unknown: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The entry's name, which is also its file's name."""
        return self.registration.name

    @property
    def standing(self) -> Registration:
        """What brings it back as it stands, enabled or not."""
        return self.registration if self.enabled else replace(self.registration, off=True)

    @property
    def flags(self) -> str:
        """The flags in the kernel's order."""
        return self.registration.flags

    @property
    def interpreter(self) -> str:
        """The path the entry was registered with; what F pinned may be older."""
        return self.registration.interpreter


def control_characters(text: str) -> str:
    """The first control characters of a text, and what else ends a line somewhere; or none."""
    if text.isprintable():
        return ""
    import re

    found = re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]+", text)
    return found[0] if found else ""


def canonical_flags(flags: str) -> str:
    """Flags as the kernel reads them back: in its order, C together with the O it implies."""
    present = set(flags) | ({"O"} if "C" in flags else set())
    known = "".join(flag for flag in FLAG_ORDER if flag in present)
    return known + "".join(sorted(present - set(FLAG_ORDER)))


def parse_line(line: str) -> Registration:
    """Read one register line or raise BadRegistration.

    As strict as the kernel's `create_entry`, so that a line accepted here is accepted there.
    """
    text = line.removesuffix("\n")
    if "\0" in text:
        raise BadRegistration("holds a NUL byte, at which the kernel would stop")
    if len(text) < 2:
        raise BadRegistration("too short for a registration")
    if len(text.encode("utf-8", "surrogateescape")) >= MAX_LINE:
        raise BadRegistration(f"longer than {MAX_LINE - 1} bytes")
    fields = text[1:].split(text[0])
    if len(fields) != 7:
        raise BadRegistration(f"{len(fields)} fields where 7 are needed")
    name, kind, offset, magic, mask, interpreter, flags = fields
    _check_name(name)
    if not interpreter:
        raise BadRegistration("no interpreter")
    if set(flags) - set(FLAG_ORDER):
        raise BadRegistration(f"unknown flags {flags!r}")
    flags = canonical_flags(flags)
    if kind == "E":
        return _by_extension(name, magic, interpreter, flags)
    if kind != "M":
        raise BadRegistration(f"type {kind!r} is neither M nor E")
    return _by_magic(name, offset, (magic, mask), interpreter, flags)


def _check_name(name: str) -> None:
    if name in _RESERVED_NAMES or "/" in name:
        raise BadRegistration(f"{name!r} cannot be an entry's name")
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME:
        raise BadRegistration(f"a name of more than {MAX_NAME} bytes")


def _by_extension(name: str, extension: str, interpreter: str, flags: str) -> Registration:
    if not extension or "/" in extension:
        raise BadRegistration(f"{extension!r} cannot be an extension")
    return Registration(name, interpreter, flags, extension=extension)


def _by_magic(
    name: str, offset: str, window: tuple[str, str], interpreter: str, flags: str
) -> Registration:
    magic, mask = (_unescaped(text) for text in window)
    digits = offset[1:] if offset[:1] in ("+", "-") else offset  # the kernel takes -0, too
    negative = offset.startswith("-") and digits.strip("0") != ""
    if offset and (negative or not (digits.isascii() and digits.isdecimal())):
        raise BadRegistration(f"offset {offset!a} is not a number")
    start = int(digits or 0)
    if not magic:
        raise BadRegistration("no magic")
    if mask and len(mask) != len(magic):
        raise BadRegistration(f"a mask of {len(mask)} bytes for a magic of {len(magic)}")
    if start + len(magic) > MAX_WINDOW:
        raise BadRegistration(f"looks beyond the first {MAX_WINDOW} bytes of a program")
    return Registration(name, interpreter, flags, magic=magic, mask=mask, offset=start)


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


_HEX = frozenset("0123456789abcdefABCDEF")


def _unescaped(text: str) -> bytes:
    """The bytes that the kernel's string_unescape(UNESCAPE_HEX) makes of a field."""
    count, digits = len(text) // 4, text.replace("\\x", "")
    as_all_write = text[::4] == "\\" * count and text[1::4] == "x" * count
    if as_all_write and len(digits) == 2 * count and _HEX.issuperset(digits):
        return bytes.fromhex(digits)
    if any(len(pair) < 2 or not _HEX.issuperset(pair[:2]) for pair in text.split("\\x")[1:]):
        raise BadRegistration("has \\x without two hexadecimal digits")
    raw, made, at = text.encode("utf-8", "surrogateescape"), bytearray(), 0
    while (found := raw.find(b"\\", at)) >= 0:
        made += raw[at:found]
        pair = raw[found + 2 : found + 4].decode("latin-1")
        hexadecimal = raw[found + 1 : found + 2] == b"x" and len(pair) == 2
        if hexadecimal and _HEX.issuperset(pair):
            made.append(int(pair, 16))
            at = found + 4
        else:
            made += raw[found : found + 2]
            at = found + 2
    return bytes(made + raw[at:])


def parse_entry(name: str, text: str) -> Entry:
    """Read what the kernel shows of an entry; raises BadRegistration for garbage.

    Tolerant of keys and flags that newer kernels may add.
    """
    lines = text.removesuffix("\n").split("\n")
    if lines[0] not in ("enabled", "disabled"):
        raise BadRegistration("starts with neither 'enabled' nor 'disabled'")
    known: dict[str, str] = {}
    unknown = []
    for line in lines[1:]:
        key, _, value = line.partition(" ")
        key = key.removesuffix(":")
        if key in ("interpreter", "flags", "offset", "magic", "mask", "extension"):
            known[key] = value
        else:
            unknown.append(line)
    return Entry(_from_keys(name, known), lines[0] == "enabled", tuple(unknown))


def _from_keys(name: str, known: dict[str, str]) -> Registration:
    try:
        magic = bytes.fromhex(known.get("magic", ""))
        mask = bytes.fromhex(known.get("mask", ""))
        offset = int(known.get("offset", "0") or 0)
    except ValueError as error:
        raise BadRegistration(str(error)) from error
    extension = known.get("extension", "").removeprefix(".")
    if not known.get("interpreter") or not (magic or extension):
        raise BadRegistration("has no interpreter, or neither magic nor extension")
    if mask and len(mask) != len(magic):
        raise BadRegistration(f"a mask of {len(mask)} bytes for a magic of {len(magic)}")
    flags = canonical_flags("".join(known.get("flags", "").split()))
    return Registration(name, known["interpreter"], flags, magic, mask, offset, extension)
