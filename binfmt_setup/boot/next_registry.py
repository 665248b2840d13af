"""The registry that the next boot will make, played through line by line. Pure.

As the init does it: the binfmt.d files that it reads, in the order of their names; then what
update-binfmts keeps; then what a unit of ours, or the administrator's own line, registers. The
last one registered is matched first, and a name that comes again takes the place of the older one.
"""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import init_of
from binfmt_setup.model.binfmt_d import VOLATILE_DIRECTORY, effective_configs
from binfmt_setup.model.interpreter import Interpreter, NotAFile
from binfmt_setup.model.mount_order import mount_point_of
from binfmt_setup.model.reading import Absent
from binfmt_setup.model.records import NOTHING, Record
from binfmt_setup.model.registration import Entry, Registration
from binfmt_setup.model.registry_facts import RegistryFacts

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts

_UPDATE_BINFMTS = "/var/lib/binfmts"


class BootLine(Record):
    """What registers one entry: a line of a file; update-binfmts' files are one entry each."""

    path: str
    line: int
    registration: Registration
    owned: bool = False

    @property
    def place(self) -> str:
        """File and line; a file that is one entry has none."""
        return f"{self.path}:{self.line}" if self.line else self.path


class NextRegistry(RegistryFacts):
    """The entries after the next boot, each with its line, and the lines that will be refused.

    It is asked like the kernel's of now. `refused` have F and an interpreter that the kernel will
    not open.
    """

    lines: tuple[BootLine, ...] = ()
    refused: tuple[BootLine, ...] = ()

    def line(self, entry_name: str) -> BootLine | None:
        """What registers the entry of this name; None where nothing will."""
        return next((line for line in self.lines if line.registration.name == entry_name), None)


_last: list[tuple[HostFacts, NextRegistry]] = []


def next_registry(facts: HostFacts) -> NextRegistry:
    """Play the next boot through; once for the same facts, of which each entry is asked."""
    if not (_last and _last[0][0] is facts):
        _last[:] = [(facts, _played(facts))]
    return _last[0][1]


def _played(facts: HostFacts) -> NextRegistry:
    made: dict[str, BootLine] = {}
    refused: dict[tuple[str, int], BootLine] = {}

    def register(line: BootLine) -> bool:
        name, rule = line.registration.name, line.registration
        if "F" in rule.flags and lost_interpreter(facts, rule.interpreter):
            refused[line.path, line.line] = line
            return False
        made.pop(name, None)  # registered again, it comes to the front
        made[name] = line
        return True

    for line in _by_init(facts):
        # What had the name before is gone when the new one is tried (systemd's apply_rule).
        if not line.registration.interpreter or not register(line):
            made.pop(line.registration.name, None)
    imported = facts.boot.imported if facts.boot.update_binfmts_runs else NOTHING
    for name, rule in imported.items():
        if name not in made:  # update-binfmts leaves alone what is there
            register(BootLine(f"{_UPDATE_BINFMTS}/{name}", 0, rule))
    for line in _by_us(facts):
        register(line)
    lines = tuple(reversed(made.values()))
    return NextRegistry(
        enabled=facts.boot.switched_off is None, listing=None, refused=tuple(refused.values()),
        entries=tuple(Entry(line.registration, enabled=True) for line in lines), lines=lines,
    )  # fmt: skip


def _lasting(facts: HostFacts) -> list[ConfigFile]:
    forgotten = facts.boot.forgotten
    there = (c for c in facts.boot.configs if c.path not in forgotten)
    return [c for c in there if not c.path.startswith(VOLATILE_DIRECTORY)]


def _by_init(facts: HostFacts) -> Iterator[BootLine]:
    """The lines that the init's own service reads."""
    init = init_of(facts.boot)
    if init.folders and init.obstacle(facts) is None:
        there = [c for c in _lasting(facts) if c.path.rpartition("/")[0] in init.folders]
        for config in effective_configs(tuple(there)):
            if not config.by_unit:
                ended = (
                    BootLine(config.path, n, Registration(name, "")) for n, name in config.ended
                )
                lines = sorted((*_lines(config), *ended), key=lambda line: line.line)
                yield from (line for line in lines if init.takes(config, line.line))


def _by_us(facts: HostFacts) -> Iterator[BootLine]:
    """The lines that a unit of ours reads, or the command that the administrator wrote down."""
    init = init_of(facts.boot)
    by_hand = not init.folders and init.obstacle(facts) is None
    for config in _lasting(facts):
        if config.owned and (by_hand or init.keeps(facts, config.registrations)):
            yield from _lines(config)


def _lines(config: ConfigFile) -> Iterator[BootLine]:
    for number, rule in zip(config.lines, config.registrations, strict=False):
        yield BootLine(config.path, number, rule, config.owned)


def lost_interpreter(facts: HostFacts, path: str) -> bool:
    """Whether the kernel cannot open what is to be pinned: it is not there then, or no program."""
    gone = isinstance(facts.emulators.at(path), Absent) or bool(volatile_mount(facts, path))
    return gone or no_program(facts, path)


def no_program(facts: HostFacts, path: str) -> bool:
    """Whether what lies at a path cannot be executed: a directory, or a file without an x."""
    found = facts.emulators.at(path)
    return isinstance(found, NotAFile) or (isinstance(found, Interpreter) and not found.executable)


def volatile_mount(facts: HostFacts, path: str) -> str:
    """The mount point of a path whose files are gone after a reboot; else empty."""
    found = facts.emulators.file_at(path)
    real = found.real_path if found else path
    if real in facts.boot.forgotten:
        return facts.boot.forgotten[real]
    point = mount_point_of(real, facts.boot.mounted)
    return point if point in facts.boot.in_memory else ""
