"""Private user namespaces with a binfmt_misc of their own: nobody else sees what is in it.

The steps of `run`: `enter` leaves the caller's namespaces, `own_registry` mounts a registry
and looks at it before anybody may write, `map_back` restores the caller's ids. All in this
one process, which then becomes the command: what it made ends with it, however it ends
(user_namespaces(7), mount_namespaces(7)).
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit
from binfmt_setup.system import packaged, syscalls
from binfmt_setup.system.pipes import read_to_end
from binfmt_setup.system.probes import PROBES
from binfmt_setup.system.programs import SAFE_PATH
from binfmt_setup.system.registry import Registry
from binfmt_setup.system.signals import ENDING, signal, undisturbed
from binfmt_setup.userns import denied
from binfmt_setup.userns.identity import Caller

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from binfmt_setup.system.host import Host
    from binfmt_setup.system.registry import Outside
    from binfmt_setup.userns.identity import Extent, Identity


_MAP_SECONDS = 20.0
_MAP_GRACE = 10.0  # seconds more for a helper that has to be ended
"""Seconds for newuidmap: it asks the name service, which may be slow."""
_TOOLS = (("newuidmap", "uids"), ("newgidmap", "gids"))


def caller(host: Host, *, ranges: bool) -> Caller:
    """Who runs this process; the texts about ranges only when they matter."""
    uid, gid = os.geteuid(), os.getegid()
    if not ranges and uid:
        return Caller(uid, gid)
    import pwd

    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = ""
    files = ("/proc/self/uid_map", "/proc/self/gid_map", "/etc/subuid", "/etc/subgid")
    return Caller(uid, gid, name, *(host.text(file) for file in files))


def enter(host: Host, identity: Identity) -> None:
    """Move this process into new user and mount namespaces with these ids.

    Raises EnvironmentUnfit with the cause when the kernel, a security module or newuidmap
    does not let it.
    """
    helper = None if identity.writer == "self" else _MapWriter(host, identity)
    try:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
        except OSError as error:
            raise denied.explain("unshare", error, host) from error
        if helper:
            helper.write()
        else:
            _map_self(host, identity.uids[0], identity.gids[0])
    finally:
        if helper:
            helper.end()
    try:
        # Slave, not private: what is mounted outside later (a home directory by an automounter)
        # is seen here, and what is mounted here is not seen outside.
        syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_SLAVE)
    except OSError as error:
        raise denied.explain("mount", error, host) from error


def map_back(host: Host, uid: int, gid: int) -> None:
    """Enter a second user namespace, where this namespace's root has these ids again.

    The kernel picks the registry of the nearest namespace upwards that has one: the first.
    Raises EnvironmentUnfit.
    """
    try:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except OSError as error:
        raise denied.explain("unshare", error, host) from error
    _map_self(host, (uid, 0, 1), (gid, 0, 1))


def _map_self(host: Host, uids: Extent, gids: Extent) -> None:
    """Map one's own user and group, which needs nobody's permission.

    The group only after setgroups(2) was given up: without it one could drop a group that
    is denied something.
    """
    lines = {"setgroups": "deny", "uid_map": _map_text([uids]), "gid_map": _map_text([gids])}
    try:
        for name, text in lines.items():
            _write(f"/proc/self/{name}", text)
    except OSError as error:
        raise denied.explain("map", error, host) from error


def _map_text(extents: Sequence[Extent]) -> str:
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in extents)


def _write(path: str, text: str) -> None:
    """Write once, as the kernel wants it; raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)


