"""Real files of each kind in the table of docs/explain.md, to be executed and to be explained.

Most are made from probes by changing what some loader looks at, or nobody does. `registrations`
are the entries that have to be there: every target has one of the ways in which an entry can be
right or wrong.
"""

from __future__ import annotations

import os
import random
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from binfmt_setup.model.registration import Registration
from binfmt_setup.model.targets import TARGETS, target_named
from tests.own_namespace import PROBES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEED = 20261126
_PT_LOAD, _PT_INTERP = 1, 3
GOOD = (
    "aarch64", "aarch64_be", "armeb", "hexagon", "mips64", "mips64el", "mipsel", "mipsn32",
    "mipsn32el", "riscv64", "s390x", "sh4eb", "sparc",
)  # fmt: skip
"""Targets whose entry is right; the others' are each wrong in a way of their own."""


@dataclass(frozen=True)
class Sample:
    """One file: its kind, a word on what is particular, and where it lies."""

    kind: str
    about: str
    path: str


class Maker:
    """Makes files below a folder, with the emulators of this machine."""

    def __init__(self, folder: Path, emulators: Path, *, full: bool) -> None:
        self.folder, self.emulators, self.full = folder, emulators, full
        self.chance = random.Random(SEED)  # noqa: S311 - the same files in every run
        self.made: list[Sample] = []
        self.disabled: list[str] = []

    def add(self, kind: str, about: str, content: bytes, mode: int = 0o755, end: str = "") -> str:
        """Write one file."""
        path = self.folder / f"{len(self.made)}{end}"
        path.write_bytes(content)
        path.chmod(mode)
        self.made.append(Sample(kind, about, str(path)))
        return str(path)

    def put(self, name: str, content: bytes, mode: int = 0o755) -> str:
        """Write a file that others need, and that is none of the samples."""
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)
        return str(path)

    def qemu(self, target: str) -> str:
        return str(self.emulators / f"qemu-{target}-static")

    # -- entries -----------------------------------------------------------------------

    def registrations(self) -> Iterator[Registration]:
        """All entries, oldest first."""
        for name in GOOD:
            yield self._entry(name, self.qemu(name), "OF")
        yield self._entry("sh4", self.qemu("sh4"), "")
        yield self._entry("ppc", "/nowhere/qemu", "")
        yield self._entry("or1k", self.put("crash-too", crashing(_probe("x86_64"))), "")
        yield self._entry("mips", self.qemu("mipsn32"), "OF")
        yield self._entry("arm", self.put("crash", crashing(_probe("x86_64"))), "F")
        wrapper = f'#!/bin/sh\nexec {self.qemu("ppc64le")} "$@"\n'.encode()
        yield self._entry("ppc64le", self.put("wrapper", wrapper), "F")
        yield self._entry("sparc64", self.put("wrapper-o", wrapper), "OF")
        yield self._entry("alpha", "/bin/true", "F")
        foreign = self.put("foreign", crashing(_probe("aarch64")))  # it crashes
        yield self._entry("ppc64", foreign, "F")
        yield self._entry("riscv32", foreign, "OF")
        yield self._entry("hppa", self.qemu("hppa"), "F")
        self.disabled.append("qemu-hppa")
        yield Registration("jar", "/bin/true", "", extension="jar")
        yield Registration("magic", "/bin/true", "F", magic=b"MAGIC", offset=3)

    def _entry(self, target: str, interpreter: str, flags: str) -> Registration:
        row = target_named(target)
        return Registration(row.entry_name, interpreter, flags, row.magic, row.mask)

    # -- files -------------------------------------------------------------------------

    def samples(self) -> list[Sample]:
        """Every file, once."""
        self._native_programs()
        self._native_refused()
        self._native_segments()
        self._native_loaders()
        self._nowhere_to_start()
        self._foreign_programs()
        self._foreign_segments()
        self._odd_entries()
        self._no_entry()
        self._scripts()
        self._env()
        self._no_programs()
        self._not_executable()
        self._by_name_and_place()
        return self.made

    def _native_programs(self) -> None:
        """What the kernel's loaders look at not at all may be anything."""
        values = (0, 1, 2, 3, 0x7F, 0xFF) if self.full else (0, 2, 0xFF)
        for name in ("x86_64", "i386"):
            probe = _probe(name)
            self.add("a program of this machine", name, probe)
            for at in [*range(4, 16), *_unseen(probe)]:
                for value in values:
                    changed = bytearray(probe)
                    changed[at] = value
                    what = f"{name}, byte {at} is {value:#x}"
                    self.add("a program of this machine", what, bytes(changed))

    def _native_refused(self) -> None:
        for name in ("x86_64", "i386"):
            probe = _probe(name)
            wide = probe[4] == 2
            row, number = (54, 56) if wide else (42, 44)
            for kind in (0, 1, 4, 5, 0xFE00, 0xFF00, 0xFFFF):
                changed = _with(probe, 16, "<H", kind)
                self.add("an ELF file that is no program", f"{name}, e_type {kind:#x}", changed)
            for size in (0, 1, 31, 33, 55, 57, 0xFFFF):
                changed = _with(probe, row, "<H", size)
                self.add("headers that no loader takes", f"{name}, e_phentsize {size}", changed)
            for count in (0, 2049, 0xFFFF):
                changed = _with(probe, number, "<H", count)
                self.add("headers that no loader takes", f"{name}, e_phnum {count}", changed)
            end = (64 + 2 * 56) if wide else (52 + 2 * 32)
            for size in range(4, end, 4 if self.full else 11):
                self.add("cut off within its headers", f"{name}, {size} bytes", probe[:size])

    def _native_segments(self) -> None:
        """What the kernel finds wrong when there is no way back, and what it does not mind."""
        for name in ("x86_64", "i386"):
            probe = _probe(name)
            for kind, number in (("an i486's", 6), ("again", 3)) if name == "i386" else ():
                changed = _with(probe, 18, "<H", number)
                self.add("a program of this machine", f"{name}, {kind}", changed)
            for kind, about, changed in segments(probe):
                self.add(kind, f"{name}, {about}", changed)

    def _foreign_segments(self) -> None:
        """The same of what QEMU loads, which takes more."""
        refused, good = "a foreign program that its emulator refuses", "a foreign program"
        for name in GOOD:
            probe = _probe(name)
            size = len(probe)
            cases = (
                (good, "more in the file than in memory", {"memory": 1}),
                (refused, "zeros where nothing may be written", {"memory": size + 5000}),
                (refused, "not to be executed", {"flags": 4}), (refused, "no rights", {"flags": 0}),
                (refused, "another place within a page", {"offset": 1}),
                (refused, "all memory there is", {"memory": 0xFFFFF000, "flags": 7}),
            )  # fmt: skip
            for kind, about, fields in cases:
                self.add(kind, f"{name}, {about}", _with_segment(probe, **fields))

    def _native_loaders(self) -> None:
        probe, kind = _probe("x86_64"), "a program of this machine and its loader"
        cases = {
            "there": self.put("loader", probe),
            "missing": "/nowhere/ld.so",
            "through a file": "/bin/true/ld.so",
            "a directory": "/usr",
            "not executable": self.put("loader-mode", probe, 0o644),
            "text": self.put("loader-text", b"text\n" * 40),
            "too short": self.put("loader-short", probe[:40]),
            "foreign": self.put("loader-foreign", _probe("aarch64")),
            "cut off": self.put("loader-cut", probe[:100]),
            "itself in a loop": str(self.folder / "loader-loop"),
            "nothing to load": self.put("loader-none", _with(probe, 64, "<I", 6)),
            "an object file": self.put("loader-type", _with(probe, 16, "<H", 1)),
            "a segment beyond all": self.put("loader-far", _with_segment(probe, address=-4096)),
            "a loader's name of its own": self.put("loader-named", _interpreted(probe, b"x")),
            "a place that no file has": self.put("loader-off", _with_segment(probe, offset=-4096)),
            "of no name": "\0",
        }
        (self.folder / "loader-loop").symlink_to("loader-loop")
        for about, path in cases.items():
            self.add(kind, about, _interpreted(probe, path.encode() + b"\0"))
        self.add(kind, "without a NUL", _interpreted(probe, b"/lib/ld.so"))
        self.add(kind, "of one byte", _interpreted(probe, b"\0"))
        self.add(kind, "of 4097 bytes", _interpreted(probe, b"/" * 4096 + b"\0"))
        self.add(kind, "name cut off", _interpreted(probe, b"/lib/ld-linux.so.9\0")[:-4])
        relative = _interpreted(_probe("i386"), b"/nowhere/ld.so\0")
        self.add(kind, "missing, i386", relative)

    def _nowhere_to_start(self) -> None:
        kind = "a program that starts where nothing of it is loaded"
        for name in ("x86_64", "i386", *GOOD):
            probe = _probe(name)
            order = "<" if probe[5] == 1 else ">"
            word = order + ("Q" if probe[4] == 2 else "I")
            for entry in (0, 64):
                self.add(kind, f"{name}, at {entry}", _with(probe, 24, word, entry))

    def _foreign_programs(self) -> None:
        """Every target with a good emulator: as it is, and with what only some look at changed."""
        for name in GOOD:
            probe = _probe(name)
            order = "<" if probe[5] == 1 else ">"
            wide = probe[4] == 2
            good, refused = "a foreign program", "a foreign program that its emulator refuses"
            self.add(good, name, probe)
            for at in range(8, 16):
                changed = bytearray(probe)
                changed[at] = 0xA5
                self.add(good, f"{name}, byte {at} is 0xa5", bytes(changed))
            self.add(good, f"{name}, an AppImage's mark", probe[:8] + b"AI\x02" + probe[11:])
            self.add(good, f"{name}, e_version 7", _with(probe, 20, order + "I", 7))
            self.add(
                refused, f"{name}, e_ehsize 1", _with(probe, 52 if wide else 40, order + "H", 1)
            )
            row = 54 if wide else 42
            self.add(refused, f"{name}, e_phentsize 1", _with(probe, row, order + "H", 1))
            loader = _interpreted(probe, b"/nowhere/ld.so\0")
            self.add("a foreign program without its loader", name, loader)
            self.add("cut off within its headers", name, probe[: 70 if wide else 60])
            for at, value in ((4, 3), (5, 3), (6, 0), (16, 9), (17, 9), (18, 0x77)):
                changed = bytearray(probe)
                changed[at] = value
                what = f"{name}, byte {at} is {value}"
                self.add("an ELF file that no entry takes", what, bytes(changed))

    def _odd_entries(self) -> None:
        kinds = {
            "sh4": "an entry without F", "ppc": "an entry without F, its interpreter missing",
            "or1k": "an entry without F whose emulator crashes",
            "mips": "an entry with another target's emulator",
            "arm": "an entry whose emulator crashes", "ppc64le": "an entry for a wrapper script",
            "sparc64": "an entry with O for a wrapper script",
            "alpha": "an entry for a program that is no emulator",
            "ppc64": "an entry whose interpreter is foreign",
            "riscv32": "an entry with O whose interpreter is foreign", "hppa": "a disabled entry",
        }  # fmt: skip
        for name, kind in kinds.items():
            for platform in target_named(name).platforms:
                self.add(kind, platform.name, _probe(platform.probe))
            plain = bytearray(_probe(target_named(name).platforms[0].probe))
            plain[9] = 1
            self.add(kind, f"{name}, byte 9 is 1", bytes(plain))

    def _no_entry(self) -> None:
        """Machines that nothing is registered for."""
        known = {target.machine for target in TARGETS} | {6}
        machines = [n for n in range(1, 260) if n not in known]
        for machine in machines if self.full else machines[::8]:
            changed = _with(_probe("aarch64"), 18, "<H", machine)
            self.add("an ELF file that no entry takes", f"e_machine {machine}", changed)
        for name in ("m68k", "loongarch64", "xtensa"):
            self.add("an ELF file that no entry takes", name, _probe(name))
        ilp32 = _with(_probe("i386"), 18, "<H", 183)
        self.add("an ELF file that no entry takes", "AArch64 with the ABI ILP32", ilp32)
        x32 = _with(_probe("i386"), 18, "<H", 62)
        self.add("headers that no loader takes", "x86-64 with the ABI x32", x32)
        freebsd = _interpreted(_probe("x86_64"), b"/libexec/ld-elf.so.1\0")
        self.add(
            "a program of this machine and its loader",
            "FreeBSD",
            freebsd[:7] + b"\x09" + freebsd[8:],
        )

    def _scripts(self) -> None:
        foreign, plain = (
            self.put("hello", _probe("aarch64")),
            self.put("mode", b"#!/bin/sh\n", 0o644),
        )
        lines = [
            b"#!/bin/true", b"#!/bin/true\n", b"#! \t/bin/true\t \n", b"#!/bin/true one two\n",
            b"#!/bin/true\0\n", b"#!/bin/true\0x\n", b"#!/bin/true \0\n",
            b"#!\n", b"#! \t \n",
            b"#!", b"#!\0", b"#! ", b"#!\0\n", b"#", b"##!/bin/true\n", b" #!/bin/true\n",
            b"\xef\xbb\xbf#!/bin/true\n", b"#!/bin/true\r\n", b"#!/bin/sh -e\r\n",
            b"#!/usr/bin/python3 -u\r\n",
            b"#!/usr/bin/awk -f\r\n", b"#!/bin/sed -f\r\n", b"#!/usr/bin/perl -w\r\n",
            b"#!/bin/sh\r",
            b"#!/nowhere/sh\n", b"#!/usr\n", b"#!/bin/true/sh\n", b"#!/dev/null\n",
            b"#!/bin/sh\nexit 0\n", b"#!" + foreign.encode() + b"\n",
            b"#!" + plain.encode() + b"\n",
            b"#!" + b"/" * 300 + b"\n", b"#!" + b" " * 300 + b"/bin/true\n", b"#!/bin/true\n" * 40,
            b"#!/bin/true " + b"x" * 300 + b"\n", b"#!/" + b"x" * 255 + b"\n",
        ]  # fmt: skip
        for line in lines:
            self.add("a script", repr(line[:40]), line)
        for length in range(248, 260):
            path = b"/" * (length - 10) + b"bin/true"
            for end in (b"\n", b"", b" x\n", b"\t", b"\0"):
                line = b"#!" + path + end
                self.add("a script with a long first line", f"{len(line)} bytes, {end!r}", line)
        last = "/bin/true"
        for number in range(1, 8):
            content = f"#!{last}\n".encode()
            last = self.add("a script for a script", f"{number} of them", content)

    def _env(self) -> None:
        kind = "a script for env"
        for line in (
            "#!/usr/bin/env true\n", "#!/usr/bin/env true\r\n", "#!/usr/bin/env nowhere-at-all\n",
            "#!/usr/bin/env true one\n", "#!/usr/bin/env -S true one\n", "#!/usr/bin/env -Strue\n",
            "#!/usr/bin/env -S true\r\n", "#!/usr/bin/env -S nowhere-at-all x\n",
            "#!/usr/bin/env --split-string=true one\n", "#!/usr/bin/env -iS true\n",
            "#!/usr/bin/env -S A=b true\n", "#!/usr/bin/env /bin/true\n",
            "#!/usr/bin/env /nowhere\n",
            "#! /usr/bin/env\ttrue\n", "#!/usr/bin/env -vS true x\n",
            *(f"#!/usr/bin/env -S {words}\n" for words in (
                "-u HOME true", "-uHOME true", "--unset HOME true", "--unset=PATH true",
                "-u PATH true", "-iu HOME true", "-vi A=b true", "- true", "-- true", "true # x",
                "PATH=/nowhere true", "PATH=/nowhere:/bin true", "-i PATH=/nowhere true",
                "-C /usr true", "--chdir=/usr true", "-C /nowhere true", "-C /bin/true true",
                "--default-signal=PIPE true", "A=b nowhere-at-all",
            )),
            "#!/usr/bin/env -S python3 -u\r\n",
            *(f"#!/usr/bin/env {words}\n" for words in (
                "-Z true", "-x", "--nonsense true", "-q", "--help", "--version", "-0 true", "-i0",
                "-S -Z true", "-S --nonsense true", "-S -0 true", "-S --null true", "-S -u",
                "-S -C", "-S --version true", "-S --un=HOME true", "-S --sp=true", "-S --igno true",
                "-u",
                '-S "true" \'a b\'', '-S "true', "-S tr\\ue", "-S $HOME/true", "-S -S true",
                "-S -vStrue", "-iStrue", "-S -- -x", "-S -u HOME -Z true", "-S A=b --version",
            )),
        ):  # fmt: skip
            self.add(kind, repr(line), line.encode())

    def _no_programs(self) -> None:
        kind = "data and text"
        starts = (
            b"", b"\n", b"echo hello\n", b"MZ\x90\0", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe",
            b"\0asm",
            b"PK\x03\x04", b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"!<arch>\n",
            b"%PDF-1.7\n",
            b"\x7fELF", b"\x7fELE", b"\x7f", b"BC\xc0\xde", b"\xf3\r\r\n", b"7z\xbc\xaf",
        )  # fmt: skip
        for start in starts:
            for tail in (b"", b"text, and more of it\n" * 20, bytes(600)):
                self.add(kind, repr(start), start + tail)
        windows = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x80)
        for about, subsystem in (("EFI", 10), ("Windows", 3)):
            pe = (b"PE\0\0" + bytes(88) + struct.pack("<H", subsystem)).ljust(600, b"\0")
            self.add("what firmware or Windows starts", about, windows.ljust(0x80, b"\0") + pe)
        for about, at, mark in (("arm64 Image", 56, b"ARM\x64"), ("bzImage", 0x202, b"HdrS")):
            image = b"MZ".ljust(at, b"\0") + mark
            self.add("what firmware or Windows starts", about, image.ljust(1024, b"\0"))
        for number in range(200 if self.full else 12):
            self.add(kind, f"chance {number}", self.chance.randbytes(self.chance.randrange(1, 900)))

    def _not_executable(self) -> None:
        for mode in (0o644, 0o600, 0o444, 0o000):
            for content in (_probe("x86_64"), _probe("aarch64"), b"#!/bin/true\n", b"text"):
                self.add("without an executable bit", f"{mode:o}", content, mode)

    def _by_name_and_place(self) -> None:
        kind = "by the end of its name, or a magic further inside"
        for end in (".jar", ".jar.txt", ".JAR", ".jarx", "jar"):
            self.add(kind, end, b"x", end=end)
        for start in (b"...MAGIC", b"..MAGIC", b"...MAGIc", b"...MAGIC" + bytes(300)):
            self.add(kind, repr(start[:8]), start)
        where = self.folder / "place"
        where.mkdir()
        os.mkfifo(where / "pipe", 0o755)
        (where / "loop").symlink_to("loop")
        (where / "link").symlink_to("/bin/true")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(where / "socket"))
        listener.close()
        for path in ("/", "/dev/null", *(where / n for n in ("pipe", "loop", "link", "socket"))):
            self.made.append(Sample("no regular file", str(path), str(path)))


