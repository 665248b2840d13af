"""Whose an entry is: what files say of it, and the traces that each tool leaves.

Names, interpreter paths and flags were read in the sources of the tools; each row names
its source. Several tools put QEMU's binaries into a container image and pin them from
there with F: their interpreter's path means nothing on the host.
"""

from __future__ import annotations

import posixpath

from binfmt_setup.emulators.choice import IN_OUR_IMAGE
from binfmt_setup.model.records import Record
from binfmt_setup.model.targets import target_of_entry

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from binfmt_setup.model.binfmt_d import ConfigFile
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry, Registration

    OriginName = Literal[
        "wsl", "rosetta", "buildkit", "qus", "hypriot", "tonistiigi-binfmt", "docker-binfmt",
        "multiarch", "alpine-openrc", "update-binfmts", "distribution", "administrator",
        "binfmt-setup", "box64", "fex", "wasm",
    ]  # fmt: skip

    OwnerName = Literal[
        "binfmt-setup", "distribution", "administrator", "update-binfmts", "unknown"
    ]  # fmt: skip


_OF_PACKAGES = "/usr/lib/"


class Origin(Record):
    """A tool that leaves entries behind; `words` finish the sentence "it was left by …"."""

    name: OriginName
    words: str


WSL = Origin("wsl", "WSL, for Windows programs")
ROSETTA = Origin("rosetta", "Apple's Rosetta, as Lima, UTM or Docker Desktop register it")
BOX64 = Origin("box64", "box64, or its sisters box86 and box32")
FEX = Origin("fex", "FEX")
WASM = Origin("wasm", "a runtime for WebAssembly")
BUILDKIT = Origin("buildkit", "someone who registered BuildKit's own emulators")
QUS = Origin("qus", "dbhi/qus (the image aptman/qus)")
HYPRIOT = Origin("hypriot", "hypriot/qemu-register")
TONISTIIGI = Origin("tonistiigi-binfmt", "tonistiigi/binfmt (docker/setup-qemu-action)")
DOCKER = Origin("docker-binfmt", "docker/binfmt (LinuxKit)")
MULTIARCH = Origin(
    "multiarch",
    "multiarch/qemu-user-static, or QEMU's own qemu-binfmt-conf.sh",
)
OUR_IMAGE = Origin("binfmt-setup", "this tool's container image")
ALPINE = Origin("alpine-openrc", "OpenRC's qemu-binfmt service")
UPDATE_BINFMTS = Origin("update-binfmts", "update-binfmts (package binfmt-support)")


def _wsl(entry: Registration) -> bool:
    """microsoft/WSL, src/linux/init/binfmt.h: names, `MZ`, /init, P or FP.

    Older releases show /tools/init.
    """
    return entry.name in ("WSLInterop", "WSLInterop-late") or (
        entry.magic == b"MZ" and entry.interpreter in ("/init", "/tools/init")
    )


def _rosetta(entry: Registration) -> bool:
    """Apple's instructions and UTM's (docs.getutm.app, advanced/rosetta): /media/rosetta.

    lima-vm/lima, boot/05-rosetta-volume.sh: /mnt/lima-rosetta; Docker Desktop and
    podman machine: /run/rosetta. The program is always called rosetta.
    """
    return posixpath.basename(entry.interpreter) == "rosetta" or entry.name == "rosetta"


def _box64(entry: Registration) -> bool:
    """ptitSeb/box64, docs/COMPILE.md and system/box64.conf.cmake: /usr/local/bin/box64, no flags.

    Others write the flags they like, and names in capitals: the program is always called so.
    """
    return posixpath.basename(entry.interpreter).lower() in ("box64", "box86", "box32")


def _fex(entry: Registration) -> bool:
    """FEX-Emu/FEX, Data/binfmts: FEX-x86 and FEX-x86_64 with POCF; FEXInterpreter, of late FEX."""
    return posixpath.basename(entry.interpreter) in ("FEXInterpreter", "FEX", "FEXLoader")


