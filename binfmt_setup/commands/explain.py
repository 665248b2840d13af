"""The command `explain`: from the FILE somebody typed to what is printed about it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.explain.reasoning import explain
from binfmt_setup.explain.specimen import Specimen, look_at
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.errors import BinfmtSetupError, PrivilegesMissing, UsageProblem
from binfmt_setup.report.result import ExplainResult
from binfmt_setup.system.host import Host

if TYPE_CHECKING:
    from binfmt_setup.model.targets import Target
    from binfmt_setup.system.probes import ProbeResult


def explained(host: Host, file: str, chroot: str = "") -> ExplainResult:
    """Look at FILE and at the host, and say what becomes of it.

    With `chroot` FILE is looked for in that tree first, then on the host. Raises
    UsageProblem when there is no such file, PrivilegesMissing when it may not be read.
    """
    facts = snapshot(host)
    tree = Host(Path(chroot).resolve()) if chroot else host
    path, where = _placed(host, tree, file)
    first = look_at(where, path)
    if first.kind == "missing":
        raise UsageProblem(f"{file}: no such file", hint="name a file that shall run")
    if first.kind == "unreadable":
        raise PrivilegesMissing(f"{file} may not be read", hint="run it with sudo")

    def look(wanted: str) -> Specimen:
        return first if wanted == path else look_at(tree, wanted)

    seen = explain(
        facts, path, look=look, look_on_host=lambda wanted: look_at(host, wanted),
        prove=partial(_prove, host), tree=str(tree.root),
    )  # fmt: skip
    if seen.failure is not None and seen.failure.code == "unreadable":
        raise PrivilegesMissing(seen.failure.message, hint="run it with sudo")
    return ExplainResult(facts, seen=seen)


def _placed(host: Host, tree: Host, file: str) -> tuple[str, Host]:
    """FILE as its tree names it, and the host that has it.

    A path that leads into the tree is shortened to what it is called in there.
    """
    typed = os.path.abspath(file)  # noqa: PTH100 - resolve() would follow the last link
    directory, name = os.path.split(typed)
    real = os.path.join(os.path.realpath(directory), name)  # noqa: PTH118 - one language
    for place in (tree, host):
        root = str(place.root).rstrip("/") + "/"
        inside = [path[len(root) - 1 :] for path in (typed, real) if path.startswith(root)]
        for path in [*inside, typed]:
            if look_at(place, path).kind != "missing":
                return path, place
    return file, tree


def _prove(host: Host, target: Target) -> ProbeResult | None:
    """What the probe of a target did; None where probes cannot run."""
    name = target.platforms[0].probe
    try:
        with host.prove([name]) as results:
            found = results().get(name)
            return None if found is None or found.not_run else found
    except BinfmtSetupError:
        return None
