"""The registry of binfmt_misc: the one class that mounts, lists, locks and writes it.

Nothing else in this package writes to the kernel's registry. Each failure becomes a typed error,
told by its errno (fs/binfmt_misc.c).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import contextmanager, suppress

from binfmt_setup.model.errors import (
    BinfmtSetupError,
    Busy,
    EnvironmentUnfit,
    NoEmulator,
    PrivilegesMissing,
)
from binfmt_setup.model.mountinfo import BINFMT_MISC, binfmt_mount, parse_mountinfo
from binfmt_setup.model.reading import Absent, Unreadable, not_read
from binfmt_setup.model.records import Record, replace
from binfmt_setup.model.registration import BadRegistration, Entry, Registration, parse_entry
from binfmt_setup.model.registry_facts import UnreadEntry
from binfmt_setup.system import syscalls

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Iterator

    from binfmt_setup.system.host_access import HostAccess


_NOT_ENTRIES = frozenset({"register", "status"})
_ENTRY_BYTES = 8192  # an entry's text is at most a name, two hex fields and 1920 bytes
_MOUNT_FLAGS = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
_THAW = 0xC0045878  # FITHAW (linux/fs.h)
_LOCK_SECONDS = 5.0
_MARK = stat.S_ISVTX
_MARKED_MODE = 0o644 | _MARK


class Outside(Record):
    """What a process can see of registries before it enters a user namespace of its own."""

    user_namespace: str
    devices: frozenset[str]


def outside(host: HostAccess) -> Outside:
    """What is here now; to be compared with what is there after entering a namespace."""
    return Outside(host.link_target("/proc/self/ns/user"), _devices(host))


def _devices(host: HostAccess) -> frozenset[str]:
    """The devices (major:minor) of all instances that are mounted here.

    From mountinfo, as looking at the place itself may trigger systemd's automount.
    """
    mounts = parse_mountinfo(host.text("/proc/self/mountinfo"))
    return frozenset(mount.device for mount in mounts if mount.fs_type == "binfmt_misc")


class Registry:
    """One instance of binfmt_misc, at its usual place or through an open directory.

    Through the directory nothing else is read or written that comes to lie at the path.
    """

    def __init__(self, host: HostAccess, directory: int | None = None) -> None:
        self._host = host
        self._directory = directory

    # -- which one it is, and whose ----------------------------------------------------

    @classmethod
    def mount_own(cls, host: HostAccess, before: Outside) -> Registry:
        """Mount a new registry for the namespace this process has entered, and hold it open.

        Raises OSError or TookTooLong where it cannot be mounted, EnvironmentUnfit where it may be
        another's.
        """
        host = replace(host, registry=BINFMT_MISC)
        cls(host).mount(again=True)
        directory = os.open(host.path(host.registry), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        own = cls(host, directory)
        if doubt := own.why_not_own(before):
            own.close()
            raise EnvironmentUnfit(
                f"the registry that was mounted may not be this namespace's own: {doubt}; "
                "nothing was written to it",
                hint="report this kernel", code="registry-not-own",
            )  # fmt: skip
        return own

    def mount(self, *, again: bool) -> bool:
        """Mount it at its place; False when the same instance was there already.

        Looking into the directory may be all it takes: an automount does the rest. One that is
        broken answers with an error, or never: mounting over it does not ask it. With `again`
        it is mounted in any case: in a user namespace that has no registry yet, that makes a
        new and empty one. Raises OSError, or TookTooLong where an automount keeps it away.
        """
        where = self._host.path(self._host.registry)
        if self._automounted():
            from binfmt_setup.system import automounts  # few hosts have one

            if not again and automounts.brings_registry(self._host):
                return True
            automounts.require_passable(where)
        try:
            syscalls.mount("binfmt_misc", where, "binfmt_misc", _MOUNT_FLAGS)
        except OSError as error:
            # The kernel refuses one file system twice at one place: this namespace's instance
            # is the one that is mounted here already.
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    def _in_reach(self) -> bool:
        """Whether it can be opened without waiting for an automount, which may be without end."""
        if not self._automounted():
            return True
        from binfmt_setup.system import automounts

        return automounts.brings_registry(self._host)

    def _automounted(self) -> bool:
        """Whether the place shows an automount that nobody triggered; seen without asking it."""
        mounts = parse_mountinfo(self._host.text("/proc/self/mountinfo"))
        return binfmt_mount(mounts, self._host.registry).state == "automount"

    def is_new(self, since: float) -> bool:
        """Whether this instance came into being since then, by CLOCK_REALTIME_COARSE.

        The kernel makes an instance with its first mount and ends it with its last one; so one
        that is new is mounted nowhere else. `register` keeps the time of its making.
        """
        return os.stat(self._host.path(f"{self._host.registry}/register")).st_ctime >= since

    def unmount(self) -> None:
        """Take away the uppermost mount; raises OSError."""
        syscalls.unmount(self._host.path(self._host.registry))

    def close(self) -> None:
        """Let go of the directory."""
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    def is_own(self) -> bool:
        """Whether this process's user namespace made it, if this process is root there.

        Ownership of the files does not tell: a namespace that maps the outer root sees the
        outer registry as root's, too. The kernel thaws a file system for nobody but root of the
        namespace that made it (fs/ioctl.c), and does nothing to one that is not frozen. Of
        whoever is not root there, or lacks that right, ownership is all one can ask.
        """
        with suppress(OSError), self._opened() as directory:
            try:
                fcntl.ioctl(directory, _THAW, 0)
            except OSError as error:
                if error.errno == errno.EPERM and self._may_not_ask():
                    return os.stat("register", dir_fd=directory).st_uid == 0
                return error.errno == errno.EINVAL
        return False

    def _may_not_ask(self) -> bool:
        """Whether EPERM says nothing of the registry; where the outer root is mapped it does."""
        if os.geteuid() != 0:
            return True
        from binfmt_setup.model.facts import maps_outer_root
        from binfmt_setup.system.denied_mounts import may_administer

        uid_map = self._host.text("/proc/self/uid_map")
        return not (may_administer(self._host) or maps_outer_root(uid_map))

    def why_not_own(self, before: Outside) -> str:
        """What speaks against its being new, empty and one's own; empty if nothing does.

        In a namespace that has mounted none, the path shows the parent's registry, and root
        there may edit it.
        """
        if self._host.link_target("/proc/self/ns/user") == before.user_namespace:
            return "this is still the caller's user namespace"
        with self._opened() as directory:
            status = os.fstat(directory)
            device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
            if device in before.devices:
                return "it is the one that was mounted outside"
            if device not in _devices(self._host):
                return "it is no binfmt_misc"
            if os.stat("register", dir_fd=directory).st_uid != 0:
                return "it belongs to somebody else"
            entries = set(os.listdir(directory)) - _NOT_ENTRIES
        return f"it has entries already ({', '.join(sorted(entries)[:3])})" if entries else ""

    # -- reading -----------------------------------------------------------------------

    def entries(self) -> Iterator[Entry | UnreadEntry]:
        """All entries in match order; raises OSError when they cannot be listed."""
        for name, text in self.texts():
            if isinstance(text, Unreadable):
                yield UnreadEntry(name, text)
            elif not isinstance(text, Absent):  # absent: it went since the list was read
                yield _parsed(name, text)

    def entry(self, name: str) -> Entry | None:
        """One entry, by its name; None where there is none, or one that makes no sense."""
        with suppress(OSError), self._opened() as directory:
            text = _read_at(directory, name)
            found = _parsed(name, text) if isinstance(text, str) else None
            return found if isinstance(found, Entry) else None
        return None

    def texts(self) -> Iterator[tuple[str, str | Absent | Unreadable]]:
        """Names and texts of all entries, in match order; raises OSError.

        The kernel lists an instance newest first, which is the order in which it matches;
        in a captured tree the modification times keep that order.
        """
        with self._opened() as directory:
            for name in self._newest_first(directory):
                if name not in _NOT_ENTRIES:
                    yield name, _read_at(directory, name)

    def _newest_first(self, directory: int) -> list[str]:
        with os.scandir(directory) as found:
            if self._host.in_place:
                return [item.name for item in found]
            dated = [(item.stat().st_mtime_ns, item.name) for item in found]
        return [name for _, name in sorted(dated, reverse=True)]

    def marked(self) -> frozenset[str]:
        """The names of entries that bear this tool's mark; see `register`."""
        with suppress(OSError), self._opened() as directory, os.scandir(directory) as found:
            return frozenset(item.name for item in found if item.stat().st_mode & _MARK)
        return frozenset()

    # -- writing -----------------------------------------------------------------------

    def register(self, registration: Registration, *, mark: bool = False) -> None:
        """Register one entry and read it back; raises the typed error for what went wrong.

        With `mark` the entry's file gets a bit that means nothing to the kernel and that nobody
        else sets. It is gone with the entry, and so tells whose it is where no file can.
        """
        try:
            with self._opened() as directory:
                _write_at(directory, "register", registration.line)
                if registration.off:
                    _write_at(directory, registration.name, "0")
                if mark:
                    os.chmod(registration.name, _MARKED_MODE, dir_fd=directory)
                text = _read_at(directory, registration.name)
            seen = parse_entry(registration.name, text if isinstance(text, str) else "").standing
        except OSError as error:
            raise _refused(error, registration) from error
        except BadRegistration as error:
            raise EnvironmentUnfit(
                f"entry {registration.name} reads back wrong: {error}"
            ) from error
        if seen != registration:
            self.delete(registration.name)
            raise EnvironmentUnfit(
                f"entry {registration.name} reads back as {seen.line!r}, not as written",
                hint="report this kernel", code="entry-differs",
            )  # fmt: skip

    def delete(self, name: str) -> None:
        """Delete one entry, by name; one that is gone already is fine.

        Never the global `status`, where the same write would delete everybody's entries.
        """
        if name in _NOT_ENTRIES or name in ("", ".", "..") or "/" in name:
            raise EnvironmentUnfit(f"{name!r} is not an entry")
        try:
            with self._opened() as directory:
                _write_at(directory, name, "-1")
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise explained(error, f"cannot remove entry {name}") from error

    @contextmanager
    def locked(self, *, alone: bool = False) -> Iterator[None]:
        """Keep others from joining in, above all the script that the boot units run.

        The lock is on `register`, which its owner alone can open: it is there wherever the
        registry is, and nowhere else. The script holds it for milliseconds and does not wait for
        ever; nor does this, unless it is the only lock (`alone`): then it raises Busy.
        """
        from binfmt_setup.system.locks import LOCK_SECONDS, held  # for those who write alone

        seconds = LOCK_SECONDS if alone else _LOCK_SECONDS
        lock = None
        # Without a registry there is nothing to lock, and nobody to keep out.
        with suppress(OSError):
            if self._host.live and self._in_reach():
                lock = self._host.open(f"{self._host.registry}/register", os.O_WRONLY)
        with held(lock):
            if lock is not None:
                self._wait(lock, seconds, alone=alone)
            yield

    def _wait(self, lock: int, seconds: float, *, alone: bool) -> None:
        from binfmt_setup.system.locks import taken, wait_for

        try:
            wait_for(
                self._host, lambda: lock if taken(lock) else None,
                f"{self._host.registry}/register", seconds,
            )  # fmt: skip
        except Busy:
            if alone:
                raise

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The directory, for as long as the block lasts; raises OSError."""
        if self._directory is not None:
            yield self._directory
            return
        where = self._host.path(self._host.registry)
        directory = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield directory
        finally:
            os.close(directory)


def _parsed(name: str, text: str) -> Entry | UnreadEntry:
    try:
        return parse_entry(name, text)
    except BadRegistration as error:
        return UnreadEntry(name, str(error))


def _read_at(directory: int, name: str) -> str | Absent | Unreadable:
    """An entry's text; absent when it vanished since the directory was listed."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            return os.read(descriptor, _ENTRY_BYTES).decode("utf-8", "surrogateescape")
        finally:
            os.close(descriptor)
    except OSError as error:
        return not_read(error)


