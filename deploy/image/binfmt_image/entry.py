"""What a container of the image is asked for: this tool's commands, or tonistiigi/binfmt's line.

Before the command may stand what only a container needs:

    --registry DIR      where the host's binfmt_misc is bound; found by its type without that
    --persist-to DIR    the host's root: work there, so that it survives a reboot
    --private           in a container engine without root: its own registry is meant

The environment says the same: BINFMT_REGISTRY, BINFMT_PERSIST_TO, BINFMT_PRIVATE=1.
"""

from __future__ import annotations

import os
import sys

from binfmt_image.surroundings import BIND, Place, host_seen_from, mount_if_absent
from binfmt_setup.cli.answers import SURROUNDINGS
from binfmt_setup.cli.signals import listen
from binfmt_setup.emulators.choice import IN_OUR_IMAGE
from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit, UsageProblem
from binfmt_setup.model.mountinfo import BINFMT_MISC, parse_mountinfo, visible_mount
from binfmt_setup.model.records import replace
from binfmt_setup.system.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.model.mountinfo import Mount

_CHANGING = ("install", "uninstall")


def main() -> None:
    """Do what the container is started for, and leave with its exit status."""
    listen()
    try:
        status = _done(sys.argv[1:])
    except BinfmtSetupError as error:
        _say(f"error: {error.message}", error.hint)
        status = error.exit_code
    except BaseException as end:
        if not hasattr(end, "status"):
            raise
        status = int(end.status)
    sys.stdout.flush()
    os._exit(status)


def _say(message: str, hint: str) -> None:
    sys.stderr.write(f"{message}\n" + (f"  {hint}\n" if hint else ""))


def _done(arguments: Sequence[str]) -> int:
    place, words = placed(arguments, dict(os.environ))
    if place.persist_to:
        from binfmt_image.on_host import run_there

        return run_there(place, words)
    if words[:1] == ["label-node"]:
        from binfmt_image.node_label import label_node

        return label_node(("--registry", place.registry) if place.registry else (), words[1:])
    registry = BINFMT_MISC if place.on_host else registry_at(place.registry, _mounts())
    host = host_seen_from(registry, "" if place.on_host else IN_OUR_IMAGE)
    SURROUNDINGS.set(host)
    command = words[0] if words else ""
    if not command or (command.startswith("-") and command not in ("-h", "--help")):
        from binfmt_image.drop_in import answer

        return answer(words, place, host)
    if command != "install":
        mount_if_absent(host, needed=command == "uninstall" and not place.on_host)
    return _ours(with_places(words, place))


def placed(arguments: Sequence[str], environment: dict[str, str]) -> tuple[Place, list[str]]:
    """The options before the command, and the rest of the line; raises UsageProblem."""
    place = Place(
        environment.get("BINFMT_REGISTRY", ""),
        environment.get("BINFMT_PERSIST_TO", ""),
        environment.get("BINFMT_PRIVATE", "") not in ("", "0"),
    )
    words = list(arguments)
    while words:
        name, equals, value = words[0].partition("=")
        if name == "--private" and not equals:
            place = replace(place, private=True)
        elif name in ("--registry", "--persist-to", "--on-host"):
            if not equals:
                del words[0]
                value = words[0] if words else ""
            if not value.startswith("/"):
                raise UsageProblem(
                    f"{name} {value}: not an absolute path", hint="name a directory from / on"
                )
            place = _given(place, name, value)
        else:
            break
        del words[0]
    return place, words


def _given(place: Place, name: str, value: str) -> Place:
    if name == "--on-host":  # from `on_host`, once it is there
        return replace(place, emulators=value, on_host=True, persist_to="")
    field = {"--registry": "registry", "--persist-to": "persist_to"}[name]
    return replace(place, **{field: value.rstrip("/")})


def _mounts() -> tuple[Mount, ...]:
    return parse_mountinfo(Tree().text("/proc/self/mountinfo"))


def registry_at(wished: str, mounts: tuple[Mount, ...]) -> str:
    """Where the registry is: as it was said, at its own place, or wherever one is mounted.

    Raises EnvironmentUnfit where what was said is something else.
    """
    if wished:
        mount = visible_mount(mounts, wished)
        if mount is None or mount.fs_type != "binfmt_misc":
            kind = f"is of the type {mount.fs_type}" if mount else "is no mount"
            raise EnvironmentUnfit(
                f"--registry {wished}: {kind}, not binfmt_misc",
                hint=f"bind the host's: {BIND} (without rslave an automount that nobody has "
                "touched yet stays in the way; where the host has none: mount -t binfmt_misc "
                f"none {BINFMT_MISC})",
                code="not-mounted",
            )
        return wished
    own = visible_mount(mounts, BINFMT_MISC)
    if own is not None and own.fs_type in ("binfmt_misc", "autofs"):
        return BINFMT_MISC
    others = (m for m in mounts if m.fs_type == "binfmt_misc")
    return next((m.point for m in others if visible_mount(mounts, m.point) is m), BINFMT_MISC)


def with_places(words: Sequence[str], place: Place) -> list[str]:
    """A line for this tool's own commands, with what it need not say in a container."""
    if words[0] not in _CHANGING:
        return list(words)
    more = ["--private"] if place.private and "--private" not in words else []
    if words[0] == "install":
        given = {word.partition("=")[0] for word in words}
        if place.emulators and "--qemu" not in given:
            more += ["--qemu", place.emulators]
        if not place.on_host and "--no-persist" not in given:
            more.append("--no-persist")
    return [words[0], *more, *words[1:]]


def _ours(words: Sequence[str]) -> int:
    """A command of this tool's own."""
    from binfmt_setup.cli import reader, streams, table
    from binfmt_setup.cli.border import answered

    streams.guard()
    call = reader.read(words, table.COMMANDS)
    if call is not None:
        return answered(lambda: call, words)
    from binfmt_setup.cli.app import run_command_line

    return run_command_line(words)
