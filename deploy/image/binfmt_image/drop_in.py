"""tonistiigi/binfmt's command line, as docker/setup-qemu-action and many scripts have it.

    binfmt [--install all|ARCH,…] [--uninstall NAME,…|GLOB] [--mount DIR] [--version]

The same lines on standard error and the same JSON on standard output (its cmd/binfmt/main.go).
What differs is that an answer was proven, and that the exit status tells it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import platform as python_platform
import sys

from binfmt_image.surroundings import mount_if_absent
from binfmt_setup.model.errors import BinfmtSetupError, ExitCode, NoEmulator, UsageProblem
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.registration import Entry
from binfmt_setup.model.request import Request
from binfmt_setup.model.targets import (
    TARGETS,
    container_platforms,
    parse_platform,
    target_of_entry,
)
from binfmt_setup.system.host import Host
from binfmt_setup.system.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_image.surroundings import Place
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Platform, Target

USAGE = """Usage of binfmt:
  -install string
    \tarchitectures to install
  -mount string
    \tbinfmt_misc mount point (default "/proc/sys/fs/binfmt_misc")
  -uninstall string
    \tarchitectures to uninstall
  -version
    \tdisplay version
and before them, or with a command of binfmt-setup's own (install, check, status, …; see
`COMMAND --help`): --registry DIR, --persist-to DIR, --private; with -install also -hold.
"""
_ORDER = (
    *("amd64", "arm64", "riscv64", "ppc64", "ppc64le", "s390x", "386", "mips64le", "mips64"),
    *("loong64", "arm"),
)
"""In which order the platforms that work are told (BuildKit's util/archutil/detect.go)."""
_MORE = ("mips64",)
"""What `all` means there and not here: container images hardly come for it."""
_FLAGS = {"install": True, "uninstall": True, "mount": True, "version": False, "hold": False}


class Wish(Record):
    """What the line asks for."""

    install: str = ""
    uninstall: str = ""
    mount: str = ""
    version: str = ""
    hold: str = ""


class _Quiet(Host):
    """The lines here say all."""

    def say(self, message: str) -> None:
        """Say nothing."""


def read(words: Sequence[str]) -> Wish:
    """Read a line as Go's package `flag` does; raises UsageProblem."""
    wish, rest = Wish(), list(words)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "--"):
        word = rest.pop(0)
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        if name not in _FLAGS:
            raise UsageProblem(f"flag provided but not defined: -{name}\n{USAGE.rstrip()}")
        if _FLAGS[name] and not equals:
            if not rest:
                raise UsageProblem(f"flag needs an argument: -{name}\n{USAGE.rstrip()}")
            value = rest.pop(0)
        elif not _FLAGS[name]:
            value = "" if value in ("0", "f", "F", "false", "False", "FALSE") else "yes"
        wish = replace(wish, **{name: value})
    return wish


def answer(words: Sequence[str], place: Place, around: Host) -> int:
    """Do what the line says, print, and give the exit status."""
    wish = read(words)
    if wish.version:
        _tell(_version())
        return 0
    host = _Quiet(
        registry=wish.mount or around.registry, prove=around.prove, shows_files=around.shows_files
    )
    if os.environ.get("QEMU_BINARY_PREFIX"):
        raise UsageProblem(
            "QEMU_BINARY_PREFIX is for other builds of QEMU, and this image has none",
            hint="leave it out, or name a directory with QEMU_BINARY_PATH",
        )
    place = replace(place, emulators=place.emulators or os.environ.get("QEMU_BINARY_PATH", ""))
    mounted = not (wish.install and not wish.uninstall) and mount_if_absent(
        host, needed=bool(wish.uninstall) and not place.on_host
    )
    status = _uninstall(host, wish.uninstall, place) if wish.uninstall else 0
    there: tuple[str, ...] = ()
    if wish.install:
        if mounted:  # it shall meet the host as it was, and refuse a mount that does not last
            Registry(host).unmount()
        installed, there = _install(host, wish, place)
        status = installed or status
    print(json.dumps(_state(host), indent=2), flush=True)
    if wish.hold and not status:
        from binfmt_setup.cli.holding import hold

        hold(host.registry, there)
    return status


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _version() -> str:
    """What is in here: of QEMU what a binary says, as its file's name may say anything."""
    from binfmt_setup import __version__
    from binfmt_setup.inspect.snapshot import snapshot, with_versions

    host = _Quiet()
    facts = snapshot(host, container_platforms())
    paths = [p for found in facts.emulators.candidates.values() for p in found][:1]
    seen = with_versions(host, facts, paths)
    version = next((f.version for p in paths if (f := seen.emulators.file_at(p))), "")
    number = version.split(" ")[0] if version else "none"
    python = python_platform.python_version()
    return f"binfmt/binfmt-setup-{__version__} qemu/v{number} python/{python}"


# -- install -----------------------------------------------------------------------------------


def _install(host: Host, wish: Wish, place: Place) -> tuple[int, tuple[str, ...]]:
    """Install, and say a line for each architecture; the status, and what there is then.

    What failed comes last: docker/setup-qemu-action shows the last line as the reason.
    """
    names, unknown = _named(wish.install)
    status, there = _install_known(host, wish, names, place) if names or not unknown else (0, ())
    for word in unknown:
        _tell(f"installing: {word} unsupported architecture: {word}")
    return status or (ExitCode.USAGE if unknown else 0), there


