"""The options and arguments of all commands, each declared here and nowhere else.

`actions` names them as the types of its parameters. This module imports the command line
library, which most runs do without: see `reader`.
"""

from __future__ import annotations

from typing import Annotated

import typer

from binfmt_setup.cli.choices import CheckFormat, Format, StatusFormat
from binfmt_setup.userns.identity import Users

Platforms = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PLATFORM]...",
        help="linux/arm64, arm64, aarch64, armhf, arm/v7, …, or 'all'.",
        show_default=False,
    ),
]
Root = Annotated[
    str,
    typer.Option(
        metavar="DIR", help="A host's file tree to inspect or prepare; its kernel is not asked."
    ),
]
Config = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="The wish list, read where no platform is named.  [default: /etc/binfmt-setup.toml]",
        show_default=False,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell each step.")]
AnyFormat = Annotated[Format, typer.Option("--format", help="What to print.")]
FormatOfStatus = Annotated[StatusFormat, typer.Option("--format", help="What to print.")]
Output = Annotated[
    str,
    typer.Option(metavar="FILE", help="Put the answer into FILE, whole or not at all."),
]
FormatOfCheck = Annotated[CheckFormat, typer.Option("--format", help="What to print.")]
Private = Annotated[
    bool, typer.Option("--private", help="Work in the registry of this user namespace.")
]
Qemu = Annotated[
    str,
    typer.Option(
        metavar="SOURCE",
        help="Take QEMU from a directory, an archive (tar, .deb, docker save, OCI) or image:REF.",
    ),
]
QemuSha256 = Annotated[
    str,
    typer.Option(
        "--qemu-sha256",
        metavar="HEX",
        help="Refuse the archive or image of --qemu unless this is its SHA-256.",
    ),
]
QemuStore = Annotated[
    str,
    typer.Option(
        metavar="DIR",
        help="Keep what --qemu unpacks here.  [default: /usr/local/lib/binfmt-setup/qemu]",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--check", help="Dry run: show what would change.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show each change line by line.")]
NoPersist = Annotated[bool, typer.Option("--no-persist", help="Until the next reboot only.")]
Emulator = Annotated[
    str,
    typer.Option(metavar="FILE", help="Register this emulator, QEMU or not, for one platform."),
]
InstallQemu = Annotated[
    bool, typer.Option("--install-qemu", help="Install QEMU's package where it is missing.")
]
Credentials = Annotated[
    bool,
    typer.Option("--credentials", help="Flag C: sudo works; every user can become root."),
]
NoCredentials = Annotated[
    bool, typer.Option("--no-credentials", help="Without flag C, even where it was asked for.")
]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Replace what another tool registered, even if it works."),
]
Hold = Annotated[
    bool,
    typer.Option(
        "--hold", help="Then stay until SIGTERM: keep mounts, and entries that others drop."
    ),
]
Keep = Annotated[
    bool, typer.Option("--keep", help="Bring entries back that other programs drop (systemd).")
]
NoKeep = Annotated[bool, typer.Option("--no-keep", help="Not any more.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 on warnings as well.")]
Engine = Annotated[
    str,
    typer.Option(
        metavar="NAME,…",
        help="Build with docker, podman, buildah, buildkit, or 'auto': those there are.",
    ),
]
Security = Annotated[
    bool, typer.Option("--security", help="Can the entries be trusted? Runs no probe.")
]
Deep = Annotated[
    bool, typer.Option("--deep", help="Exercise each emulator: what can it do of what builds do?")
]
DeepInstall = Annotated[
    bool, typer.Option("--deep", help="Exercise a new emulator before it serves anybody.")
]
Candidates = Annotated[
    list[str] | None,
    typer.Option(
        "--qemu", metavar="SOURCE", show_default=False,
        help="With --deep: exercise QEMU from here, without registering it; may be repeated.",
    ),
]  # fmt: skip
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only the verdict.")]
File = Annotated[
    str, typer.Argument(metavar="FILE", help="A program, or a file that should be one.")
]
Chroot = Annotated[
    str, typer.Option(metavar="DIR", help="Use DIR as the root directory it runs in.")
]
Force = Annotated[bool, typer.Option("--force", help="Even while programs run under emulation.")]
CommandWords = Annotated[list[str], typer.Argument(metavar="COMMAND...", show_default=False)]
Emulated = Annotated[
    list[str] | None,
    typer.Option(
        "--platform", "-P", metavar="PLATFORM", show_default=False,
        help="Emulate this one; may be repeated. None: that of COMMAND, if it is a foreign "
        "program, else every container platform.",
    ),
]  # fmt: skip
MapUsers = Annotated[
    Users | None,
    typer.Option(
        "--map-users", show_default=False,
        help="User ids inside. auto: one's own and the range in /etc/subuid; one: one's own; "
        "current: all there are now (for root, and its default).",
    ),
]  # fmt: skip
Shell = Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]
MapRoot = Annotated[bool, typer.Option("--map-root", help="Be root inside.")]
