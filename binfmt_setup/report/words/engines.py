"""The words for every finding about container engines."""

from __future__ import annotations

from functools import partial

from binfmt_setup.engines import catalogue as known
from binfmt_setup.report.words.sentences import Words, telling

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from binfmt_setup.report.words.sentences import Sentences


SENTENCES: Sentences = {}
tells = partial(telling, SENTENCES)


@tells(known.NoEngine)
def _(fact: known.NoEngine) -> Words:
    return Words(
        f"no container engine is installed in {fact.places}",
        f"install one of {', '.join(fact.engines)}",
    )


@tells(known.EngineMissing)
def _(fact: known.EngineMissing) -> Words:
    name = ", ".join(fact.engines)
    return Words(f"{name} is not installed in {fact.places}", f"install {name}")


@tells(known.EngineTooOld)
def _(fact: known.EngineTooOld) -> Words:
    return Words(
        f"{fact.engine}: {fact.part} is {fact.version}; {fact.first} is the first that builds "
        "for several platforms",
        f"update {fact.engine}",
    )


@tells(known.EngineBuildFailed)
def _(fact: known.EngineBuildFailed) -> Words:
    outside = ", though they run on this host" if fact.outside else ""
    if fact.failure.blocked_call:
        advice = "the engine's seccomp profile refuses a system call that the emulator makes"
    elif fact.failure.errno == "EPERM":
        advice = "the engine's seccomp profile or security options forbid it"
    elif fact.failure.errno == "EACCES":
        advice = "look for SELinux or AppArmor denials"
    else:
        installs = fact.failure.errno in ("ENOEXEC", "ENOENT")
        advice = "" if installs else "run the same build by hand"
    note = ""
    if fact.options is not None:
        note = f"; in force are: {', '.join(fact.options) or 'no security options'}"
    return Words(
        f"{fact.engine} cannot run its programs in a build: {fact.failure}{outside}",
        advice, note=note,
    )  # fmt: skip


@tells(known.EngineOwnRegistry)
def _(fact: known.EngineOwnRegistry) -> Words:
    whose = "rootless Docker" if fact.rootless_docker else "its user namespace"
    return Words(
        f"{fact.engine} cannot run its programs in a build: {fact.failure}: {whose} has a "
        "registry of its own, which hides the host's",
        "register inside it",
    )


@tells(known.BuiltNatively)
def _(fact: known.BuiltNatively) -> Words:
    return Words(
        f"{fact.engine} built for {', '.join(fact.ran)} instead and said nothing",
        f"check what {fact.engine} does with --platform: it may be too old, or its builder makes "
        "one platform only",
    )


@tells(known.IndexIncomplete)
def _(fact: known.IndexIncomplete) -> Words:
    holds = ", ".join(fact.holds) or "no platform at all"
    return Words(f"the index that {fact.engine} wrote holds {holds}", f"update {fact.engine}")


@tells(known.NotBuilt)
def _(fact: known.NotBuilt) -> Words:
    return Words(f"not built by {', '.join(fact.engines)}")


@tells(known.ExperimentalOff)
def _(fact: known.ExperimentalOff) -> Words:
    return Words(
        f"docker: {fact.version} accepts --platform only with experimental features on",
        'put {"experimental": true} into /etc/docker/daemon.json and restart Docker',
    )


@tells(known.BuildxMissing)
def _(fact: known.BuildxMissing) -> Words:
    return Words(
        f"docker: client {fact.version} needs buildx to build with BuildKit, and buildx is not "
        "installed",
        "install docker-buildx (Debian, Ubuntu) or docker-buildx-plugin (Docker's packages)",
    )


@tells(known.BuildxForSeveral)
def _(fact: known.BuildxForSeveral) -> Words:
    advice = "install buildx, or build for each platform alone"
    if fact.hidden:
        advice += "; this client shows buildx only with DOCKER_CLI_EXPERIMENTAL=enabled"
    return Words(
        "docker: without buildx one build cannot make an image for several platforms", advice
    )


@tells(known.DaemonDenies)
def _(fact: known.DaemonDenies) -> Words:
    group = "the group docker" if fact.engine == "docker" else "the group that owns it"
    return Words(
        f"{fact.engine}: this user may not talk to the daemon at {fact.endpoint}",
        f"run as root, or as a member of {group} (which is as good as root)",
    )


@tells(known.DaemonUnreachable)
def _(fact: known.DaemonUnreachable) -> Words:
    why = f": {fact.errno}" if fact.errno else ""
    advice = "start it: systemctl start docker; or say where it is: docker context use NAME"
    if fact.engine != "docker":
        advice = "start buildkitd there; or say where it is in the variable BUILDKIT_HOST"
    return Words(f"{fact.engine}: no daemon answers at {fact.endpoint}{why}", advice)


@tells(known.NodeBroken)
def _(fact: known.NodeBroken) -> Words:
    what = f"node {fact.node} of builder {fact.builder}" if fact.node else f"builder {fact.builder}"
    where = f" ({fact.endpoint})" if fact.endpoint else ""
    return Words(
        f"docker: {what} does not answer: {fact.error}",
        f"repair it, or choose another builder: docker buildx use NAME{where}",
    )


@tells(known.BuilderStopped)
def _(fact: known.BuilderStopped) -> Words:
    advice = f"start buildkitd at {fact.endpoint}, or choose another: docker buildx use NAME"
    return Words(
        f"docker: builder {fact.builder} is {fact.status or 'not running'}",
        advice if fact.endpoint else "",
    )


@tells(known.BuilderForOne)
def _(fact: known.BuilderForOne) -> Words:
    return Words(
        f"docker: builder {fact.builder} (driver docker, without the containerd image store) "
        "cannot make an image for several platforms",
        note=", or switch on the containerd image store",
    )


@tells(known.BuilderStale)
def _(fact: known.BuilderStale) -> Words:
    lists, runs = ("still lists", "does not run") if fact.listed else ("does not list", "runs")
    advice, note = "", ""
    if fact.driver == "docker":
        note = " (a new platform also appears by itself after some 20 s)"
    elif fact.driver != "docker-container":
        advice = f"restart buildkitd at {fact.endpoint}"
    return Words(
        f"{fact.engine}: builder {fact.builder} {lists} {', '.join(fact.platforms)}, "
        f"which this kernel {runs}",
        advice, note=note,
    )  # fmt: skip


@tells(known.BuilderNode)
def _(fact: known.BuilderNode) -> Words:
    words = "emulates it; this host's registry is not used"
    if fact.native:
        words = "lists it first, as its own: no emulation is needed for it here"
    return Words(f"{fact.of}: node {fact.node} at {fact.endpoint} {words}")