def _wasm(entry: Registration) -> bool:
    """WebAssembly's core specification, 5.5.16: a module starts with these bytes."""
    return entry.magic.startswith(b"\0asm") or entry.extension in ("wasm", "wat")


def _buildkit(entry: Registration) -> bool:
    """moby/buildkit's release archives bring buildkit-qemu-ARCH beside buildkitd."""
    return posixpath.basename(entry.interpreter).startswith("buildkit-qemu-")


def _qus(entry: Registration) -> bool:
    """dbhi/qus, run.sh: the image keeps its binaries in /qus/bin."""
    return entry.interpreter.startswith("/qus/bin/")


def _emulator_in(directory: str, entry: Registration, suffix: str = "") -> str:
    """The name of QEMU's program that is the interpreter, if it lies there; else nothing."""
    where, _, name = entry.interpreter.rpartition("/")
    target = name.removeprefix("qemu-").removesuffix(suffix)
    meant = f"{where}/" == directory and name == f"qemu-{target}{suffix}"
    return f"qemu-{target}" if meant and target.replace("_", "").isalnum() else ""


def _our_image(entry: Registration) -> bool:
    """deploy/image: its emulators lie where no package has any."""
    return _emulator_in(IN_OUR_IMAGE, entry) == entry.name


def _hypriot(entry: Registration) -> bool:
    """hypriot/qemu-register, register.sh: /qemu-ARCH with CF, which reads back as OCF."""
    return bool(_emulator_in("/", entry)) and entry.flags == "OCF"


def _docker(entry: Registration) -> bool:
    """linuxkit/linuxkit, pkg/binfmt/etc/binfmt.d/00_linuxkit.conf, which docker/binfmt uses.

    CF as in tonistiigi/binfmt; its arm64 row is a byte shorter, its ppc64le row masks the
    OSABI byte with fc.
    """
    if not _like_tonistiigi(entry):
        return False
    short_arm64 = entry.name == "qemu-aarch64" and len(entry.magic) == 19
    return short_arm64 or (entry.name == "qemu-ppc64le" and entry.mask[7:8] == b"\xfc")


def _like_tonistiigi(entry: Registration) -> bool:
    """tonistiigi/binfmt, cmd/binfmt/main.go: the name is the binary's, flags CF or CFP.

    QEMU_BINARY_PATH and QEMU_BINARY_PREFIX may change directory and name.
    """
    return _emulator_in("/usr/bin/", entry) == entry.name and entry.flags in ("OCF", "POCF")


def _multiarch(entry: Registration) -> bool:
    """multiarch/qemu-user-static, containers/latest/register.sh: qemu-binfmt-conf.sh.

    Called with --qemu-suffix -static; F comes from `-p yes`, C from `-c yes`.
    """
    return _emulator_in("/usr/bin/", entry, "-static") == entry.name and entry.flags in (
        "",
        "F",
        "OCF",
    )


def _alpine(entry: Registration) -> bool:
    """The qemu-binfmt service of Alpine's package qemu-openrc: OC unless configured."""
    return _emulator_in("/usr/bin/", entry) == entry.name and entry.flags == "OC"


_BY_LOOKS: tuple[tuple[Callable[[Registration], bool], Origin], ...] = (
    (_wsl, WSL),
    (_rosetta, ROSETTA),
    (_box64, BOX64),
    (_fex, FEX),
    (_wasm, WASM),
    (_buildkit, BUILDKIT),
    (_qus, QUS),
    (_our_image, OUR_IMAGE),
    (_hypriot, HYPRIOT),
    (_docker, DOCKER),
    (_like_tonistiigi, TONISTIIGI),
    (_multiarch, MULTIARCH),
    (_alpine, ALPINE),
)


OTHER_EMULATORS = (ROSETTA, BOX64, FEX, WASM)
"""Those that are told by their name whoever has registered them."""


