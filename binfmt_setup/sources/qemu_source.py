"""What the user may give with --qemu: a directory, an archive, or image:REFERENCE."""

from __future__ import annotations

import hashlib
import re
import stat
import tempfile
from collections.abc import Callable, Collection
from contextlib import contextmanager
from pathlib import Path

from binfmt_setup.changes import files
from binfmt_setup.changes.steps import Discard, Outcome, Unpack
from binfmt_setup.emulators import store
from binfmt_setup.emulators.store import STORE, Stored
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.errors import EnvironmentUnfit, NoEmulator, PrivilegesMissing, UsageProblem
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter
from binfmt_setup.model.records import NOTHING, Record, replace
from binfmt_setup.model.registration import control_characters
from binfmt_setup.model.request import Source
from binfmt_setup.sources import archives, streams
from binfmt_setup.sources.archives import Scratch
from binfmt_setup.sources.haul import Haul
from binfmt_setup.sources.unpack import unpacking
from binfmt_setup.system.path_trust import why_not_trusted
from binfmt_setup.system.tree import Tree

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import IO

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Target
    from binfmt_setup.sources.haul import Emulator, Sink
    from binfmt_setup.system.host import Host


IMAGE = "image:"
Take = Callable[["Sink | None", Scratch, "Collection[str] | None"], Haul]
"""Reads a source; given where to write emulators, a place for what passes through, the wanted."""
_CHUNK = 1024 * 1024


class Brought(Record):
    """A directory of emulators: unpacked by this run, to be unpacked (`new`), or there before."""

    directory: str
    digest: str
    new: bool = False
    emulators: Mapping[str, Emulator] = NOTHING


def parse_source(
    text: str,
    keep_in: str = "",
    environment: Mapping[str, str] | None = None,
    sha256: str = "",
) -> Source | None:
    """Read the values of --qemu, --qemu-store and --qemu-sha256; None for an empty --qemu.

    Raises UsageProblem.
    """
    _refuse_unfit_store(text, keep_in)
    digest = _read_sha256(text, sha256)
    store_path = str(Path(keep_in)) if keep_in else STORE
    if not text:
        return None
    if text.startswith(IMAGE):
        from binfmt_setup.sources.image_names import parse_reference

        parse_reference(text.removeprefix(IMAGE))
        return Source("image", text, store_path, environment or {}, digest)
    kind = _kind_of(text)
    if kind == "directory":
        if digest:
            raise UsageProblem(
                f"--qemu-sha256 says nothing of a directory, and {text} is one",
                hint="name an archive or an image with --qemu, or leave --qemu-sha256 out",
            )
        return Source("directory", str(Path(text).absolute()))
    if kind == "archive":
        return Source("archive", text, store_path, environment or {}, digest)
    raise UsageProblem(
        f"--qemu {text}: no such file or directory",
        hint="name a directory with static QEMU binaries, an archive, or image:REFERENCE",
    )


def _kind_of(text: str) -> str:
    """Whether a path is a directory or an archive; empty for neither, raises PrivilegesMissing."""
    try:
        status = Path(text).stat()
    except PermissionError as error:
        raise PrivilegesMissing(
            f"--qemu {text} may not be read", hint="run it with sudo"
        ) from error
    except OSError:
        return ""
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "archive" if stat.S_ISREG(status.st_mode) else ""


def _refuse_unfit_store(text: str, keep_in: str) -> None:
    for option, value in (("--qemu", text), ("--qemu-store", keep_in)):
        if control_characters(value):
            raise UsageProblem(
                f"{option} {value!r}: a name with control characters",
                hint="entries and units are lines of text: give the directory another name",
            )
    if keep_in and not Path(keep_in).is_absolute():
        raise UsageProblem(
            f"--qemu-store {keep_in}: not an absolute path",
            hint="entries name their emulator by its whole path: give one from / on",
        )


def _read_sha256(text: str, sha256: str) -> str:
    """The digest that is asked for, in lower case; raises UsageProblem."""
    digest = sha256.strip().lower().removeprefix("sha256:")
    if sha256 and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageProblem(
            f"--qemu-sha256 {sha256}: no SHA-256",
            hint="it has 64 hexadecimal digits; see: sha256sum FILE",
        )
    if sha256 and not text:
        raise UsageProblem(
            "--qemu-sha256 without --qemu", hint="name the archive or image that has it: --qemu"
        )
    return digest


