"""Reading the wish list: the host's own, or the file that --config names."""

from __future__ import annotations

import errno
import os

from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing, UsageProblem
from binfmt_setup.model.reading import Absent, Unreadable
from binfmt_setup.model.request import WishList
from binfmt_setup.system.tree import Tree

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.system.host import Host


PATH = "/etc/binfmt-setup.toml"
_NOTHING = WishList()


def read_wish_list(host: Host, config: str = "") -> WishList:
    """What the file asks for; nothing where the host has none. Raises BinfmtSetupError."""
    path = os.path.abspath(config) if config else PATH  # noqa: PTH100 - pathlib loads slowly
    said = (Tree() if config else host).read(path)
    if isinstance(said, Absent):
        if config:
            raise UsageProblem(f"--config {config}: no such file", hint="name an existing file")
        return _NOTHING
    if isinstance(said, Unreadable):
        raise _unreadable(path, said)
    _refuse_untrusted(host, path, named=bool(config))
    from binfmt_setup.model.wish_list import parse_wish_list

    return parse_wish_list(said, path)


def _unreadable(path: str, said: Unreadable) -> EnvironmentUnfit | PrivilegesMissing:
    message = f"{path} cannot be read: {os.strerror(said.errno)}"
    if said.errno in (errno.EACCES, errno.EPERM):
        return PrivilegesMissing(message, hint="run it as root, or name the platforms")
    return EnvironmentUnfit(message, hint="make it a regular file, or move it away")


def _refuse_untrusted(host: Host, path: str, *, named: bool) -> None:
    """What root reads decides what runs as root: raises EnvironmentUnfit if others can write it."""
    if host.user_and_machine()[0] != 0:
        return
    from binfmt_setup.system.path_trust import trusted_owners, why_not_trusted

    judged = why_not_trusted(path, trusted_owners()) if named else host.path_judge().culprit(path)
    if judged is not None:
        cure = f"run: {' '.join(judged.command)}" if judged.command else "move it to root's files"
        raise EnvironmentUnfit(
            f"{path} decides what runs as root, and is not root's alone: {judged.reason}",
            hint=cure, code="wish-list-untrusted",
        )  # fmt: skip
