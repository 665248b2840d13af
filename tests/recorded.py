"""Hosts as data: one TOML file describes a host, and this makes it one that can be judged.

A case has the host's files, its entries in match order, what its programs print and how its
probes end. It becomes a real tree in a temporary folder and a `Host` that reads it; nothing
of the code under test is replaced. See tests/cases/README.md for the keys.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import shlex
import signal
import stat
import struct
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tomli

from binfmt_setup.model.binfmt_d import MARKER
from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.facts import is_initial_namespace
from binfmt_setup.model.mountinfo import BINFMT_MISC, parse_mountinfo, read_only_places
from binfmt_setup.model.registration import Registration, canonical_flags
from binfmt_setup.model.targets import target_named
from binfmt_setup.system.host import Host
from binfmt_setup.system.path_trust import PathJudge
from binfmt_setup.system.probes import ARGV0, ProbeResult, available
from binfmt_setup.system.programs import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    Probed = Mapping[str, ProbeResult]

CASES = Path(__file__).parent / "cases"
_TABLES = (
    "files",
    "links",
    "elf",
    "modes",
    "owners",
    "binfmt_d",
    "commands",
    "probes",
    "itself",
    "expect",
)
_WORDS = ("title", "host", "kind", "seen", "source", "machine", "like", "default_probe")
_KEYS = {*_TABLES, *_WORDS, "live", "user", "ask", "entries", "remove", "targets"}
_PT_LOAD, _PT_INTERP = 1, 3  # elf(5)
_SEEN = {"real", "documentation", "made up"}


@dataclass(frozen=True)
class Case:
    """One case file, read and checked."""

    name: str
    words: Mapping[str, str]
    tables: Mapping[str, Mapping[str, str]]
    expect: Mapping[str, object]
    entries: str = ""
    targets: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    live: bool = True
    user: int = 0


def case_files() -> list[Path]:
    """Every case file there is, the hosts first."""
    return sorted(CASES.glob("hosts/*.toml")) + sorted(CASES.glob("findings/*.toml"))


def load(path: Path) -> Case:
    """Read a case; an unknown or misspelt key is an error, so that no case tests nothing."""
    raw = tomli.loads(path.read_text(encoding="utf-8"))
    name = path.stem
    if unknown := set(raw) - _KEYS:
        raise ValueError(f"{path.name}: unknown keys {sorted(unknown)}")
    base = load(CASES / f"{raw['like']}.toml") if "like" in raw else None
    words = {key: str(raw[key]) for key in _WORDS if key in raw}
    if words.get("seen") not in _SEEN or not words.get("title") or not words.get("source"):
        raise ValueError(f"{path.name}: needs a title, a source, and seen = one of {_SEEN}")
    own = {key: dict(raw.get(key, {})) for key in _TABLES if key != "expect"}
    tables = {key: {**base.tables[key], **own[key]} if base else own[key] for key in own}
    inherited = dict(base.words) if base else {}
    for own_word in ("host", "kind"):
        inherited.pop(own_word, None)
    return Case(
        name,
        {**inherited, **words},
        tables,
        raw.get("expect", {}),
        str(raw.get("entries", base.entries if base else "")),
        tuple(raw.get("targets", base.targets if base else ())),
        tuple(raw.get("ask", base.ask if base else ())),
        (*(base.remove if base else ()), *raw.get("remove", ())),
        bool(raw.get("live", base.live if base else True)),
        int(raw.get("user", base.user if base else 0)),
    )


class RecordedHost(Host):
    """A tree that stands for a running host: it has a kernel, whose answers were recorded."""

    case: Case  # type: ignore[misc]  # given by its name, so it may follow fields with defaults

    @property
    def live(self) -> bool:
        """Whether the case is about a running host; its paths still lie below the root."""
        return self.case.live

    def stat(self, inside: str, *, follow: bool = True) -> os.stat_result:
        """What lies in the tree, owned by root (whoever made the tree) unless the case says."""
        fields = list(super().stat(inside, follow=follow))
        fields[stat.ST_UID] = int(self.case.tables["owners"].get(inside, "0"))
        return os.stat_result(fields)

    def path_judge(self, owners: Collection[int] | None = None) -> PathJudge:
        """The judge of the tool, who sees the owners that the case gives."""
        del owners
        return _RecordedJudge(self)

    def try_without_entries(self, probes: Sequence[str]) -> Mapping[str, ProbeResult]:
        """What the case says of this kernel, as `NAME without entries`; its own programs run."""
        own = {f"{self.case.words.get('machine', '')} without entries": "native"}
        recorded = {**own, **self.case.tables["probes"]}
        said = {name: f"{name} without entries" for name in probes}
        root = Path(self.root)
        case = dataclasses.replace(self.case, tables={**self.case.tables, "probes": recorded})
        return {name: _probe(case, root, key) for name, key in said.items() if key in recorded}

    def user_and_machine(self) -> tuple[int, str]:
        """What the case says."""
        return (self.case.user, self.case.words["machine"]) if self.live else (0, "")


class _RecordedJudge(PathJudge):
    """The judge of paths, for a tree whose owners stand in its case."""

    def __init__(self, host: RecordedHost) -> None:
        known = is_initial_namespace(host.text("/proc/self/uid_map"))
        super().__init__({0} if known else {0, 65534}, root=host.root)
        self._host = host

    def _status(self, where: str) -> os.stat_result:
        return self._host.stat(self._inside(where), follow=False)

    def _read_only(self, where: str) -> bool:
        mounts = parse_mountinfo(self._host.text("/proc/self/mountinfo"))
        return any(read_only_places(mounts, [self._inside(where)]))

    def _inside(self, where: str) -> str:
        return "/" + os.path.relpath(where, self._host.root).removeprefix(".")


def build(case: Case, root: Path) -> RecordedHost:
    """Make the tree of a case below `root` and a host that reads it."""
    _Tree(case, root).write()

    commands = dict(_rows(case, "commands"))

    def run(argv: Sequence[str], seconds: float) -> Completed:
        del seconds
        said = commands.get(shlex.join(argv))
        if said is None:
            raise OtherProgramFailed(f"not recorded: {shlex.join(argv)}")
        if failed := re.fullmatch(r"exit (\d+): (.*)", said, re.DOTALL):
            return Completed(int(failed[1]), "", failed[2])
        return Completed(0, said)

    def prove(names: Sequence[str], **_: object) -> AbstractContextManager[Callable[[], Probed]]:
        found = {name: _probe(case, root, name) for name in names if available(name)}
        return nullcontext(lambda: found)

    return RecordedHost(root, run=run, prove=prove, ask_pinned=lambda found, _: found, case=case)


def _rows(case: Case, table: str) -> Iterator[tuple[str, str]]:
    """The rows of a table; {T} stands for each of the case's targets."""
    for key, value in case.tables[table].items():
        for target in case.targets if "{T}" in key else ("",):
            where = key.replace("{T}", target)
            if where not in case.remove:
                yield where, value.replace("{T}", target)