class Owner(Record):
    """Whose an entry is.

    `config` is the binfmt.d file that registers an entry of its name at boot, `same` tells
    whether it registers this very entry, flags and all. `origin` is what its traces tell.
    """

    name: OwnerName
    config: str = ""
    same: bool = False
    origin: Origin | None = None

    @property
    def ours(self) -> bool:
        """Whether this tool made it."""
        return self.name == "binfmt-setup"

    @property
    def by_distribution(self) -> bool:
        """Whether a package registers it so, flags and all."""
        return self.name == "update-binfmts" or (self.name == "distribution" and self.same)

    @property
    def shown(self) -> str:
        """For tables: where no file tells, what it looks like."""
        return self.origin.name if self.name == "unknown" and self.origin else self.name


def owner_of(facts: HostFacts, entry: Entry) -> Owner:
    """Whose an entry is, and what left it: what files say outweighs what it looks like.

    A file that says something else of an entry's name is no proof that it made this one.
    """
    config = facts.boot.config_of(entry.name)
    if config is not None and config.owned and config.file_name != f"{entry.name}.conf":
        config = facts.boot.config_of_others(entry.name)  # ours only says that it comes first
    found = _origin(facts, entry, config)
    if _made_by_us(facts, entry):
        return Owner("binfmt-setup", config.path if config else "", same=True, origin=found)
    rules = config.registrations if config else ()
    if config is None or not any(rule.says_the_same(entry.registration) for rule in rules):
        known = facts.boot.update_binfmts_keeps(entry.registration)
        owner: OwnerName = "update-binfmts" if known else "unknown"
        return Owner(owner, config.path if config else "", origin=found)
    packaged = config.path.startswith(_OF_PACKAGES)
    return Owner(
        "distribution" if packaged else "administrator", config.path, same=True, origin=found
    )


def _made_by_us(facts: HostFacts, entry: Entry) -> bool:
    """Whether this tool made an entry: its own binfmt.d file says the same.

    One that was made in the tool's image has no file: its emulator lay where no other has it.
    A bare user namespace owns no files, and those it sees tell of the host's registry. In its
    own one an entry of ours bears a mark in the registry itself (`Registry.register`).
    """
    target = target_of_entry(entry.name)
    if target is None or entry.name != target.entry_name:
        return False
    if facts.registry.own and not facts.process.own_files:
        return entry.name in facts.registry.marked
    config = facts.boot.own_config(target)
    if config is None:
        return _our_image(entry.registration)
    return entry.registration in config.registrations


def _origin(facts: HostFacts, entry: Entry, config: ConfigFile | None) -> Origin | None:
    """Who left an entry; None when nothing tells. Another emulator is told by its own name."""
    looks = next((origin for fits, origin in _BY_LOOKS if fits(entry.registration)), None)
    if config is not None and any(
        rule.name == entry.name and rule.interpreter == entry.interpreter
        for rule in config.registrations
    ):
        return _maker(config, looks)
    if looks in OTHER_EMULATORS:
        return looks
    if facts.boot.update_binfmts_keeps(entry.registration):
        return UPDATE_BINFMTS
    named = looks not in (MULTIARCH, TONISTIIGI, DOCKER) or target_of_entry(entry.name)
    return looks if named else None


def _maker(config: ConfigFile, looks: Origin | None) -> Origin | None:
    """Whose a file is that registers an entry: packages and administrators have theirs."""
    if config.owned:
        return Origin("binfmt-setup", "binfmt-setup")
    if looks in OTHER_EMULATORS:
        return looks
    if config.path.startswith(_OF_PACKAGES):
        return Origin("distribution", f"a package of the distribution ({config.path})")
    return looks if looks is WSL else Origin("administrator", f"an administrator ({config.path})")


def left_by(facts: HostFacts, entry: Entry) -> str:
    """The words that finish a sentence about an entry: ", left by …", or nothing."""
    found = owner_of(facts, entry).origin
    return f" (left by {found.words})" if found else ""
