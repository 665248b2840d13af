"""Trying emulators out where nobody else meets them: before they serve anybody.

In a private user namespace with a registry of its own (Linux 6.7 and newer) they are registered
and run exactly as they will be. Where there is none they are started directly on the probe.
"""

from __future__ import annotations

import os
from contextlib import suppress

from binfmt_setup.model.errors import BinfmtSetupError, TookTooLong
from binfmt_setup.model.records import Record, replace
from binfmt_setup.system import syscalls
from binfmt_setup.system.pipes import readable, say
from binfmt_setup.system.probes import TIME_LIMIT, available, prove_candidates, prove_past_entries
from binfmt_setup.system.probes.job import Job
from binfmt_setup.system.probes.running import GRACE, end, forked, heard, understood
from binfmt_setup.system.probes.stage import perform
from binfmt_setup.system.registry import Registry, outside
from binfmt_setup.system.signals import signal

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from binfmt_setup.model.registration import Registration
    from binfmt_setup.system.host_access import HostAccess
    from binfmt_setup.system.probes import ProbeResult


_NO_NAMESPACE = b"-"  # an answer that no stage gives


class Candidate(Record):
    """What is to be registered, and the probes that it must run; None: nothing is."""

    registration: Registration | None
    probes: tuple[str, ...]


def tried(
    host: HostAccess, candidates: Sequence[Candidate], meanwhile: Callable[[], None]
) -> Mapping[str, ProbeResult]:
    """What the probes say of the candidates; nothing of it is seen by anybody else.

    `meanwhile` is called twice: while the namespace is made, and while they run. Raises
    EnvironmentUnfit when the trial itself dies.
    """
    found = _in_namespace(host, candidates, meanwhile)
    return _directly(candidates) if found is None else found


def without_entries(host: HostAccess, probes: Sequence[str]) -> Mapping[str, ProbeResult]:
    """What probes do where no entry is in the way: in an empty registry, or past all entries.

    Empty where neither can be had.
    """
    with suppress(BinfmtSetupError, OSError):
        found = _in_namespace(host, [Candidate(None, tuple(probes))], lambda: None)
        return prove_past_entries(probes) if found is None else found
    return {}


def _in_namespace(
    host: HostAccess, candidates: Sequence[Candidate], meanwhile: Callable[[], None]
) -> Mapping[str, ProbeResult] | None:
    """The results in a namespace of their own; None where this kernel gives none."""
    said = in_private_registry(host, candidates, _be_stage, TIME_LIMIT + GRACE, meanwhile)
    probes = [probe for one in candidates for probe in one.probes]
    return None if said is None else understood(said, probes)


def in_private_registry(
    host: HostAccess, candidates: Sequence[Candidate],
    work: Callable[[Sequence[str], int], NoReturn], seconds: float,
    meanwhile: Callable[[], None] = lambda: None,
) -> bytes | None:  # fmt: skip
    """What `work` answers where these alone are registered, and nobody else meets them.

    It is told the probes of those that the kernel took, and says its answer to a descriptor. None
    where this kernel has no registry of one's own.
    """
    entered, say_entered = os.pipe()
    may_go, let_go = os.pipe()
    child, answer = forked(
        lambda tell: work(
            _inside(host, candidates, tell, Gate(say_entered, may_go), (entered, let_go)), tell
        )
    )
    for descriptor in (say_entered, may_go):
        os.close(descriptor)
    answered = False
    try:
        try:
            meanwhile()
            if readable(entered, TIME_LIMIT) and os.read(entered, 1):
                _map_everybody(host, child)
                os.write(let_go, b"1")
        except OSError:
            pass  # this namespace may not map its users: the child hears nothing, and ends
        finally:
            os.close(entered)
            os.close(let_go)
        meanwhile()
        said = heard(answer, seconds)
        answered = True
    finally:
        end(child, answer, asked=not answered)
    return None if said == _NO_NAMESPACE else said


def _be_stage(names: Sequence[str], tell: int) -> NoReturn:
    """Run the probes of these names, and tell what became of them."""
    perform(Job(tuple(filter(available, names))), tell)


def _map_everybody(host: HostAccess, process: int) -> None:
    """Let the namespace have all users that there are here, as themselves.

    Otherwise its root could not reach an emulator below somebody's home. An ordinary user may map
    nobody else, and becomes its root. Raises OSError.
    """
    own = {"uid_map": os.geteuid(), "gid_map": os.getegid()}
    texts = {"setgroups": "deny", **{kind: f"0 {number} 1\n" for kind, number in own.items()}}
    if os.geteuid() == 0:
        texts = {}
        for kind in own:
            rows = [line.split() for line in host.text(f"/proc/self/{kind}").splitlines()]
            texts[kind] = "".join(f"{inside} {inside} {count}\n" for inside, _, count in rows)
    for kind, text in texts.items():
        descriptor = os.open(f"/proc/{process}/{kind}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


class Gate:
    """Where a child tells that it has entered its namespace, and waits for its users' mapping."""

    def __init__(self, say_entered: int, may_go: int) -> None:
        self.say_entered = say_entered
        self.may_go = may_go

    def pass_through(self) -> bool:
        """Whether the parent could map the users."""
        os.write(self.say_entered, b"1")
        os.close(self.say_entered)
        return bool(os.read(self.may_go, 1))


def _inside(
    host: HostAccess, candidates: Sequence[Candidate], tell: int, gate: Gate, theirs: Sequence[int]
) -> Sequence[str]:
    """What the child does first: register in a registry of its own; the probes of what it took.

    A candidate that the kernel refuses here is refused by the host's registry as well, which
    tells why. It leaves with os._exit where there is no such registry.
    """
    names: list[str] = []
    try:
        for descriptor in theirs:
            os.close(descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what comes takes back what is begun here
        registry = _entered(host, gate)
        syscalls.end_with_parent(signal.SIGTERM)  # entering forgets it
        if registry is not None:
            names = _registered(registry, candidates)
    except BinfmtSetupError:
        registry = None
    except BaseException:
        os._exit(1)
    if registry is None:
        say(tell, _NO_NAMESPACE)
        os._exit(0)
    return names


def _registered(registry: Registry, candidates: Sequence[Candidate]) -> list[str]:
    """Register all; the probes of those that the kernel took."""
    names: list[str] = []
    for candidate in candidates:
        with suppress(BinfmtSetupError):
            if candidate.registration is not None:
                registry.register(candidate.registration)
            names += candidate.probes
    return names


def _entered(host: HostAccess, gate: Gate) -> Registry | None:
    """The new registry of a new namespace; None where there is none to be had."""
    before = outside(host)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        if not gate.pass_through():
            return None
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
        return Registry.mount_own(host, before)
    except (OSError, TookTooLong):
        return None


def _directly(candidates: Sequence[Candidate]) -> dict[str, ProbeResult]:
    """The results of starting each emulator directly on its probes, all at once.

    They are no proof of a registration: what the kernel pins is not known from them.
    """
    found = prove_candidates(
        {
            probe: candidate.registration.interpreter
            for candidate in candidates
            if candidate.registration is not None
            for probe in candidate.probes
            if available(probe)
        }
    )
    return {name: replace(result, pinned=None) for name, result in found.items()}