def _probe(name: str) -> bytes:
    return (PROBES / name).read_bytes()


def _with(content: bytes, at: int, form: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def _with_segment(program: bytes, **fields: int) -> bytes:
    """The same program with other values in its first program header, which is to be loaded."""
    order, wide = ("<" if program[5] == 1 else ">"), program[4] == 2
    places = {"offset": 8, "address": 16, "size": 32, "memory": 40, "align": 48}
    form = order + ("Q" if wide else "I")
    for name, value in fields.items():
        at = 64 + places.get(name, 4) if wide else 52 + places.get(name, 48) // 2
        word = order + "I" if name == "flags" else form
        program = _with(program, at, word, value % (1 << 8 * struct.calcsize(word)))
    return program


def segments(probe: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Programs of this machine whose one segment is another: kind, a word, and content."""
    runs, kind = "a program of this machine", "a program that the kernel cannot load"
    yield runs, "all of the page", _with_segment(probe, size=4096, memory=4096)
    yield runs, "zeros behind it", _with_segment(probe, memory=len(probe) + 99999)
    yield runs, "no alignment", _with_segment(probe, align=0)
    for about, fields in {
        "more in the file than in memory": {"memory": 1}, "not to be executed": {"flags": 6},
        "only to be written": {"flags": 2}, "no rights": {"flags": 0},
        "another place within a page": {"offset": 1}, "a place beyond its end": {"offset": 4096},
        "a place that no file has": {"offset": -4096}, "memory that nobody has": {"memory": -4096},
        "an address of the kernel's": {"address": -4096}, "the lowest address": {"address": 0},
        "elsewhere than it starts": {"address": 0x500000}, "nothing of the file": {"size": 0},
        "all of memory but a page": {"memory": (1 << (47 if probe[4] == 2 else 32)) - 8192},
    }.items():  # fmt: skip
        yield kind, about, _with_segment(probe, **fields)
    number = 56 if probe[4] == 2 else 44
    row = 64 if probe[4] == 2 else 52
    yield kind, "no segment", _with(_with(probe, row, "<I", 6), number, "<H", 1)
    yield kind, "to be placed, no segment", _with(_with(probe, row, "<I", 6), 16, "<H", 3)
    yield kind, "to be placed, too long", _with(_with_segment(probe, memory=-8192), 16, "<H", 3)


def crashing(program: bytes) -> bytes:
    """The same 64-bit program with nothing but zeros where it starts: it looks like any other."""
    (entry, table) = struct.unpack_from("<QQ", program, 24)
    size, count = struct.unpack_from("<HH", program, 54)
    place = 0
    for row in range(count):
        kind, _, offset, address = struct.unpack_from("<IIQQ", program, table + row * size)
        if kind == _PT_LOAD and address <= entry:
            place = entry - address + offset
    return program[:place] + bytes(64) + program[place + 64 :]


def _unseen(probe: bytes) -> tuple[int, ...]:
    """Bytes of the header behind e_machine that no loader of the kernel looks at."""
    if probe[4] == 2:
        return (20, 23, 40, 47, 48, 51, 52, 53, 58, 60, 62, 63)
    return (20, 23, 32, 35, 36, 39, 40, 41, 46, 48, 50, 51)


def _interpreted(program: bytes, name: bytes) -> bytes:
    """The same program, asking for a loader: one program header becomes PT_INTERP."""
    data = bytearray(program)
    order = "<" if data[5] == 1 else ">"
    wide = data[4] == 2
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), data, 32 if wide else 28)
    size, count = struct.unpack_from(order + "HH", data, 54 if wide else 42)
    kinds = [struct.unpack_from(order + "I", data, table + n * size)[0] for n in range(count)]
    spare = next(n for n, kind in enumerate(kinds) if kind not in (1, 6))
    if wide:
        row = struct.pack(
            order + "IIQQQQQQ", _PT_INTERP, 4, len(data), 0, 0, len(name), len(name), 1
        )
    else:
        row = struct.pack(order + "8I", _PT_INTERP, len(data), 0, 0, len(name), len(name), 4, 1)
    data[table + spare * size : table + (spare + 1) * size] = row
    return bytes(data) + name
