"""Single writes to the registry, each with a typed error for what went wrong."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from binfmt_setup.model.errors import (
    BinfmtSetupError,
    EnvironmentUnfit,
    NoEmulator,
    PrivilegesMissing,
)
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.registration import BadRegistration, Registration, parse_entry

if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


def register(host: Host, registration: Registration) -> None:
    """Register one entry and read it back; raises the typed error for what went wrong."""
    try:
        host.write_kernel(f"{BINFMT_MISC}/register", registration.line)
        text = host.text(f"{BINFMT_MISC}/{registration.name}")
        seen = parse_entry(registration.name, text).registration
    except OSError as error:
        raise _refused(error, registration) from error
    except BadRegistration as error:
        raise EnvironmentUnfit(f"entry {registration.name} reads back wrong: {error}") from error
    if seen != registration:
        delete_entry(host, registration.name)
        raise EnvironmentUnfit(
            f"entry {registration.name} reads back as {seen.line!r}, not as written",
            hint="report this kernel", code="entry-differs",
        )  # fmt: skip


def _refused(error: OSError, registration: Registration) -> BinfmtSetupError:
    """Why the kernel did not take a registration, by errno (fs/binfmt_misc.c)."""
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
            words, hint="root lacks the rights here (a container?): try a privileged one",
            code="access-denied",
        )  # fmt: skip
    if error.errno == errno.EROFS:
        return EnvironmentUnfit(
            words, hint="remount it read-write, or run outside the container", code="read-only"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return EnvironmentUnfit(words, hint="make room and run it again", code="no-space")
    if error.errno in (errno.ENODEV, errno.ENOENT):
        return EnvironmentUnfit(words, code="binfmt-missing")
    return EnvironmentUnfit(words)


def delete_entry(host: Host, name: str) -> None:
    """Delete one entry, by name; one that is gone already is fine.

    Never the global `status`, where the same write would delete everybody's entries.
    """
    if name in ("status", "register", "", ".", "..") or "/" in name:
        raise EnvironmentUnfit(f"{name!r} is not an entry")
    try:
        host.write_kernel(f"{BINFMT_MISC}/{name}", "-1")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise explained(error, f"cannot remove entry {name}") from error
