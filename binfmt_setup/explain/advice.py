"""What an explanation leads to: what a container would say, and the command that helps."""

from __future__ import annotations

import errno
import os
import shlex

from binfmt_setup.diagnosis.failed_probes import install
from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.explain.abi import machine_words
from binfmt_setup.explain.explanation import Failure
from binfmt_setup.explain.loading import is_for, kernel_refusal
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.reading import Absent
from binfmt_setup.model.records import replace
from binfmt_setup.model.shell import from_outside

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.explain.explanation import Explanation
    from binfmt_setup.explain.loading import Loading
    from binfmt_setup.explain.specimen import Specimen
    from binfmt_setup.model.elf import ElfFacts
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry
    from binfmt_setup.model.targets import Platform, Target
    from binfmt_setup.system.probes import ProbeResult


SAID = {
    "ENOEXEC": "exec format error",
    "ENOENT": "no such file or directory",
    "EACCES": "permission denied",
    "ELOOP": "too many levels of symbolic links",
}
"""What container engines print for the errno of execve (Go's words for them)."""

# First bytes of what people try to run by mistake.
_FORMATS = (
    (b"MZ", "a Windows or DOS program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a Java class or a macOS universal program"),
    (b"\0asm", "a WebAssembly module"),
    (b"PK\x03\x04", "a zip archive (perhaps a Java program)"),
    (b"\x1f\x8b", "gzip-compressed"),
    (b"\xfd7zXZ", "xz-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed"),
    (b"!<arch>", "a static library or a Debian package"),
)


def format_words(found: Specimen) -> str:
    """What a file that is no ELF file and no script looks like."""
    if not found.head:
        return "empty"
    for start, words in _FORMATS:
        if found.head.startswith(start):
            return words
    if found.boots:
        return found.boots
    if found.starts_as_elf:
        return "an ELF header that makes no sense" if found.size >= 64 else "a cut-off ELF header"
    printable = all(byte >= 32 or byte in b"\t\n\r\f" for byte in found.head)
    return "text without a `#!` line" if printable else "data of an unknown kind"


def errno_name(number: int) -> str:
    """The name of an errno; empty for none."""
    return errno.errorcode.get(number, str(number)) if number else ""


def said(name: str) -> str:
    """What an engine prints for an errno."""
    return SAID.get(name) or os.strerror(getattr(errno, name, errno.EIO)).lower()


def unhandled(facts: HostFacts, found: Specimen, *, is_first: bool) -> Failure:
    """Why nothing takes a file, as the failure with which it ends."""
    what = "it" if is_first else found.path
    elf, native = found.elf, facts.kernel.native
    own = found.as_one_of(native) if native else None
    if elf is None:
        return Failure("no-program", f"{what} is {format_words(found)}", "ENOEXEC")
    if own is not None and native is not None and is_for(own, native):
        loading: Loading | None = own
    else:
        loading = found.loading
    refused = kernel_refusal(loading) if loading else None
    if refused is not None and refused.cut:
        return Failure("cut-off", f"{what} is cut off: {refused.words}", refused.errno)
    if refused is not None and (loading is own or elf.elf_type not in (2, 3)):
        words = refused.words if is_first else f"{found.path}: {refused.words}"
        return Failure("no-program", words, refused.errno)
    kind = f"{machine_words(elf.machine)} programs{_abi_words(elf)}"
    if facts.live and facts.registry.mount.state != "mounted":
        words = f"binfmt_misc is not mounted, so nothing runs {kind}"
        return Failure("not-mounted", words, "ENOEXEC")
    if facts.registry.enabled is False:
        return Failure("globally-disabled", "binfmt_misc is switched off", "ENOEXEC")
    return Failure("entry-missing", f"no entry takes {kind}", "ENOEXEC")


def _abi_words(elf: ElfFacts) -> str:
    """Which of two classes of one machine it is, where that is the surprise."""
    abi = {(183, 32): "ILP32", (62, 32): "x32"}.get((elf.machine, elf.bits))
    return f" of the 32-bit ABI {abi}" if abi else ""


def unseen(facts: HostFacts, found: Specimen, result: ProbeResult | None) -> Failure:
    """Why a file does not run where entries cannot be seen; without a probe nobody can tell."""
    failure = unhandled(facts, found, is_first=True)
    if failure.code not in ("entry-missing", "not-mounted"):
        return failure
    if result is None and failure.code == "entry-missing":
        return Failure("unreadable", "what is registered may not be read, and no probe could run")
    if result is not None and result.errno != errno.ENOEXEC:
        words = f"an entry not visible from here takes it, and its probe fails: {result.why()}"
        return Failure("emulator-fails", words, errno_name(result.errno))
    return failure


