"""The emulators in what is unpacked: which files are some, and which of them count at the end.

Taken are regular files that are named like QEMU's, static, and programs of the host's own
architecture; everything else stays where it is. Layers apply in order, whiteouts included.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from binfmt_setup.emulators.version_line import OVERLAP, version_in
from binfmt_setup.model.elf import HEADER_BYTES, ElfFacts, identify
from binfmt_setup.model.errors import NoEmulator, UsageProblem
from binfmt_setup.model.records import Record
from binfmt_setup.model.targets import target_named
from binfmt_setup.sources.streams import CHUNK, Budget, is_plain_file, tar_members, too_large

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Collection, Mapping

    from binfmt_setup.model.targets import Target
    from binfmt_setup.sources.streams import Limits, Readable


_NAME = re.compile(r"qemu-([a-z0-9_]+?)(-static)?")
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"

Sink = Callable[[str, str, Iterator[bytes]], None]
"""Writes one emulator: the path it had, the name it gets, its content piece by piece."""


class Emulator(Record):
    """One emulator found in an archive: QEMU's version is read out of the program's text.

    Of one that nobody wants neither SHA-256 nor version is known: it was passed over.
    """

    target: Target
    path: str
    size: int
    sha256: str
    version: str
    elf: ElfFacts

    @property
    def name(self) -> str:
        """The name it is stored under."""
        return f"qemu-{self.target.name}"


class Place:
    """A name in a tree of files: the emulator that lies there, and what lies below."""

    __slots__ = ("below", "emulator")

    def __init__(self) -> None:
        self.below: dict[str, Place] = {}
        self.emulator: Emulator | None = None

    def put(self, path: str, emulator: Emulator | None) -> None:
        """Put an emulator at a path, or take away the one that is there; what is below stays."""
        here = self
        for name in path.split("/"):
            if name not in here.below:
                if emulator is None:
                    return
                here.below[name] = Place()
            here = here.below[name]
        here.emulator = emulator

    def forget(self, path: str) -> None:
        """A path, and what is beneath it, is no more; of the empty one all that is below."""
        above, _, last = path.rpartition("/")
        here: Place | None = self
        for name in above.split("/") if above else ():
            here = here.below.get(name) if here else None
        if here is not None and last:
            here.below.pop(last, None)
        elif here is not None:
            here.below = {}

    def everything(self) -> Iterator[Emulator]:
        """All emulators in it. Not by recursion: a path may be two thousand names deep."""
        todo = [self]
        while todo:
            place = todo.pop()
            todo += place.below.values()
            if place.emulator is not None:
                yield place.emulator


@dataclass
class Notes:
    """What of an archive is needed again: its JSON documents, and where each file lies in it."""

    documents: dict[str, bytes] = field(default_factory=dict)
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 0

    def take(self, member: tarfile.TarInfo, path: str, content: Readable, limits: Limits) -> None:
        """Note a member; of several with one name the last one counts."""
        self.size -= len(self.documents.pop(path, b""))
        self.offsets.pop(path, None)
        if not is_plain_file(member):
            return
        self.offsets[path] = (member.offset_data, member.size)
        is_emulator = target_of_file(path.rpartition("/")[2]) is not None
        if is_emulator or not 0 < member.size <= limits.document:
            return
        start = content.read(1)
        if start in (b"{", b"["):
            self.size += member.size
            if self.size > limits.documents:
                raise too_large(f"its documents have more than {limits.documents >> 20} MiB")
            self.documents[path] = start + content.read(member.size - 1)


@dataclass
class Haul:
    """What has been found so far, and what was passed over, with the reason.

    `wanted` are the targets whose emulators are taken; None: all.
    """

    native: Target
    sink: Sink | None = None
    wanted: Collection[str] | None = None
    refused: list[str] = field(default_factory=list)
    _below: Place = field(default_factory=Place)
    _layer: Place = field(default_factory=Place)

    def emulators(self) -> Mapping[str, Emulator]:
        """The wanted emulators by target; raises NoEmulator for none."""
        best = self._best()
        taken = {name: best[name] for name in best if self._wants(name)}
        if best and not taken:
            raise NoEmulator(
                f"it has no QEMU for {', '.join(sorted(self.wanted or ()))}, "
                f"only for {', '.join(sorted(best))}",
                hint="ask for platforms that are in it, or take another source",
                code="image-without-match",
            )
        if not best:
            why = f": {'; '.join(self.refused[:5])}" if self.refused else ""
            raise NoEmulator(
                f"there is no QEMU in it that this host could use{why}",
                hint=f"it must hold static programs for {self.native.name} "
                "named qemu-TARGET or qemu-TARGET-static",
                code="image-without-match",
            )
        return taken

    def offered(self) -> tuple[str, ...]:
        """The targets that it has an emulator for, wanted or not."""
        return tuple(sorted(self._best()))

    def _best(self) -> dict[str, Emulator]:
        """The emulators by target, the usual place first."""
        self._end_layer()
        best: dict[str, Emulator] = {}
        for emulator in sorted(self._below.everything(), key=_by_place):
            best.setdefault(emulator.target.name, emulator)
        return best

    def _wants(self, target: str) -> bool:
        return self.wanted is None or target in self.wanted

    def take_tar(self, source: Readable, budget: Budget, notes: Notes | None = None) -> None:
        """Look at every file of a tar, which is one layer; keep notes where asked for."""
        self._end_layer()
        for member, content in tar_members(source, budget):
            path = "/".join(part for part in member.name.split("/") if part not in ("", "."))
            directory, _, name = path.rpartition("/")
            if name == _OPAQUE:
                self._below.forget(directory)
            elif name.startswith(_WHITEOUT):
                self._below.forget(f"{directory}/{name[len(_WHITEOUT) :]}".lstrip("/"))
            elif path:
                self._replace(member, path)
                self._look_at(member, path, name, content, budget.limits)
            if notes is not None:
                notes.take(member, path, content, budget.limits)

    def _replace(self, member: tarfile.TarInfo, path: str) -> None:
        """A directory replaces what is no directory; anything else all that was there."""
        for tree in (self._below, self._layer):
            if member.isdir():
                tree.put(path, None)
            else:
                tree.forget(path)

    def _end_layer(self) -> None:
        """What a layer brought lies below the next one: whiteouts are for lower layers alone."""
        for emulator in self._layer.everything():
            self._below.put(emulator.path, emulator)
        self._layer = Place()

    def _look_at(
        self, member: tarfile.TarInfo, path: str, name: str, content: Readable, limits: Limits
    ) -> None:
        target = target_of_file(name)
        if target is None or member.isdir():
            return
        if not is_plain_file(member):
            self.refused.append(f"{path} is a link or no regular file")
            return
        if member.size > limits.file:
            raise too_large(f"{path} has {member.size >> 20} MiB")
        head = content.read(HEADER_BYTES)
        elf = identify(head)
        why = _unfit(elf, self.native)
        if elf is None or why:
            self.refused.append(f"{path} is {why}")
            return
        facts = _Facts()
        if self._wants(target.name):
            self._take(path, target, facts.watch(head, content))
        self._layer.put(path, Emulator(target, path, member.size, facts.sha256, facts.version, elf))

    def _take(self, path: str, target: Target, pieces: Iterator[bytes]) -> None:
        if self.sink is not None:
            self.sink(path, f"qemu-{target.name}", pieces)
        for _ in pieces:
            pass


def _by_place(emulator: Emulator) -> tuple[bool, int, str]:
    return not emulator.path.startswith("usr/bin/"), len(emulator.path), emulator.path


@dataclass
class _Facts:
    """What is learned of a file while it passes."""

    sha256: str = ""
    version: str = ""

    def watch(self, head: bytes, content: Readable) -> Iterator[bytes]:
        digest, before, piece = hashlib.sha256(), b"", head
        while piece:
            digest.update(piece)
            self.version = self.version or version_in(before + piece)
            before = piece[-OVERLAP:]
            yield piece
            piece = content.read(CHUNK)
        self.sha256 = digest.hexdigest()


def target_of_file(name: str) -> Target | None:
    """The target that a file is the emulator of, by its name."""
    words = _NAME.fullmatch(name)
    with suppress(UsageProblem, KeyError):
        return target_named(words[1]) if words else None
    return None


def _unfit(elf: ElfFacts | None, native: Target) -> str:
    """Why a program cannot be an emulator on this host; empty when it can."""
    if elf is None:
        return "not an ELF program"
    built_for = elf.target
    if not native.runs(built_for):
        return f"a program for {built_for.name if built_for else 'an unknown machine'}"
    return "" if elf.static else "dynamically linked"
