"""What is wrong with the next boot as a whole: the registry that it makes, judged before it is."""

from __future__ import annotations

from binfmt_setup.boot.next_registry import next_registry, no_program
from binfmt_setup.boot.units import KEEP_PATH
from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.diagnosis.failed_probes import install_command, install_with
from binfmt_setup.diagnosis.finding import Finding, Remedy
from binfmt_setup.emulators import choice
from binfmt_setup.model.binfmt_d import PROBLEMS_KEPT
from binfmt_setup.model.targets import target_of_entry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.boot.next_registry import BootLine
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Platform


def next_boot_findings(facts: HostFacts) -> Iterator[Finding]:
    """Lines for programs that the host runs itself, lines that will be refused, the switch."""
    after = next_registry(facts)
    for line in after.lines:
        if _catches_native(facts, line):
            fact = known.NativeAtBoot(line.registration.name, line.path, line.line)
            yield Finding(fact)
    # update-binfmts passes over such an entry, and of ours the unit tells.
    refused = [line for line in after.refused if line.line and not line.owned]
    for line in refused[:PROBLEMS_KEPT]:
        yield _without_interpreter(facts, line)
    if more := len(refused[PROBLEMS_KEPT:]):
        yield Finding(known.MoreInvalid(refused[-1].path, len(refused), "", "", more))
    if facts.boot.switched_off:
        yield Finding(known.SwitchedOffAtBoot(*facts.boot.switched_off))


def _without_interpreter(facts: HostFacts, line: BootLine) -> Finding:
    """A line that will be refused; a file that bears our name gives way to an install."""
    rule = line.registration
    target = target_of_entry(rule.name)
    ours = target is not None and line.path.endswith(f"/{target.entry_name}.conf")
    remedy = (
        install_command(facts, target.platforms[0])
        if target and target.platforms and ours
        else None
    )
    gone = known.LineWithoutInterpreter(
        line.path, line.line, rule.interpreter, replaceable=remedy is not None,
        unfit=no_program(facts, rule.interpreter),
    )  # fmt: skip
    return Finding(gone, remedy=remedy)


def not_kept(facts: HostFacts) -> Iterator[Finding]:
    """What the wish list asks for with `keep`, where something is installed without it."""
    own = facts.process.own_files and any(config.owned for config in facts.boot.configs)
    if own and not any(link.endswith(KEEP_PATH) for link in facts.boot.unit_links):
        yield Finding(known.NotKept(), remedy=Remedy(install_with(facts, "--keep")))


def prepared(facts: HostFacts, platform: Platform) -> bool:
    """Whether the first boot of an offline tree will have what a platform needs."""
    if platform.target == facts.kernel.native:
        return True
    after = next_registry(facts)
    handler = after.handler(platform.header)
    if handler is None or "F" not in handler.flags or not after.enabled:
        return False
    path = handler.interpreter
    return choice.may_register(facts, path, facts.emulators.at(path))


def _catches_native(facts: HostFacts, line: BootLine) -> bool:
    """Whether a line takes the host's own programs, or what the kernel was seen to run itself."""
    native, rule = facts.kernel.native, line.registration
    own = native is not None and rule.takes_any(native.headers)
    return own or bool(facts.kernel.caught_by(rule))
