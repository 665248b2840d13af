"""The words about what came of a probe, and what could not be read."""

from __future__ import annotations

from functools import partial

from binfmt_setup.diagnosis import catalogue as known
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.report.words.sentences import Words, telling

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.report.words.sentences import Sentences


SENTENCES: Sentences = {}
tells = partial(telling, SENTENCES)
_NO_MOUNT = f"/proc/self/mountinfo has nothing at {BINFMT_MISC}"


@tells(known.NotProbed)
def _(fact: known.NotProbed) -> Words:
    return Words(why_unproven(fact), link=" is not proven: ")


@tells(known.ProbeNotRun)
def _(fact: known.ProbeNotRun) -> Words:
    return Words(
        fact.why,
        "run it as root, or allow user namespaces (sysctl user.max_user_namespaces)",
        "chroot(2) and unshare(2) were tried",
        link=" is not proven: ",
    )


@tells(known.CallerLimit)
def _(fact: known.CallerLimit) -> Words:
    return Words(fact.limit, "raise that limit (limits.conf, LimitAS=, ulimit) and run it again")


def why_unproven(fact: known.NotProbed) -> str:
    """Why nothing was proven."""
    if isinstance(fact, known.ProbeNotRun):
        return fact.why
    return "there is no probe for it" if fact.live else "no probe runs for an offline tree"


@tells(known.ProbeTimeout)
def _(fact: known.ProbeTimeout) -> Words:
    return Words(f"{fact.interpreter}: the probe did not end in time")


@tells(known.ProbeFailed)
def _(fact: known.ProbeFailed) -> Words:
    return Words(f"{fact.interpreter}: {fact.why}" if fact.interpreter else fact.why)


@tells(known.AccessDenied)
def _(_fact: known.AccessDenied) -> Words:
    return Words(
        "the kernel may not execute the interpreter",
        note="   (SELinux or AppArmor say there what they refused)",
    )


@tells(known.EmulatedCpuTooOld)
def _(fact: known.EmulatedCpuTooOld) -> Words:
    return Words(
        f"{fact.interpreter} emulates no {fact.target} processor of level {fact.level}",
        "use a lower level, or a newer QEMU (none up to 11 emulates x86-64-v4)",
        "its probe, which needs that level, died of SIGILL",
    )


@tells(known.CpuTooOld)
def _(fact: known.CpuTooOld) -> Words:
    return Words(
        f"this processor is not an x86-64-{fact.level} processor",
        "use another machine: a host cannot emulate its own architecture",
        f"/proc/cpuinfo lacks {' '.join(fact.lacking)}",
    )
