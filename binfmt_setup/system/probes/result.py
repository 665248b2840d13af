"""What became of a probe."""

from __future__ import annotations

import errno

from binfmt_setup.model.records import NOTHING, Record
from binfmt_setup.system.signals import signal

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping


ARGV0 = "binfmt-setup-probe"


class ProbeResult(Record):
    """What happened to one probe.

    `errno` is that of execve (0: it was started). `fields` are what the probe printed;
    `native` says that the kernel ran it itself; `pinned` is (device, inode) of the
    interpreter that really ran, which with F may be older than the file on disk;
    `pinned_version` is what that one says of itself, where it was asked. `not_run` is why the
    probe was not run at all, `hung` what it did when its time was over, `limit` the caller's
    own limit that leaves an emulator too little. `isolation` names what it was kept from.
    """

    probe: str
    errno: int = 0
    exit_status: int | None = None
    signal: int = 0
    timed_out: bool = False
    output: str = ""
    native: bool = False
    pinned: tuple[int, int] | None = None
    fields: Mapping[str, str] = NOTHING
    pinned_version: str = ""
    not_run: str = ""
    hung: str = ""
    limit: str = ""
    isolation: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the probe ran to its end as the program that it is."""
        return (
            not self.not_run
            and self.errno == 0
            and self.exit_status == 0
            and self.fields.get("target") == self.probe
            and self.fields.get("argc") == "2"
        )

    @property
    def arguments_shifted(self) -> bool:
        """Kernel and QEMU disagree about the P flag: the program got other arguments."""
        ran = self.fields.get("target") == self.probe  # and not what took its place
        return ran and self.fields.get("argc", "2") != "2"

    @property
    def argv0_kept(self) -> bool:
        """Whether argv[0] arrived as it was given; without P it becomes the path."""
        return self.fields.get("argv0") == ARGV0

    def why(self) -> str:
        """In a few words what went wrong; empty when nothing did."""
        if self.ok:
            return ""
        if self.not_run or self.limit:
            return self.limit or f"not run: {self.not_run}"
        if self.errno:
            return f"execve: {errno.errorcode.get(self.errno, str(self.errno))}"
        if self.timed_out:
            return "no end within the time limit" + (f": {self.hung}" if self.hung else "")
        return self._how_it_ended()

    def _how_it_ended(self) -> str:
        last = "".join(self.output.strip().splitlines()[-1:])[:200]
        if not self.signal:
            return f"exit status {self.exit_status}: {last or 'nothing printed'}"
        # An emulator that gives up says why; what else a program dies of nobody announced.
        why = f": {last}" if last and self.signal == signal.SIGABRT else ""
        return f"killed by {_name_of(self.signal)}{why}"


def _name_of(number: int) -> str:
    """SIGABRT is SIGIOT, too: the first one by its letters; SIG_DFL and the like are no signals."""
    all_ = (n for n, known in vars(signal).items() if known == number and n.startswith("SIG"))
    return min((n for n in all_ if n[3] != "_"), default=f"signal {number}")


def parse_output(text: str) -> dict[str, str]:
    """The fields of a probe's line; argv0 comes last and may hold spaces."""
    for line in text.splitlines():
        if line.startswith("binfmt-probe "):
            head, _, argv0 = line.partition(" argv0=")
            pairs = (word.partition("=") for word in head.split()[1:])
            return {**{key: value for key, _, value in pairs}, "argv0": argv0}
    return {}


def version_of(text: str) -> str:
    """QEMU's word for its version, as in `qemu-arm version 7.2.22 (Debian …)`."""
    _, _, after = text.partition(" version ")
    return after.splitlines()[0].strip() if after.strip() else ""
