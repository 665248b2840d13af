"""All commands and their options, generated: see scripts/command_table.py."""

from __future__ import annotations

from binfmt_setup.cli.reader import Command, Option

# fmt: off
# ruff: noqa: E501
COMMANDS = {
    "install": Command(
        {
            "--check": Option("check"),
            "--diff": Option("diff"),
            "--no-persist": Option("no_persist"),
            "--qemu": Option("qemu", takes_value=True),
            "--qemu-sha256": Option("qemu_sha256", takes_value=True),
            "--qemu-store": Option("qemu_store", takes_value=True),
            "--emulator": Option("emulator", takes_value=True),
            "--install-qemu": Option("install_qemu"),
            "--credentials": Option("credentials"),
            "--no-credentials": Option("no_credentials"),
            "--take-over": Option("take_over"),
            "--keep": Option("keep"),
            "--no-keep": Option("no_keep"),
            "--private": Option("private"),
            "--hold": Option("hold"),
            "--config": Option("config", takes_value=True),
            "--deep": Option("deep"),
            "--root": Option("root", takes_value=True),
            "--format": Option("format_", takes_value=True, choice="binfmt_setup.cli.choices:Format"),
            "--verbose": Option("verbose"),
            "-v": Option("verbose"),
        },
        operands="platforms",
        many=True,
    ),
    "check": Command(
        {
            "--strict": Option("strict"),
            "--engine": Option("engine", takes_value=True),
            "--security": Option("security"),
            "--deep": Option("deep"),
            "--qemu": Option("qemu", takes_value=True, repeats=True),
            "--qemu-sha256": Option("qemu_sha256", takes_value=True),
            "--quiet": Option("quiet"),
            "-q": Option("quiet"),
            "--config": Option("config", takes_value=True),
            "--root": Option("root", takes_value=True),
            "--format": Option("format_", takes_value=True, choice="binfmt_setup.cli.choices:CheckFormat"),
            "--verbose": Option("verbose"),
            "-v": Option("verbose"),
        },
        operands="platforms",
        many=True,
    ),
    "status": Command(
        {
            "--root": Option("root", takes_value=True),
            "--format": Option("format_", takes_value=True, choice="binfmt_setup.cli.choices:StatusFormat"),
            "--output": Option("output", takes_value=True),
            "--verbose": Option("verbose"),
            "-v": Option("verbose"),
        },
    ),
    "explain": Command(
        {
            "--chroot": Option("chroot", takes_value=True),
            "--root": Option("root", takes_value=True),
            "--format": Option("format_", takes_value=True, choice="binfmt_setup.cli.choices:Format"),
            "--verbose": Option("verbose"),
            "-v": Option("verbose"),
        },
        operands="file",
        required=True,
    ),
    "uninstall": Command(
        {
            "--check": Option("check"),
            "--diff": Option("diff"),
            "--force": Option("force"),
            "--private": Option("private"),
            "--config": Option("config", takes_value=True),
            "--root": Option("root", takes_value=True),
            "--format": Option("format_", takes_value=True, choice="binfmt_setup.cli.choices:Format"),
            "--verbose": Option("verbose"),
            "-v": Option("verbose"),
        },
        operands="platforms",
        many=True,
    ),
    "unit": Command(
        {
            "--qemu": Option("qemu", takes_value=True),
            "--qemu-sha256": Option("qemu_sha256", takes_value=True),
            "--config": Option("config", takes_value=True),
            "--root": Option("root", takes_value=True),
            "--format": Option("format_", takes_value=True, choice="binfmt_setup.cli.choices:Format"),
            "--verbose": Option("verbose"),
            "-v": Option("verbose"),
        },
        operands="platforms",
        many=True,
    ),
    "run": Command(
        {
            "--platform": Option("platform", takes_value=True, repeats=True),
            "-P": Option("platform", takes_value=True, repeats=True),
            "--qemu": Option("qemu", takes_value=True),
            "--qemu-sha256": Option("qemu_sha256", takes_value=True),
            "--map-users": Option("map_users", takes_value=True, choice="binfmt_setup.userns.identity:Users"),
            "--map-root": Option("map_root"),
            "--format": Option("format_", takes_value=True, choice="binfmt_setup.cli.choices:Format"),
            "--verbose": Option("verbose"),
            "-v": Option("verbose"),
        },
        operands="command",
        many=True,
        required=True,
        interspersed=False,
    ),
    "completion": Command(
        {
        },
        operands="shell",
        required=True,
    ),
}