def _name(source: Source) -> str:
    """What is written down as the source."""
    return source.text if source.kind == "image" else str(Path(source.text).absolute())


def require_own_store(facts: HostFacts, source: Source) -> None:
    """Refuse to unpack among the host's files from a user namespace; raises EnvironmentUnfit."""
    unpacks = source.kind != "directory"
    if unpacks and source.store == STORE and not facts.process.own_files:
        raise EnvironmentUnfit(
            f"{STORE} belongs to the host, not to this user namespace: nothing is unpacked there",
            hint="name a place for it: --qemu-store DIR",
            code="private-namespace",
        )


def bring(host: Host, facts: HostFacts, source: Source, *, write: bool) -> Brought:
    """The directory with a source's emulators, unpacked if need be.

    Without `write` nothing is unpacked: the source is read, and what would be taken is told.
    Raises NoEmulator, EnvironmentUnfit where nothing may be kept, or OtherProgramFailed when a
    registry fails.
    """
    if source.kind == "directory":
        return Brought(source.text, "")
    if write:
        require_own_store(facts, source)
    native = facts.kernel.native
    if native is None:
        raise NoEmulator(
            f"do not know what {facts.kernel.machine or 'this host'} needs",
            hint="use --qemu DIR with emulators that run there",
        )
    if source.wanted is not None:  # the host needs no emulator for its own programs
        source = replace(source, wanted=source.wanted - {native.name})
    if source.kind == "archive":
        return _bring_archive(host, native, source, write=write)
    return _bring_image(host, native, source, write=write)


@contextmanager
def at_hand(host: Host, facts: HostFacts, source: Source, prepared: list[Outcome]) -> Iterator[str]:
    """The directory of what a source brings; gone again if nothing came to use it."""
    brought = bring(host, facts, source, write=True)
    if brought.new:
        prepared.append(Outcome(unpack_step(source, brought), "done"))
    try:
        yield brought.directory
    finally:
        stored = store.stored_at(host, brought.directory) if brought.new else None
        if stored and stored.directory not in store.referenced(snapshot(host)):
            host.log(f"nothing uses {stored.directory}: removed again")
            files.discard_emulators(host, Discard(stored))


def unpack_step(source: Source, brought: Brought) -> Unpack:
    """What unpacking is called in the list of actions."""
    return Unpack(brought.directory, _name(source), brought.digest)


def _bring_archive(host: Host, native: Target, source: Source, *, write: bool) -> Brought:
    try:
        with Tree().opened(source.text) as file:
            _refuse_program(source.text, file)
            digest = store.content_digest(file)
            _refuse_other_content(source, digest)

            def take(sink: Sink | None, scratch: Scratch, wanted: Collection[str] | None) -> Haul:
                with _unchanging(file, source.text, digest, scratch) as content:
                    return archives.read_archive(
                        content, native, sink, wanted=wanted, scratch=scratch
                    )

            return _bring(host, source, f"sha256:{digest}", write=write, take=take)
    except OSError as error:
        raise NoEmulator(
            f"cannot read {source.text}: {error.strerror}", code="archive-unreadable",
            hint="see that it is a regular file, and may be read",
        ) from error  # fmt: skip


def _refuse_program(path: str, file: IO[bytes]) -> None:
    if file.read(4) == b"\x7fELF":
        folder = str(Path(path).parent)
        raise UsageProblem(
            f"--qemu {path}: this is a program, not an archive of them",
            hint=f"name the directory that it lies in: --qemu {folder}",
        )
    file.seek(0)


@contextmanager
def _unchanging(file: IO[bytes], path: str, digest: str, scratch: Scratch) -> Iterator[IO[bytes]]:
    """What the digest was made of: where others can write to the file, a copy of it.

    It is read several times, and would not be the same each time if somebody wanted that.
    """
    if why_not_trusted(str(Path(path).absolute())) is None:
        yield file
        return
    limits, size, copied = streams.Limits(), 0, hashlib.sha256()
    with scratch() as copy:
        file.seek(0)
        while piece := file.read(_CHUNK):
            size += len(piece)
            if size > limits.total:
                raise streams.too_large(f"it has more than {limits.total >> 20} MiB")
            copied.update(piece)
            copy.write(piece)
        if copied.hexdigest() != digest:
            raise NoEmulator(
                f"{path} was changed while it was read",
                hint="try again once nobody writes to it, or copy it to a directory of root's",
                code="digest-mismatch",
            )
        yield copy


