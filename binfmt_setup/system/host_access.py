"""Access to a host: a file tree (see `tree`), and a way to run programs.

What the registry, locks and trials need of a host; `host` adds the probes.
"""

from __future__ import annotations

import os
import sys

from binfmt_setup.model.errors import OtherProgramFailed
from binfmt_setup.model.escaping import safe, visible
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.shell import typed
from binfmt_setup.system.programs import Completed, Runner, run_program
from binfmt_setup.system.tree import Tree

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from binfmt_setup.system.path_trust import PathJudge


class HostAccess(Tree):
    """A host's file tree and its programs; a container may have the registry at another place.

    Without `shows_files` the registry alone is the host's: the tree is that of a container.
    """

    run: Runner = run_program
    verbose: bool = False
    registry: str = BINFMT_MISC
    shows_files: bool = True

    @property
    def live(self) -> bool:
        """Whether there is a kernel to ask: this is the running system, no offline tree."""
        return self.in_place

    def path_judge(self, owners: Collection[int] | None = None) -> PathJudge:
        """Who judges paths of this host: once each, and by default with root's files trusted alone.

        A tree given with --root is its owner's: his files count as root's there.
        """
        from binfmt_setup.system.path_trust import PathJudge, trusted_owners

        trusted = frozenset(trusted_owners(0) if owners is None else owners)
        if not self.in_place:
            trusted |= {os.stat(self.root).st_uid}
        return PathJudge(trusted, root=self.root)

    def user_and_machine(self) -> tuple[int, str]:
        """The effective user id and `uname -m`; both unknown to an offline tree."""
        if not self.live:
            return 0, ""
        return os.geteuid(), os.uname().machine

    def say(self, message: str) -> None:
        """Tell the user on standard error what is going on."""
        print(safe(message), file=sys.stderr, flush=True)

    def show_progress(self, message: str) -> None:
        """Replace the last line of a terminal; nothing anywhere else. "" takes it away."""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{visible(message)}", end="", file=sys.stderr, flush=True)

    def log(self, message: str) -> None:
        """The same, for users who want to know every step."""
        if self.verbose:
            self.say(message)

    def checked(self, argv: Sequence[str], seconds: float, *, hint: str = "") -> str:
        """Run a program that must succeed and return its output.

        Raises OtherProgramFailed with the end of what it said.
        """
        self.log(f"+ {typed(argv)}")
        return self._successful(argv, self.run(argv, seconds), hint)

    def followed_run(self, argv: Sequence[str], seconds: float, *, hint: str = "") -> str:
        """The same for a program that takes long: on a terminal one sees how far it is."""
        if self.run is not run_program or not (self.verbose or sys.stderr.isatty()):
            return self.checked(argv, seconds, hint=hint)
        return self._successful(argv, run_program(argv, seconds, shown=True), hint)

    def _successful(self, argv: Sequence[str], done: Completed, hint: str) -> str:
        if done.status:
            said = "\n".join((done.errors or done.output).strip().splitlines()[-5:])
            why = f": {said}" if said else " and said nothing"
            raise OtherProgramFailed(
                f"`{typed(argv)}` failed with status {done.status}{why}", hint=hint
            )
        return done.output

    def processes_of(self, identities: Collection[tuple[int, int]]) -> list[tuple[int, str]]:
        """Ids and command lines of the processes that execute one of these files."""
        from binfmt_setup.system.processes import executing

        return [(pid, typed(words)) for pid, words in executing(identities)]

    def connect_errno(self, socket_path: str) -> int:
        """The errno of connecting to a stream socket of the file system; 0 when it listens."""
        import socket

        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.settimeout(2.0)
            return stream.connect_ex(self.path(socket_path))
