"""What must be true before a host is changed: rights, namespace, registry."""

from __future__ import annotations

from binfmt_setup.model.errors import EnvironmentUnfit, PrivilegesMissing, UsageProblem
from binfmt_setup.model.mountinfo import BINFMT_MISC

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.changes.steps import Plan
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.request import Request


def require_root(facts: HostFacts) -> None:
    """Raises PrivilegesMissing for whoever may not change what the kernel runs."""
    if facts.live and facts.process.effective_uid != 0:
        raise PrivilegesMissing(
            "changing what the kernel runs needs root",
            hint="run it with sudo; `binfmt-setup check` works without",
        )


def refuse_wrong_namespace(facts: HostFacts, *, private: bool) -> None:
    """Writing in a namespace that is not the host's needs --private, and the reverse."""
    if not facts.live:
        return
    if private and facts.process.initial_namespace:
        raise UsageProblem(
            "--private needs a private user namespace, and this is the host's",
            hint="leave it out, or start with: unshare --user --map-root-user --mount",
        )
    if not private and not facts.process.initial_namespace:
        raise EnvironmentUnfit(
            "this is a user namespace, not the host's: nothing done here would reach the host",
            hint="run it on the host, or use --private for the registry of this namespace",
            code="private-namespace",
        )


def require_watch(facts: HostFacts, request: Request) -> None:
    """Raises EnvironmentUnfit where nothing can wait for entries to be dropped."""
    from binfmt_setup.changes import boot_steps  # costly before probes start

    if facts.process.own_files and boot_steps.written(facts, request) == "units":
        return
    if not facts.process.own_files:
        raise EnvironmentUnfit(
            "--keep is for a host: no unit of it sees what is registered in a user namespace",
            hint="leave it out; another install brings back what was dropped",
            code="private-namespace",
        )
    if boot_steps.serves_units(facts):
        raise EnvironmentUnfit(
            f"--keep needs units, and {facts.boot.units_read_only} is on a read-only file system",
            hint="leave it out; another install brings back what was dropped",
            code="units-read-only",
        )
    raise EnvironmentUnfit(
        "--keep needs systemd, which waits for entries to be dropped",
        hint="leave it out; docs/keep.md has a line for cron that looks every minute",
    )


def require_writable(facts: HostFacts, plan: Plan) -> None:
    """Raises EnvironmentUnfit where a file to be removed is part of a read-only system."""
    from binfmt_setup.changes.steps import ChangeFile, ChangeLink

    paths = (s.path for s in plan.steps if isinstance(s, ChangeFile | ChangeLink))
    places = tuple(f"{place}/" for place in facts.boot.read_only)
    for path in paths:
        if path.startswith(places):
            raise EnvironmentUnfit(
                f"{path} is on a read-only file system: nothing was removed",
                hint="mount it read-write; or take it out of what this system is made from",
                code="config-unwritable",
            )


def require_registry(facts: HostFacts) -> None:
    """Raises EnvironmentUnfit unless entries can be written and would be used."""
    if not facts.live:
        return
    if facts.registry.mount.state != "mounted":
        raise EnvironmentUnfit(
            f"binfmt_misc was mounted, but is not visible at {BINFMT_MISC}",
            hint="is something else mounted over /proc/sys?", code="not-mounted",
        )  # fmt: skip
    if facts.registry.mount.read_only:
        raise EnvironmentUnfit(
            f"{BINFMT_MISC} is read-only", code="read-only",
            hint=f"run: mount -o remount,rw {BINFMT_MISC}   (in a container: run on the host)",
        )  # fmt: skip
    if facts.registry.enabled is False:
        raise EnvironmentUnfit(
            "binfmt_misc is switched off for all entries",
            hint=f"run: echo 1 > {BINFMT_MISC}/status", code="globally-disabled",
        )  # fmt: skip