def advised(facts: HostFacts, seen: Explanation, probed: ProbeResult | None) -> Explanation:
    """The explanation with what it leads to; `probed` is what a probe of the same target did."""
    seen = replace(seen, failure=_sharper(facts, seen))
    seen = replace(seen, container=_container(facts, seen, probed))
    return replace(seen, hints=tuple(dict.fromkeys(_hints(facts, seen))))


def _sharper(facts: HostFacts, seen: Explanation) -> Failure | None:
    """Name the entry that is disabled, where it alone is in the way."""
    failure = seen.failure
    last = seen.steps[-1]
    if failure is None or failure.code not in ("entry-missing", "no-program") or last.handler:
        return failure
    disabled = [c.entry.name for c in last.candidates if c.state == "disabled"]
    if not disabled:
        return failure
    if facts.registry.enabled is False:
        words = f"binfmt_misc is switched off; entry {disabled[0]} would match"
        return replace(failure, code="globally-disabled", message=words)
    return replace(
        failure, code="entry-disabled", message=f"entry {disabled[0]} matches, but is disabled"
    )


def _container(facts: HostFacts, seen: Explanation, probed: ProbeResult | None) -> str:
    """What an engine would print for the program in a container of its own.

    Without --chroot the container is taken to hold all that the program needs, and nothing
    of this host: that is the case that surprises people.
    """
    failure, handler = seen.failure, seen.handler
    here = failure is not None and failure.code in ("loader-missing", "loader-unusable")
    if failure is not None and (seen.tree != "/" or not here):
        if failure.code in ("missing", "unreadable", "noexec"):
            return ""
        return said(failure.errno) if failure.errno else _FAILS
    if handler is None or seen.tree != "/" or (probed is not None and probed.ok):
        return "runs"
    words = _out_of_reach(facts, handler)
    if words or probed is None or probed.native:
        return words or "runs"
    return said(errno_name(probed.errno)) if probed.errno else _FAILS


_FAILS = "the program starts and fails at once"


def _out_of_reach(facts: HostFacts, handler: Entry) -> str:
    """Why a container cannot start an entry's interpreter; "" when it can."""
    if "F" not in handler.flags:
        return f"{SAID['ENOENT']}: {handler.interpreter} is not in the container"
    file = facts.emulators.file_at(handler.interpreter)
    if file is None:
        return ""
    if file.elf is None:
        return f"{SAID['ENOENT']}: {handler.interpreter} is a script, whose shell F does not hold"
    return (
        "" if file.elf.static else f"{SAID['ENOENT']}: {handler.interpreter} is dynamically linked"
    )


def _hints(facts: HostFacts, seen: Explanation) -> list[str]:
    """The commands that help, the one for the cause first."""
    failure = seen.failure
    hints = [] if failure is None else _remedies(facts, seen, failure)
    emulate, handler = _install(facts, seen), seen.handler
    if handler is not None and facts.kernel.caught_by(handler.registration):
        return [_run(facts, f"echo -1 > {BINFMT_MISC}/{handler.name}"), *hints]
    if failure is not None or not emulate or handler is None:
        return hints
    if seen.container not in ("", "runs"):
        why = "registers QEMU itself" if "F" in handler.flags else "registers it with the F flag"
        hints.append(f"{emulate}   ({why})")
    elif isinstance(facts.emulators.at(handler.interpreter), Absent):
        lasts = facts.process.own_files or not facts.registry.own
        hints.append(f"{emulate}   (to keep it over a reboot)" if lasts else emulate)
    return hints


def _run(facts: HostFacts, command: str) -> str:
    """A command that changes the host, as this user has to type it."""
    if facts.process.effective_uid == 0:
        return f"run: {command}"
    words = f"sh -c {shlex.quote(command)}" if ">" in command or "&" in command else command
    return f"run: sudo {words}"


def _install(facts: HostFacts, seen: Explanation, *options: str) -> str:
    """The install that makes the program run; empty where emulation is not what it lacks."""
    platform = _platform(facts, seen)
    command = install(facts)
    words = (*command[:2], *options, *command[2:], str(platform))
    return _run(facts, shlex.join(words)) if platform else ""


