"""What a command is asked for: one record, made of the command line and the wish list.

It travels from the command line down to what changes the host, under one name and as it is.
"""

from __future__ import annotations

from binfmt_setup.model.records import NOTHING, Record

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from binfmt_setup.model.targets import Platform


class Source(Record):
    """Where QEMU shall come from, and where what is unpacked is kept.

    `environment` is the caller's, for the proxies and credentials of a registry. `sha256` is what
    the content must have, where the user said so, `wanted` the targets that are needed (None:
    all).
    """

    kind: Literal["directory", "archive", "image"]
    text: str
    store: str = ""
    environment: Mapping[str, str] = NOTHING
    sha256: str = ""
    wanted: frozenset[str] | None = None


class WishList(Record):
    """What /etc/binfmt-setup.toml says; None or empty where it says nothing."""

    platforms: tuple[str, ...] = ()
    qemu: str = ""
    qemu_sha256: str = ""
    credentials: bool | None = None
    strict: bool = False
    prefer: tuple[str, ...] = ()
    keep: bool | None = None


class Request(Record):
    """What was asked for.

    `scope` tells how `platforms` came about: exactly these were "named", or "all" was, or nothing
    was said and they are the "usual" ones. `check`: only tell what would be done. `credentials`:
    with the C flag or without it; None: as it was chosen before. `take_over`: replace what others
    registered, even where it would do. `deep`: exercise a new emulator
    first. `keep`: bring back entries that other programs drop; None: as it was chosen before.
    `emulator`: the file to register. `prefer`: names of entries, of which the first that takes a
    platform's programs comes first; None: as it was chosen before. `strict`: a warning makes the
    answer a no.
    """

    platforms: tuple[Platform, ...] = ()
    scope: Literal["named", "all", "usual"] = "usual"
    check: bool = False
    persist: bool = True
    private: bool = False
    credentials: bool | None = None
    qemu: Source | None = None
    install_qemu: bool = False
    take_over: bool = False
    hold: bool = False
    deep: bool = False
    keep: bool | None = None
    emulator: str = ""
    prefer: tuple[str, ...] | None = None
    force: bool = False
    strict: bool = False

    @property
    def source(self) -> str:
        """What --qemu said; empty without it."""
        return self.qemu.text if self.qemu else ""

    @property
    def named(self) -> bool:
        """Whether exactly these platforms are meant."""
        return self.scope == "named"
