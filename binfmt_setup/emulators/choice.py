"""Which QEMU of those on a host is taken for a target, why, and why another one is not."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import NoEmulator
from binfmt_setup.model.interpreter import Interpreter, NotAFile
from binfmt_setup.model.reading import Absent, NotLookedAt, Unreadable
from binfmt_setup.model.registration import control_characters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.interpreter import InterpreterState
    from binfmt_setup.model.reading import Unread
    from binfmt_setup.model.targets import Target

HOST_PATTERNS = {
    "/usr/libexec/qemu-binfmt/{}-binfmt-P": "keeps argv[0] on any kernel",
    "/usr/bin/qemu-{}-static": "static by its name",
    "/usr/bin/qemu-{}": "static on Debian 13 and Alpine",
    "/usr/local/bin/qemu-{}-static": "static by its name, put there by hand",
    "/usr/local/bin/qemu-{}": "put there by hand",
}
"""The order of preference on a host that nobody gave a source for, each with its reason."""
DIRECTORY_PATTERNS = ("{}-binfmt-P", "qemu-{}-static", "qemu-{}")
"""The names looked for in a directory given with --qemu."""


def candidates(target: Target, directory: str = "") -> tuple[str, ...]:
    """Where an emulator for a target may lie, the best first."""
    if directory:
        return tuple(posixpath.join(directory, p.format(target.name)) for p in DIRECTORY_PATTERNS)
    return tuple(pattern.format(target.name) for pattern in HOST_PATTERNS)


def refusal(facts: HostFacts, path: str, found: InterpreterState) -> tuple[str, str]:
    """Why an interpreter must not be registered, as (finding code, words); ("", "") if it may.

    With the F flag the kernel runs the pinned file in every chroot and container, where a
    dynamically linked one finds no loader, and for every user, so nobody but root may change it:
    sshd's StrictModes judges in the same way.
    """
    broken = isinstance(found, Interpreter) and control_characters(path + found.real_path)
    if not isinstance(found, Interpreter) or not found.executable or broken:
        behind = "is behind a name with control characters" if broken else "is not executable"
        why = behind if isinstance(found, Interpreter) else _why_no_file(found)
        return "interpreter-missing", f"{path} {why}"
    if found.elf is None:
        return "interpreter-wrong-architecture", f"{path} is no ELF program"
    native = facts.kernel.native
    # A 64-bit host may run 32-bit programs of its family: an i386 QEMU on amd64 is fine.
    if native and not native.runs(found.elf.target):
        built_for = found.elf.target.name if found.elf.target else "an unknown machine"
        words = f"{path} is a program for {built_for}, this host is {native.name}"
        return "interpreter-wrong-architecture", words
    if not found.elf.static:
        return "interpreter-dynamic", f"{path} is dynamically linked"
    if found.culprit or found.set_id:
        why = f"not root's alone: {found.culprit.reason}" if found.culprit else "a set-ID program"
        return "interpreter-writable", f"{path} is {why}"
    return "", ""


def _why_no_file(found: NotAFile | Unread) -> str:
    if isinstance(found, Unreadable):
        return f"cannot be read: {os.strerror(found.errno)}"
    if isinstance(found, NotLookedAt):
        return "was not looked at"
    return "is not a file" if isinstance(found, NotAFile) else "is missing"


def may_register(facts: HostFacts, path: str, found: InterpreterState) -> bool:
    """Whether nothing speaks against an interpreter."""
    return refusal(facts, path, found) == ("", "")


def choose(facts: HostFacts, target: Target) -> Interpreter | None:
    """The emulator to register for a target: the first on this host that may be."""
    for path in facts.emulators.candidates.get(target.name, ()):
        found = facts.emulators.at(path)
        if isinstance(found, Interpreter) and may_register(facts, path, found):
            return found
    return None


def choice_explained(facts: HostFacts, target: Target) -> str:
    """In one line which emulator is taken for a target and why, and which ones are not."""
    chosen = choose(facts, target)
    if chosen is None:
        return ""
    passed_over = []
    for path in facts.emulators.candidates[target.name]:
        if path == chosen.path:
            break
        passed_over.append(refusal(facts, path, facts.emulators.at(path))[1])
    reason = f"{target.name}: taking {chosen.path} ({_reason(chosen, target)})"
    return "; ".join([reason, *passed_over])


def _reason(chosen: Interpreter, target: Target) -> str:
    for pattern, reason in HOST_PATTERNS.items():
        if chosen.path == pattern.format(target.name):
            return reason
    return f"from {chosen.source}" if chosen.source else "from the directory given"


def missing(facts: HostFacts, targets: Sequence[Target]) -> NoEmulator:
    """The error for targets without a usable emulator, with the command that gets one."""
    from binfmt_setup.emulators.package_managers.interface import install_hint

    names = ", ".join(target.name for target in targets)
    reasons = [
        (facts.emulators.at(path), *refusal(facts, path, facts.emulators.at(path)), target)
        for target in targets
        for path in facts.emulators.candidates.get(target.name, ())
    ]
    refused = [
        words + _static_one(facts, target) * (code == "interpreter-dynamic")
        for found, code, words, target in reasons
        if not isinstance(found, Absent) and words
    ]
    why = f": {'; '.join(refused)}" if refused else ""
    codes = (code for found, code, _, _ in reasons if not isinstance(found, Absent) and code)
    return NoEmulator(
        f"no usable emulator for {names}{why}",
        hint=install_hint(facts, targets),
        code=next(codes, "interpreter-missing"),
    )


def _static_one(facts: HostFacts, target: Target) -> str:
    from binfmt_setup.emulators.package_managers.interface import static_package

    package = static_package(facts.distribution, target)
    return f" (the static one is in the package {package})" if package else ""