def _remedies(facts: HostFacts, seen: Explanation, failure: Failure) -> list[str]:
    """What to do about a failure; empty where the file itself has to change."""
    file = shlex.quote(from_outside(seen.tree, seen.steps[-1].found.path))
    emulate = _install(facts, seen)
    candidates = seen.steps[-1].candidates
    off = next((c.entry.name for c in candidates if c.state == "disabled"), "")
    handler = seen.handler.name if seen.handler else ""
    table = {
        "entry-missing": [_take_over(facts, seen) or emulate],
        "not-mounted": [emulate or _run(facts, "binfmt-setup install")],
        "flag-f-missing": [emulate],
        "interpreter-dynamic": [emulate],
        "interpreter-script": [emulate],
        "second-interpreter": [emulate],
        "emulator-fails": [emulate],
        "entry-disabled": [_run(facts, f"echo 1 > {BINFMT_MISC}/{off}")],
        "globally-disabled": [
            _run(facts, f"echo 1 > {BINFMT_MISC}/status"),
            ""
            if not off or _entry_is_on(facts, off)
            else _run(facts, f"echo 1 > {BINFMT_MISC}/{off}"),
        ],
        "not-executable": [_executable(facts, seen.steps[-1].found, file)],
        "noexec": [_run(facts, f'mount -o remount,exec "$(findmnt -no TARGET -T {file})"')],
        "carriage-return": [
            f"run: sed -i 's/\\r$//' {shlex.quote(from_outside(seen.tree, seen.path))}"
        ],
        "loop": [_run(facts, f"echo -1 > {BINFMT_MISC}/{handler}")] if handler else [],
        "loader-missing": _loader_remedies(facts, seen),
    }
    return [hint for hint in table.get(failure.code, []) if hint]


def _take_over(facts: HostFacts, seen: Explanation) -> str:
    """The command where somebody else's entry takes a target's usual programs, but not this one."""
    platform = _platform(facts, seen)
    usual = facts.registry.handler(platform.header) if platform else None
    if usual is None or owner_of(facts, usual).ours:
        return ""
    return _install(facts, seen, "--take-over")


def _executable(facts: HostFacts, found: Specimen, file: str) -> str:
    """The executable bit, for what runs once it has it; `file` is what a shell calls it."""
    taken = facts.registry.handler(found.head) is not None
    if found.elf is not None or found.script is not None or taken:
        return f"run: chmod +x {file}"
    return f"it would not run with that bit either: it is {format_words(found)}"


def _entry_is_on(facts: HostFacts, name: str) -> bool:
    entry = facts.registry.entry(name)
    return entry is not None and entry.enabled


def _loader_remedies(facts: HostFacts, seen: Explanation) -> list[str]:
    """Where a program's loader and libraries come from."""
    if seen.tree != "/":
        return [f"{seen.tree} has no C library for it: is this the root it was made for?"]
    hints = []
    debian = {facts.distribution.id, *facts.distribution.like} & {"debian", "ubuntu"}
    platform = _platform(facts, seen)
    names = platform.variant.debian if platform else ()
    if "ld-musl" in seen.loader:
        hints.append("it is a program for musl (Alpine): run it in a root of its own")
    elif debian and names:
        name = names[0]
        hints.append(
            _run(
                facts,
                f"dpkg --add-architecture {name} && apt-get update && "
                f"apt-get install -y libc6:{name}",
            )
        )
    path = shlex.quote(seen.path)
    hints.append(f"for a program of another root: binfmt-setup explain --chroot DIR {path}")
    return hints


def _platform(facts: HostFacts, seen: Explanation) -> Platform | None:
    """The platform to install for the program that has to be emulated.

    What an entry starts is the interpreter of a file, and no program to be emulated.
    """
    taken = next((at for at, step in enumerate(seen.steps, 1) if step.handler), len(seen.steps))
    elves = (step.found.elf for step in seen.steps[:taken])
    elf = next((elf for elf in elves if elf is not None), None)
    target = elf.target if elf else None
    return variant(seen.found, target) if target and target != facts.kernel.native else None


def variant(found: Specimen, target: Target) -> Platform:
    """Of a target's variants the oldest that runs the program; all share one entry."""
    details = found.details
    wanted = dict(details.attributes).get("architecture", "") if details else ""
    for platform in target.platforms:
        if platform.variant.suffix and wanted.startswith(platform.variant.suffix):
            return platform
    return target.platforms[-1 if target.name == "arm" else 0]