class _MapWriter:
    """A child that stays outside, where one may map more than one's own id.

    It waits until its parent is in the new namespace, writes the maps, and tells how that
    went. It ends with its parent, however that ends: the pipe it waits on closes.
    """

    def __init__(self, host: Host, identity: Identity) -> None:
        self._host = host
        wait, self._start = os.pipe()
        self._answer, tell = os.pipe()
        parent = os.getpid()
        self._child = os.fork()
        if self._child:
            os.close(wait)
            os.close(tell)
            return
        os.close(self._start)
        os.close(self._answer)
        _write_maps_when_told(host, identity, parent, wait, tell)

    def write(self) -> None:
        """Have the maps written; raises EnvironmentUnfit."""
        os.write(self._start, b"1")
        try:
            said = read_to_end(self._answer, _MAP_SECONDS * len(_TOOLS) + _MAP_GRACE)
        except TimeoutError as late:
            raise EnvironmentUnfit(
                f"mapping the user ids does not end: {late}", code="subuid-refused",
                hint="do without a range: --map-users one",
            ) from late  # fmt: skip
        kind, _, words = said.decode("utf-8", "replace").partition("\n")
        if kind == "errno":
            number = int(words)
            error = OSError(number, os.strerror(number))
            raise denied.explain("map", error, self._host) from error
        if kind != "ok":
            raise EnvironmentUnfit(
                words or "the process that maps the user ids died", code=kind or "subuid-refused",
                hint="do without a range: --map-users one",
            )  # fmt: skip

    def end(self) -> None:
        """Let the child go and wait until it is gone."""
        os.close(self._start)
        os.close(self._answer)
        os.waitpid(self._child, 0)


def _write_maps_when_told(
    host: Host, identity: Identity, process: int, wait: int, tell: int
) -> None:
    """What the child does; it leaves with os._exit whatever happens."""
    answer = "subuid-refused\n"
    try:
        if os.read(wait, 1):
            answer = _written(host, identity, process)
    except OSError as error:
        answer = f"errno\n{error.errno}"
    except BinfmtSetupError as error:
        answer = f"{error.code}\n{error.message}"
    finally:
        with suppress(OSError):
            os.write(tell, answer.encode("utf-8", "replace"))
        os._exit(0)


def _written(host: Host, identity: Identity, process: int) -> str:
    """Write the maps of a process; the answer for its parent. Raises OSError."""
    if identity.writer == "root":
        _write(f"/proc/{process}/uid_map", _map_text(identity.uids))
        _write(f"/proc/{process}/gid_map", _map_text(identity.gids))
        return "ok"
    for tool, kind in _TOOLS:
        path = shutil.which(tool, path=SAFE_PATH)
        if not path:
            return f"newuidmap-missing\n{tool} is not installed (package uidmap or shadow-utils)"
        extents = identity.uids if kind == "uids" else identity.gids
        words = _map_text(extents).split()
        done = host.run((path, str(process), *words), _MAP_SECONDS)
        if done.status:
            return f"subuid-refused\n{tool} failed with status {done.status}: {done.errors.strip()}"
    return "ok"


def own_registry(host: Host, before: Outside) -> Registry:
    """A new registry for the namespace that was entered, once it is seen to be one's own.

    `before` is what `registry.outside` gave there. Raises EnvironmentUnfit.
    """
    try:
        return Registry.mount_own(host, before)
    except OSError as error:
        raise denied.explain("mount", error, host) from error


def runs_natively(probe: str) -> bool:
    """Whether the kernel runs this probe while the registry is still empty.

    A 64-bit kernel may or may not run the 32-bit programs of its family; only trying tells.
    """
    devnull = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, devnull, number) for number in (0, 1, 2)]
        path = f"{PROBES}/{probe}"
        process = os.posix_spawn(path, [path], {}, file_actions=actions)
    except OSError:
        return False
    finally:
        os.close(devnull)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def become(path: str, arguments: Sequence[str], environment: dict[bytes, bytes]) -> NoReturn:
    """Become the command; returns never, raises OSError.

    Python ignores SIGPIPE and SIGXFSZ, which a program does not expect to inherit.
    """
    packaged.leave()
    # One that Python noted and had no time for would be lost. From here on they just end this.
    with undisturbed():
        for number in ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execve(path, list(arguments), environment)
