"""Which QEMU of those on a host is taken for a target, why, and why another one is not."""

from __future__ import annotations

import posixpath

from binfmt_setup.emulators.refusals import (
    ControlCharacters,
    Dynamic,
    NoFile,
    NotElf,
    NotExecutable,
    NotReadable,
    OwnRights,
    Writable,
    WrongArchitecture,
    refusal_words,
)
from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.interpreter import Interpreter
from binfmt_setup.model.reading import Absent, Unreadable
from binfmt_setup.model.registration import control_characters

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from binfmt_setup.emulators.refusals import Refusal
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.interpreter import InterpreterState
    from binfmt_setup.model.targets import Target


IN_OUR_IMAGE = "/usr/libexec/binfmt-setup/"
"""Where this tool's container image has its emulators (deploy/image/); no package has any there."""
HOST_PATTERNS = {
    "/usr/libexec/qemu-binfmt/{}-binfmt-P": "keeps argv[0]",
    "/usr/bin/qemu-{}-static": "static by its name",
    "/usr/bin/qemu-{}": "static on Debian 13 and Alpine",
    "/usr/local/bin/qemu-{}-static": "static by its name, put there by hand",
    "/usr/local/bin/qemu-{}": "put there by hand",
    f"{IN_OUR_IMAGE}qemu-{{}}": "this container image's own",
}
"""The order of preference on a host that nobody gave a source for, each with its reason."""
DIRECTORY_PATTERNS = ("{}-binfmt-P", "qemu-{}-static", "qemu-{}")
"""The names looked for in a directory given with --qemu."""


def candidates(target: Target, directory: str = "") -> tuple[str, ...]:
    """Where an emulator for a target may lie, the best first."""
    if directory:
        return tuple(posixpath.join(directory, p.format(target.name)) for p in DIRECTORY_PATTERNS)
    return tuple(pattern.format(target.name) for pattern in HOST_PATTERNS)


def refusal(facts: HostFacts, path: str, found: InterpreterState) -> Refusal | None:
    """Why an interpreter must not be registered; None if it may.

    With the F flag the kernel runs the pinned file in every chroot and container, where a
    dynamically linked one finds no loader, and for every user, so nobody but root may change it:
    sshd's StrictModes judges in the same way.
    """
    if isinstance(found, Unreadable):
        return NotReadable(path, found)
    if not isinstance(found, Interpreter):
        return NoFile(path, found)
    if control_characters(path + found.real_path):
        return ControlCharacters(path)
    if not found.executable:
        return NotExecutable(path)
    return _unfit(facts.kernel.native, path, found)


def _unfit(native: Target | None, path: str, found: Interpreter) -> Refusal | None:
    """Why a program that can be executed must not be registered."""
    if found.elf is None:
        return NotElf(path)
    # A 64-bit host may run 32-bit programs of its family: an i386 QEMU on amd64 is fine.
    if native and not native.runs(found.elf.target):
        built_for = found.elf.target.name if found.elf.target else ""
        return WrongArchitecture(path, built_for, native.name)
    if not found.elf.static:
        return Dynamic(path)
    if found.culprit:
        return Writable(path, found.culprit)
    return OwnRights(path) if found.rights else None


def may_register(facts: HostFacts, path: str, found: InterpreterState) -> bool:
    """Whether nothing speaks against an interpreter."""
    return refusal(facts, path, found) is None


def choose(facts: HostFacts, target: Target) -> Interpreter | None:
    """The emulator to register for a target: the first on this host that may be."""
    for path in facts.emulators.candidates.get(target.name, ()):
        found = facts.emulators.at(path)
        if isinstance(found, Interpreter) and may_register(facts, path, found):
            return found
    return None


def passed_over(facts: HostFacts, target: Target) -> Iterator[Refusal]:
    """Why those were not taken that come before the chosen one."""
    for path in facts.emulators.candidates.get(target.name, ()):
        refused = refusal(facts, path, facts.emulators.at(path))
        if refused is None:
            return
        yield refused


def is_refused(facts: HostFacts, target: Target) -> bool:
    """Whether an emulator is there, and none that may be registered."""
    found = [refused for refused in passed_over(facts, target) if not isinstance(refused, NoFile)]
    return bool(found) and choose(facts, target) is None


def foreign(facts: HostFacts, targets: Sequence[Target]) -> list[Target]:
    """Those that this host does not run itself, nor perhaps does."""
    native = facts.kernel.native
    own = (native.name, *native.runs_also) if native else ()
    return [target for target in targets if target.name not in own]


def missing(
    facts: HostFacts, targets: Sequence[Target], source: str = "", emulator: str = ""
) -> NoEmulator:
    """The error for targets without a usable emulator, with the command that gets one.

    Where a source was named (`source`), it is that which has none; or `emulator` itself is refused.
    What this host may run itself is left out, unless there is nothing else.
    """
    from binfmt_setup.emulators.package_managers.interface import install_hint

    targets = foreign(facts, targets) or targets
    names = ", ".join(target.name for target in targets)
    refused = [
        (refused, target)
        for target in targets
        for path in facts.emulators.candidates.get(target.name, ())
        if not isinstance(facts.emulators.at(path), Absent)
        and (refused := refusal(facts, path, facts.emulators.at(path))) is not None
    ]
    words = [
        refusal_words(one)
        + _static_one(facts, target) * (isinstance(one, Dynamic) and not emulator)
        for one, target in refused
    ]
    why = f": {'; '.join(words)}" if words else ""
    place = f" in {source}" if source else ""
    other = f"name a source that has one, or leave --qemu out for {names}"
    if emulator:
        other = "name another emulator, or leave --emulator out"
    return NoEmulator(
        f"no usable emulator for {names}{place}{why}",
        hint=other if source or emulator else install_hint(facts, targets),
        code=next((one.code for one, _ in refused), "interpreter-missing"),
    )


def _static_one(facts: HostFacts, target: Target) -> str:
    from binfmt_setup.emulators.package_managers.interface import static_package

    package = static_package(facts.distribution, target)
    return f" (the static one is in the package {package})" if package else ""
