"""Trying emulators out where nobody else meets them: before they serve anybody.

In a private user namespace with a registry of its own (Linux 6.7 and newer) they are registered
and run exactly as they will be. Where there is none they are started directly on the probe.
"""

from __future__ import annotations

import marshal
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit
from binfmt_setup.model.records import Record
from binfmt_setup.system import syscalls
from binfmt_setup.system.pipes import read_to_end, readable
from binfmt_setup.system.probes import (
    TIME_LIMIT,
    ProbeResult,
    available,
    prove_candidates,
    run_probes,
)
from binfmt_setup.system.registry import Registry, outside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType
    from typing import NoReturn

    from binfmt_setup.model.registration import Registration
    from binfmt_setup.system.host import Host

_SECONDS = TIME_LIMIT + 15  # the probes have a limit of their own, and some time to be ended
_GRACE = 2.0  # seconds for a trial that is ended to end its probes


class Candidate(Record):
    """What is to be registered, and the probes that it must run."""

    registration: Registration
    probes: tuple[str, ...]


def tried(
    host: Host, candidates: Sequence[Candidate], meanwhile: Callable[[], None]
) -> Mapping[str, ProbeResult]:
    """What the probes say of the candidates; nothing of it is seen by anybody else.

    `meanwhile` is called twice: while the namespace is made, and while they run. Raises
    EnvironmentUnfit when the trial itself dies.
    """
    found = _in_namespace(host, candidates, meanwhile)
    return _directly(candidates) if found is None else found


def _in_namespace(
    host: Host, candidates: Sequence[Candidate], meanwhile: Callable[[], None]
) -> Mapping[str, ProbeResult] | None:
    """The results in a namespace of their own; None where this kernel gives none."""
    answer, tell = os.pipe()
    entered, say_entered = os.pipe()
    may_go, let_go = os.pipe()
    child = os.fork()
    if child == 0:
        for descriptor in (answer, entered, let_go):
            os.close(descriptor)
        _inside(host, candidates, tell, say_entered, may_go)
    for descriptor in (tell, say_entered, may_go):
        os.close(descriptor)
    said, status = b"", None
    try:
        with os.fdopen(answer, "rb") as pipe:
            try:
                meanwhile()
                if readable(entered, _SECONDS) and os.read(entered, 1):
                    _map_everybody(host, child)
                    os.write(let_go, b"1")
            except OSError:
                pass  # this namespace may not map its users: the child hears nothing, and ends
            finally:
                os.close(entered)
                os.close(let_go)
            meanwhile()
            with suppress(TimeoutError):
                said = read_to_end(pipe.fileno(), _SECONDS)
                _, status = os.waitpid(child, 0)
    finally:
        if status is None:
            _end(child)
    if not said:
        raise EnvironmentUnfit(f"the trial of an emulator died (status {status})")
    rows = marshal.loads(said)  # noqa: S302 - a fork of this very process wrote it
    return None if rows is None else {row["probe"]: ProbeResult(**row) for row in rows}


def _end(child: int) -> None:
    """End a trial: asked first, it ends its probes, which are a process group of their own."""
    for number, seconds in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, _GRACE)):
        with suppress(ProcessLookupError):
            os.kill(child, number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(ChildProcessError):
                if os.waitpid(child, os.WNOHANG)[0]:
                    return
            time.sleep(0.01)


def _map_everybody(host: Host, process: int) -> None:
    """Let the namespace have all users that there are here, as themselves.

    Otherwise its root could not reach an emulator below somebody's home. Raises OSError.
    """
    for kind in ("uid_map", "gid_map"):
        rows = [line.split() for line in host.text(f"/proc/self/{kind}").splitlines()]
        text = "".join(f"{inside} {inside} {count}\n" for inside, _, count in rows)
        descriptor = os.open(f"/proc/{process}/{kind}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _inside(
    host: Host, candidates: Sequence[Candidate], tell: int, say_entered: int, may_go: int
) -> None:
    """What the child does; it leaves with os._exit whatever happens."""
    answer = b""
    try:
        signal.signal(signal.SIGTERM, _leave)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        registry = _entered(host, say_entered, may_go)
        rows = None if registry is None else _registered_and_run(registry, candidates)
        answer = marshal.dumps(rows)
    except BinfmtSetupError:
        answer = marshal.dumps(None)
    finally:
        with suppress(BaseException), os.fdopen(tell, "wb") as pipe:
            pipe.write(answer)
        os._exit(0)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _entered(host: Host, say_entered: int, may_go: int) -> Registry | None:
    """The new registry of a new namespace; None where there is none to be had."""
    before = outside(host)
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        os.write(say_entered, b"1")
        os.close(say_entered)
        if not os.read(may_go, 1):
            return None
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
        return Registry.mount_own(host, before)
    except OSError:
        return None


def _registered_and_run(
    registry: Registry, candidates: Sequence[Candidate]
) -> list[dict[str, object]]:
    """Register all, run all probes, and say what became of each.

    A candidate that the kernel refuses here is refused by the host's registry as well, which
    tells why.
    """
    names: list[str] = []
    for candidate in candidates:
        with suppress(BinfmtSetupError):
            registry.register(candidate.registration)
            names += candidate.probes
    return [dict(vars(result)) for result in run_probes(names).values()]


def _directly(candidates: Sequence[Candidate]) -> dict[str, ProbeResult]:
    """The results of starting each emulator directly on its probes, all at once."""
    return prove_candidates(
        {
            probe: candidate.registration.interpreter
            for candidate in candidates
            for probe in candidate.probes
            if available(probe)
        }
    )