class _Tree:
    """Writes a case's files; whatever was not said is plain: mode 644 or 755, in order."""

    def __init__(self, case: Case, root: Path) -> None:
        self.case, self.root = case, root

    def write(self) -> None:
        tables = self.case.tables
        for path, text in _rows(self.case, "files"):
            if path.endswith("/"):
                self._made(path + "x")
            else:
                self._file(path, _file_text(text).encode("utf-8"))
        printed = dict(_rows(self.case, "commands"))
        for path, spec in _rows(self.case, "elf"):
            # What QEMU prints of itself is a constant: it stands in the program as well.
            said = printed.get(f"{path} --version", "").encode()
            self._file(path, elf_program(spec) + said, 0o755)
        for path, spec in _rows(self.case, "binfmt_d"):
            entry = registration(spec.removeprefix("ours: "))
            marker = MARKER + "\n" if spec.startswith("ours: ") else ""
            self._file(path, f"{marker}{entry.line}\n".encode())
        for path, target in _rows(self.case, "links"):
            where = self._made(path)
            where.symlink_to(target)
        for number, line in enumerate(reversed(self._entry_lines())):
            self._entry(line, number)
        for path, mode in tables["modes"].items():
            (self.root / path.lstrip("/")).chmod(int(mode, 8))

    def _made(self, path: str) -> Path:
        """Where a path of the host lies, its directories made, whatever the umask."""
        where = self.root / path.lstrip("/")
        missing = [p for p in where.parents if not p.exists()]
        for directory in reversed(missing):
            directory.mkdir()
            directory.chmod(0o755)
        return where

    def _file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        where = self._made(path)
        where.write_bytes(data)
        where.chmod(mode)

    def _entry_lines(self) -> list[str]:
        lines = [line.partition(" #")[0].strip() for line in self.case.entries.splitlines()]
        found = []
        for line in filter(None, lines):
            targets = self.case.targets if "{T}" in line else ("",)
            found += [line.replace("{T}", target) for target in targets]
        return found

    def _entry(self, line: str, number: int) -> None:
        """One entry as the kernel shows it; later numbers match first."""
        enabled = "disabled" not in line.split()
        entry = registration(line.replace(" disabled", ""))
        path = f"{BINFMT_MISC}/{entry.name}"
        self._file(path, entry_text(entry, enabled=enabled).encode())
        os.utime(self.root / path.lstrip("/"), (number, number))