def _install_known(
    host: Host, wish: Wish, names: list[str], place: Place
) -> tuple[int, tuple[str, ...]]:
    from binfmt_setup.commands.install import install
    from binfmt_setup.commands.request import SourceWords, requested

    every = [p.name for p in container_platforms()] + list(_MORE)
    source = SourceWords(place.emulators)
    switches = Request(persist=place.on_host, private=place.private, hold=bool(wish.hold))
    try:
        request = requested(host, names or every, switches, source=source)
        result = install(host, request if names else replace(request, scope="usual"))
    except BinfmtSetupError as error:
        shown = (parse_platform(name).target.goarch for name in names)
        for name in dict.fromkeys(shown) or ["all"]:
            _tell(f"installing: {name} {_in_one_line(error)}")
        return error.exit_code, ()
    from binfmt_setup.report import words as said

    bad: dict[str, str] = {}
    for state in result.verdict.platforms:
        name = state.platform.target.goarch
        bad.setdefault(name, "")
        if not state.ok:
            found = [said.message(f) for f in state.findings if f.severity == "error"]
            bad[name] = "; ".join(found) or "it does not run"
    for name, why in sorted(bad.items(), key=lambda row: bool(row[1])):
        _tell(f"installing: {name} {why or 'OK'}")
    for problem in result.errors:
        _tell(f"installing: {_in_one_line(problem)}")
    return result.exit_code, result.entries


def _named(text: str) -> tuple[list[str], list[str]]:
    """The architectures that are meant, none for all; and those that are none."""
    known: list[str] = []
    unknown: list[str] = []
    for word in text.split(",") if text != "all" else ():
        try:
            known.append(parse_platform(word).name)
        except UsageProblem:
            unknown.append(word)
    return known, unknown


def _in_one_line(error: BinfmtSetupError) -> str:
    # What brings one to a host brings none to an image.
    lacks = isinstance(error, NoEmulator)
    hint = "use an image that has it" if lacks else error.hint
    words = f"{error.message}; {hint}" if hint else error.message
    return " ".join(words.split())


# -- uninstall ---------------------------------------------------------------------------------


def _uninstall(host: Host, text: str, place: Place) -> int:
    """Remove those of these entries that are ours; a pattern cannot fail, a name can.

    What failed is told last, as with `_install`.
    """
    from binfmt_setup.inspect.snapshot import snapshot

    facts = snapshot(host)
    told: list[tuple[int, str]] = []
    for word in text.split(","):
        found = _entries_meant(facts, word)
        told += [(0, f"{word} not found")] if not found else []
        for entry in found:
            target = target_of_entry(entry.name)
            if (said := _why_not_ours(facts, entry)) or target is None:
                status: int = ExitCode.ANSWER_IS_NO if entry.name == word else ExitCode.OK
            else:
                status, said = _removed(host, target, place)
            told.append((status, f"{entry.name} {said}"))
    told.sort(key=lambda row: row[0])
    for _, line in told:
        _tell(f"uninstalling: {line}")
    return told[-1][0]


def _removed(host: Host, target: Target, place: Place) -> tuple[int, str]:
    """Remove this tool's entry for a target: the status, and what is to be said of it."""
    from binfmt_setup.commands.uninstall import uninstall

    request = Request(target.platforms, "named", private=place.private, force=True)
    try:
        failed = next(iter(uninstall(host, request).errors), None)
    except BinfmtSetupError as error:
        failed = error
    return (failed.exit_code, _in_one_line(failed)) if failed else (0, "OK")


def _entries_meant(facts: HostFacts, word: str) -> list[Entry]:
    """The entries that a word names: a platform's, those of a pattern, or the one called so."""
    entries = sorted(facts.registry.entries, key=lambda entry: entry.name)
    try:
        target = parse_platform(word).target
        return [entry for entry in entries if entry.name == target.entry_name]
    except UsageProblem:
        return [entry for entry in entries if fnmatch.fnmatchcase(entry.name, word)]


def _why_not_ours(facts: HostFacts, entry: Entry) -> str:
    from binfmt_setup.diagnosis.ownership import left_by, owner_of

    owner = owner_of(facts, entry)
    if owner.ours:
        return ""
    return f"left alone: it is not of this tool{left_by(facts, entry)}"


# -- what there is -----------------------------------------------------------------------------


def _state(host: Host) -> dict[str, list[str]]:
    """What runs here, proven, and the names of all entries that are switched on."""
    from binfmt_setup.commands.request import probe

    platforms = list(_all_platforms())
    found = probe(host, platforms)
    works = [p for p in platforms if p.probe in found and found[p.probe].ok]
    native = [p for p in works if found[p.probe].native and p.target == _first_native(host)]
    ordered = [*native, *(p for p in works if p not in native)]
    return {"supported": [p.name for p in ordered], "emulators": list(_enabled(host))}


def _first_native(host: Host) -> Target | None:
    from binfmt_setup.inspect.process import standing

    return standing(host).kernel.native


def _all_platforms() -> Iterator[Platform]:
    for goarch in _ORDER:
        for target in TARGETS:
            if target.goarch == goarch:
                # BuildKit tells of arm v7 before v6, and not of v5.
                rows = [p for p in target.platforms if p.variant.suffix != "v5"]
                yield from reversed(rows) if goarch == "arm" else rows


def _enabled(host: Host) -> Iterator[str]:
    try:
        entries = list(Registry(host).entries())
    except OSError:
        return
    yield from sorted(e.name for e in entries if isinstance(e, Entry) and e.enabled)
