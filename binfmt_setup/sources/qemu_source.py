"""What the user may give with --qemu: a directory, an archive, or image:REFERENCE."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from binfmt_setup.changes import files
from binfmt_setup.changes.steps import Discard, Outcome, Unpack
from binfmt_setup.emulators import store
from binfmt_setup.emulators.store import STORE, Stored
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.errors import NoEmulator, UsageProblem
from binfmt_setup.model.interpreter import EmulatorFacts, Interpreter
from binfmt_setup.model.records import NOTHING, Record, replace
from binfmt_setup.model.registration import control_characters
from binfmt_setup.sources import archives, streams
from binfmt_setup.sources.unpack import unpacking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Target
    from binfmt_setup.sources.archives import Emulator, Haul, Sink
    from binfmt_setup.system.host import Host

IMAGE = "image:"
Scratch = Callable[[], AbstractContextManager[IO[bytes]]]
"""Makes a file without a name for what is only passing through."""


class Source(Record):
    """Where QEMU shall come from, and where what is unpacked is kept.

    `environment` is the caller's, for the proxies and credentials of a registry.
    """

    kind: Literal["directory", "archive", "image"]
    text: str
    store: str = STORE
    environment: Mapping[str, str] = NOTHING

    @property
    def name(self) -> str:
        """What is written down as the source."""
        return self.text if self.kind == "image" else str(Path(self.text).absolute())


class Brought(Record):
    """A directory of emulators: unpacked by this run, to be unpacked (`new`), or there before."""

    directory: str
    digest: str
    new: bool = False
    emulators: Mapping[str, Emulator] = NOTHING


def parse_source(
    text: str, keep_in: str = "", environment: Mapping[str, str] | None = None
) -> Source | None:
    """Read the value of --qemu; None for an empty one. Raises UsageProblem."""
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
    keep = {"store": str(Path(keep_in)) if keep_in else STORE, "environment": environment or {}}
    if not text:
        return None
    if text.startswith(IMAGE):
        from binfmt_setup.sources.image_names import parse_reference

        parse_reference(text.removeprefix(IMAGE))
        return Source("image", text, **keep)  # type: ignore[arg-type]  # two kinds of values
    if Path(text).is_dir():
        return Source("directory", str(Path(text).absolute()))
    if Path(text).is_file():
        return Source("archive", text, **keep)  # type: ignore[arg-type]  # as above
    raise UsageProblem(
        f"--qemu {text}: no such file or directory",
        hint="name a directory with static QEMU binaries, an archive, or image:REFERENCE",
    )


def bring(host: Host, facts: HostFacts, source: Source, *, write: bool) -> Brought:
    """The directory with a source's emulators, unpacked if need be.

    Without `write` nothing is unpacked: the source is read, and what would be taken is told.
    Raises NoEmulator, or OtherProgramFailed when a registry fails.
    """
    if source.kind == "directory":
        return Brought(source.text, "")
    native = facts.kernel.native
    if native is None:
        raise NoEmulator(
            f"do not know what {facts.kernel.machine or 'this host'} needs",
            hint="use --qemu DIR with emulators that run there",
        )
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
    return Unpack(brought.directory, source.name, brought.digest)


def _bring_archive(host: Host, native: Target, source: Source, *, write: bool) -> Brought:
    try:
        with Path(source.text).open("rb") as file:
            digest = f"sha256:{store.content_digest(file)}"
            return _bring(
                host, source, digest, write=write,
                take=lambda sink, _: archives.read_archive(file, native, sink),
            )  # fmt: skip
    except OSError as error:
        raise NoEmulator(
            f"cannot read {source.text}: {error.strerror}", code="archive-unreadable"
        ) from error


def _bring_image(host: Host, native: Target, source: Source, *, write: bool) -> Brought:
    from binfmt_setup.sources import image_pull

    with image_pull.Registry(source.text.removeprefix(IMAGE), source.environment, host) as registry:
        image = registry.image(native.goarch)

        def take(sink: Sink | None, scratch: Scratch) -> Haul:
            haul = archives.Haul(native, sink)
            budget = streams.Budget(streams.Limits())
            for number, layer in enumerate(image.layers):
                with scratch() as file:
                    registry.pull(layer, file, budget.limits)
                    file.seek(0)
                    archives.take_layer_file(haul, file, number, budget)
            return haul

        return _bring(host, source, image.digest, write=write, take=take)


def _bring(
    host: Host,
    source: Source,
    digest: str,
    take: Callable[[Sink | None, Scratch], Haul],
    *,
    write: bool,
) -> Brought:
    """Unpack what is not there yet, or is damaged."""
    known = store.find(host, source.store, digest)
    if known is not None and not store.damaged(host, known):
        return Brought(known.directory, digest)
    if not write:
        emulators = take(None, tempfile.TemporaryFile).emulators()
        return Brought(_place(source, digest, emulators), digest, new=True, emulators=emulators)
    with unpacking(host, source.store) as new:
        known = store.find(host, source.store, digest)
        if known is not None and not store.damaged(host, known):
            return Brought(known.directory, digest)  # by another run, while this one waited
        emulators = take(new.sink, new.scratch).emulators()
        directory = known.directory if known else _place(source, digest, emulators)
        files = {emulator.name: emulator.sha256 for emulator in emulators.values()}
        made = known.made if known else new.made or store.made_for(host, source.store)
        stored = Stored(directory, source.name, digest, _version(emulators), files, made)
        new.finish(stored, emulators)
    return Brought(directory, digest, new=True, emulators=emulators)


def _place(source: Source, digest: str, emulators: Mapping[str, Emulator]) -> str:
    return f"{source.store}/{store.directory_name(_version(emulators), digest)}"


def _version(emulators: Mapping[str, Emulator]) -> str:
    return store.version_of(emulator.version for emulator in emulators.values())


def foreseen(facts: HostFacts, brought: Brought, source: Source) -> HostFacts:
    """The facts as they would be with the emulators unpacked."""
    if not brought.new:
        return facts
    files, candidates = dict(facts.emulators.files), {}
    for name, emulator in brought.emulators.items():
        path = f"{brought.directory}/{emulator.name}"
        candidates[name] = (path,)
        files[path] = Interpreter(
            path, path, elf=emulator.elf, version=emulator.version,
            source=source.name, sha256=emulator.sha256,
        )  # fmt: skip
    return replace(facts, emulators=EmulatorFacts(candidates, files))