def registration(line: str) -> Registration:
    """An entry in short: NAME FLAGS INTERPRETER, then magic=, mask=, offset= or extension=.

    Flags `-` means none. Without magic and extension the entry matches the programs of the
    target that its name ends in, or of the one given as like=TARGET.
    """
    name, flags, interpreter, *more = line.split()
    options = dict(word.split("=", 1) for word in more)
    flags = canonical_flags("" if flags == "-" else flags)
    if "extension" in options:
        return Registration(name, interpreter, flags, extension=options["extension"])
    if "magic" in options:
        magic, mask = (bytes.fromhex(options.get(key, "")) for key in ("magic", "mask"))
        offset = int(options.get("offset", 0))
        return Registration(name, interpreter, flags, magic, mask, offset)
    target = target_named(options.get("like", name.removeprefix("qemu-").removesuffix("-static")))
    return Registration(name, interpreter, flags, target.magic, target.mask)


KEEPS = "keeps: "


def update_binfmts_text(entry: Registration) -> str:
    """What update-binfmts keeps of a format in /var/lib/binfmts (binfmt-support, src/format.c)."""
    switches = ("yes" if flag in entry.flags else "no" for flag in "CPF")
    magic, mask = entry.line.split(":")[4:6]
    fields = ("package", "magic", str(entry.offset), magic, mask, entry.interpreter, "", *switches)
    return "\n".join((*fields, ""))


def _file_text(text: str) -> str:
    """A file's text; that of one of update-binfmts' may be given as an entry in the short form."""
    if not text.startswith(KEEPS):
        return text
    return update_binfmts_text(registration(text[len(KEEPS) :]))


def entry_text(entry: Registration, *, enabled: bool = True) -> str:
    """An entry as fs/binfmt_misc.c (entry_status) shows it."""
    lines = ["enabled" if enabled else "disabled", f"interpreter {entry.interpreter}"]
    lines.append(f"flags: {entry.flags}")
    if entry.extension:
        return "\n".join([*lines, f"extension .{entry.extension}", ""])
    lines += [f"offset {entry.offset}", f"magic {entry.magic.hex()}"]
    lines += [f"mask {entry.mask.hex()}"] if entry.mask else []
    return "\n".join([*lines, ""])


def elf_program(spec: str) -> bytes:
    """The first bytes of a program: `TARGET static` or `TARGET dynamic`."""
    name, kind = spec.split()
    target = target_named(name)
    wide, end = target.bits == 64, "<" if target.order == "little" else ">"
    size, at = (56, 64) if wide else (32, 52)
    flags = target.flags[0] if target.flags else 0
    body = struct.pack(end + "I" + ("QQQ" if wide else "III"), 1, 0, at, 0)
    body += struct.pack(end + "IHHHHHH", flags, at, size, 1, 0, 0, 0)
    header = struct.pack(end + "I", {"static": _PT_LOAD, "dynamic": _PT_INTERP}[kind])
    return target.magic[:20] + body + header.ljust(size, b"\0")


def _probe(case: Case, root: Path, name: str) -> ProbeResult:
    """How a probe ended, from words such as `native`, `ENOEXEC`, `by PATH`, `timeout`."""
    recorded = case.tables["probes"]
    said = recorded.get(name, case.words.get("default_probe", ""))
    kind, _, rest = said.partition(" ")
    fields = {"target": name, "argc": "2", "argv0": ARGV0}
    if kind == "native":
        return ProbeResult(name, exit_status=0, native=True, fields=fields)
    if kind == "by":
        path, *notes = rest.replace("{T}", name.partition("-")[0]).split()
        pinned = _identity(root, path) if path.startswith("/") else (1, 1)
        if "without-argv0" in notes:
            fields["argv0"] = f"/{name}"
        if "shifted" in notes:
            fields["argc"] = "1"
        return ProbeResult(name, exit_status=0, pinned=pinned, fields=fields)
    if kind == "timeout":
        return ProbeResult(name, timed_out=True, signal=signal.SIGKILL)
    if kind in ("not-run", "limit"):
        why = {kind: rest}
        return ProbeResult(name, not_run=why.get("not-run", ""), limit=why.get("limit", ""))
    return _failed_probe(name, kind, rest)


def _failed_probe(name: str, kind: str, rest: str) -> ProbeResult:
    if kind == "exit":
        status, _, output = rest.partition(" ")
        return ProbeResult(name, exit_status=int(status), output=output)
    if re.fullmatch(r"SIG[A-Z]+", kind):
        return ProbeResult(name, signal=signal.Signals[kind])
    return ProbeResult(name, errno=int(getattr(errno, kind)))


def _identity(root: Path, path: str) -> tuple[int, int]:
    status = Host(root).status_of(path)
    return (status.st_dev, status.st_ino) if status else (1, 1)
