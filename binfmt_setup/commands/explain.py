"""The command `explain`: from the FILE somebody typed to what is printed about it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from binfmt_setup.explain.mapping import UNLIMITED, Limits
from binfmt_setup.explain.reasoning import explain
from binfmt_setup.explain.specimen import Specimen, in_path, look_at
from binfmt_setup.inspect.natives import with_natives
from binfmt_setup.inspect.snapshot import snapshot
from binfmt_setup.model.errors import BinfmtSetupError, PrivilegesMissing, UsageProblem
from binfmt_setup.report.result import ExplainResult
from binfmt_setup.system.host import Host
from binfmt_setup.system.probes import prove_candidates

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.explain.explanation import Explanation
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.targets import Platform
    from binfmt_setup.system.probes import ProbeResult


def explained(host: Host, file: str, chroot: str = "") -> ExplainResult:
    """Look at FILE and at the host, and say what becomes of it.

    A name without a slash is looked up in PATH, as a shell does. With `chroot` FILE is one of that
    tree, and never the host's. Raises UsageProblem when there is no such file, PrivilegesMissing
    when it may not be read.
    """
    facts = with_natives(host, snapshot(host), {})
    tree = Host(Path(chroot).resolve()) if chroot else host
    return ExplainResult(facts, seen=seen_by(host, facts, tree, file))


def seen_by(host: Host, facts: HostFacts, tree: Host, file: str) -> Explanation:
    """The explanation for a file of a tree, with what is known of the host that runs it."""
    if not file:  # what an unset variable leaves
        raise UsageProblem("FILE is empty", hint="name a file that shall run")
    path = _placed(tree, file)
    first = look_at(tree, path)
    if first.kind == "missing":
        where = f" in {tree.root}" if tree is not host else ""
        raise UsageProblem(f"{file}: no such file{where}", hint="name a file that shall run")
    if first.kind == "unreadable":
        raise PrivilegesMissing(f"{file} may not be read", hint="run it with sudo")

    def look(wanted: str) -> Specimen:
        return first if wanted == path else look_at(tree, wanted)

    seen = explain(
        facts, path, look=look, look_on_host=lambda wanted: look_at(host, wanted),
        prove=partial(_prove, host), start=_started, find=partial(in_path, tree),
        tree=str(tree.root), limits=_limits(host, facts),
    )  # fmt: skip
    if seen.failure is not None and seen.failure.code == "unreadable":
        raise PrivilegesMissing(seen.failure.message, hint="run it with sudo")
    return seen


def _limits(host: Host, facts: HostFacts) -> Limits:
    """What this kernel gives this user's programs, where it guesses (vm.overcommit_memory 0)."""
    if not facts.live:
        return UNLIMITED
    process = facts.process
    rows = (row.split() for row in host.text("/proc/meminfo").splitlines())
    sizes = {row[0]: int(row[1]) * 1024 for row in rows if len(row) > 1}
    guessed = host.text("/proc/sys/vm/overcommit_memory").strip() == "0"
    lowest = host.text("/proc/sys/vm/mmap_min_addr").strip()
    free = process.is_root and process.initial_namespace  # CAP_SYS_RAWIO
    return Limits(
        0 if free or not lowest.isdecimal() else int(lowest),
        (guessed and sizes.get("MemTotal:", 0) + sizes.get("SwapTotal:", 0)) or UNLIMITED.memory,
    )


def _placed(tree: Host, file: str) -> str:
    """FILE as its tree names it.

    A path that leads into the tree from outside is shortened to what it is called in there.
    """
    if file and "/" not in file and (found := in_path(tree, file)):
        return found
    typed = os.path.abspath(file)  # noqa: PTH100 - resolve() would follow the last link
    directory, name = os.path.split(typed)
    real = os.path.join(os.path.realpath(directory), name)  # noqa: PTH118 - one language
    root = str(tree.root).rstrip("/") + "/"
    inside = [path[len(root) - 1 :] for path in (typed, real) if path.startswith(root)]
    end = "/" if file.endswith(("/", "/.")) else ""  # it has to be a directory then
    there = (path + end for path in [*inside, typed] if look_at(tree, path + end).kind != "missing")
    return next(there, file)


def _started(platform: Platform, emulator: str) -> ProbeResult | None:
    """What an emulator does that is started directly on the probe of a platform."""
    try:
        found = prove_candidates({platform.probe: emulator}).get(platform.probe)
    except BinfmtSetupError:
        return None
    return None if found is None or found.not_run else found


def _prove(host: Host, platform: Platform) -> ProbeResult | None:
    """What the probe of a platform did; None where probes cannot run."""
    try:
        with host.prove([platform.probe]) as results:
            found = results().get(platform.probe)
            return None if found is None or found.not_run else found
    except BinfmtSetupError:
        return None