def _refuse_other_content(source: Source, *digests: str) -> None:
    """Raises NoEmulator unless one of the digests is the one that the user asked for."""
    if source.sha256 and source.sha256 not in digests:
        raise NoEmulator(
            f"{source.text} is not what --qemu-sha256 names: its SHA-256 is {digests[0]}",
            hint="get it again, and compare with what its publisher says; nothing was unpacked",
            code="digest-mismatch",
        )


def _bring_image(host: Host, native: Target, source: Source, *, write: bool) -> Brought:
    from binfmt_setup.sources.image_pull import ImageRepository

    name = source.text.removeprefix(IMAGE)
    with ImageRepository(name, source.environment, host) as images:
        image = images.image(native.goarch)
        _refuse_other_content(
            source, images.digest.rpartition(":")[2], image.digest.rpartition(":")[2]
        )
        if not source.sha256 and images.reference.moves:
            host.say(
                f"warning: {source.text} is a tag, and may be another image the next time; to stay "
                f"with this one: --qemu {IMAGE}{images.reference.pinned_to(images.digest)}"
            )

        def take(sink: Sink | None, scratch: Scratch, wanted: Collection[str] | None) -> Haul:
            haul = Haul(native, sink, wanted)
            budget = streams.Budget(streams.Limits())
            for layer in image.layers:
                with scratch() as file:
                    images.pull(layer, file, budget.limits)
                    file.seek(0)
                    archives.take_layer_file(haul, file, budget)
            return haul

        return _bring(host, source, image.digest, write=write, take=take)


def _bring(host: Host, source: Source, digest: str, take: Take, *, write: bool) -> Brought:
    """Unpack what is wanted and not there yet, or is damaged."""
    store.refuse_untrusted(host, source.store)
    known = store.find(host, source.store, digest)
    if known is not None and not _needed(host, known, source.wanted):
        return Brought(known.directory, digest)
    if not write:
        needed = _needed(host, known, source.wanted) if known else source.wanted
        emulators = take(None, tempfile.TemporaryFile, needed).emulators()
        directory = known.directory if known else _place(source, digest, emulators)
        return Brought(directory, digest, new=True, emulators=emulators)
    with unpacking(host, source.store) as new:
        known = store.find(host, source.store, digest)
        needed = _needed(host, known, source.wanted) if known else source.wanted
        if known is not None and not needed:
            return Brought(known.directory, digest)  # by another run, while this one waited
        haul = take(new.sink, new.scratch, needed)
        emulators = haul.emulators()
        made = known.made if known else new.made or store.made_for(host, source.store)
        stored = _stored(source, digest, known, haul, made)
        new.finish(stored, emulators, known=known is not None)
    return Brought(stored.directory, digest, new=True, emulators=emulators)


def _needed(host: Host, known: Stored, wanted: Collection[str] | None) -> frozenset[str]:
    """The targets whose emulators are wanted and not there, or are there and damaged."""
    broken = {name.removeprefix("qemu-") for name in store.damaged(host, known)}
    return known.lacking(wanted) | broken


def _stored(
    source: Source, digest: str, known: Stored | None, haul: Haul, made: tuple[str, ...]
) -> Stored:
    """What is written down: of a directory that is there already, what it has and what is new."""
    emulators = haul.emulators()
    files = {emulator.name: emulator.sha256 for emulator in emulators.values()}
    if known is not None:
        return replace(known, files={**known.files, **files}, offered=haul.offered())
    directory = _place(source, digest, emulators)
    return Stored(
        directory, _name(source), digest, _version(emulators), files, made, haul.offered()
    )


def _place(source: Source, digest: str, emulators: Mapping[str, Emulator]) -> str:
    return f"{source.store}/{store.directory_name(_version(emulators), digest)}"


def _version(emulators: Mapping[str, Emulator]) -> str:
    return store.version_of(emulator.version for emulator in emulators.values())


def foreseen(facts: HostFacts, brought: Brought, source: Source) -> HostFacts:
    """The facts as they would be with the emulators unpacked."""
    if not brought.new:
        return facts
    files, candidates = dict(facts.emulators.files), dict(facts.emulators.candidates)
    for name, emulator in brought.emulators.items():
        path = f"{brought.directory}/{emulator.name}"
        candidates[name] = (path,)
        files[path] = Interpreter(
            path, path, elf=emulator.elf, version=emulator.version,
            source=_name(source), sha256=emulator.sha256,
        )  # fmt: skip
    return replace(facts, emulators=EmulatorFacts(candidates, files))