def _write_at(directory: int, name: str, text: str) -> None:
    """Write with one write(2), as the kernel wants it; raises OSError."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(descriptor, text.encode("utf-8", "surrogateescape"))
    finally:
        os.close(descriptor)


def _refused(error: OSError, registration: Registration) -> BinfmtSetupError:
    """Why the kernel did not take a registration."""
    path = registration.interpreter
    if error.errno == errno.ENOENT:
        return NoEmulator(f"{path} is not there (any more)", hint="install QEMU and try again")
    if error.errno == errno.EACCES and os.geteuid() == 0:
        return EnvironmentUnfit(
            f"the kernel may not execute {path}",
            hint="is it on a noexec mount, or is its executable bit missing?",
            code="access-denied",
        )
    if error.errno == errno.EINVAL and "F" in registration.flags:
        return EnvironmentUnfit(
            f"this kernel refuses the registration of {registration.name}",
            hint="the F flag needs Linux 4.8 or newer", code="kernel-too-old",
        )  # fmt: skip
    return explained(error, f"cannot register {registration.name}")


def explained(error: OSError, what: str) -> BinfmtSetupError:
    """The typed error for a system call that failed, by errno."""
    words = f"{what}: {os.strerror(error.errno or errno.EIO)}"
    if error.errno in (errno.EPERM, errno.EACCES):
        if os.geteuid() != 0:
            return PrivilegesMissing(words, hint="run it as root: sudo binfmt-setup …")
        return EnvironmentUnfit(
            words, hint="even root may not: look for denials (journalctl -k -g denied), and for a "
            "file made immutable (lsattr)", code="access-denied",
        )  # fmt: skip
    if error.errno == errno.EROFS:
        return EnvironmentUnfit(
            words, hint="remount it read-write, or run outside the container", code="read-only"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentUnfit(words, hint="free some space and run it again", code="no-space")
    if error.errno in (errno.ENODEV, errno.ENOENT):
        return EnvironmentUnfit(words, code="binfmt-missing")
    return EnvironmentUnfit(words)
