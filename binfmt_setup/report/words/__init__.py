"""Every sentence that a finding is told with, to be read and edited in one place.

`engines` has those about container engines, the other TOPICS those about a host. Each function
takes a fact of the catalogue and gives its words.
"""

from __future__ import annotations

from binfmt_setup.diagnosis.finding import printed
from binfmt_setup.model.modules import module_named
from binfmt_setup.model.mountinfo import BINFMT_MISC
from binfmt_setup.model.records import replace
from binfmt_setup.model.registration import Entry
from binfmt_setup.report.words.sentences import Words

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.diagnosis.finding import Fact, Finding, Remedy
    from binfmt_setup.report.words.sentences import Sentences
    from binfmt_setup.system.probes import ProbeResult


TOPICS = ("registry", "probes", "next_boot", "interpreters", "engines")


def words_of(fact: Fact) -> Words:
    """What is said of a fact; sentences are loaded when there is something to say.

    Raises LookupError for what is no fact of a catalogue.
    """
    for topic in TOPICS:
        sentences: Sentences = module_named(f"{__package__}.{topic}").SENTENCES
        if tell := sentences.get(type(fact)):
            return tell(fact)
    raise LookupError(type(fact).__name__)


def message(finding: Finding, variants: Sequence[str] = ()) -> str:
    """What is the case, behind the platform that it is about, or behind several variants of it."""
    words = words_of(finding.fact)
    between = words.link or ": "
    platform = in_short(variants) or finding.platform
    return f"{platform}{between}{words.message}" if platform else words.message


def hint(finding: Finding) -> str:
    """What to do; empty where nothing has to be done, or can be."""
    return told(words_of(finding.fact), finding.remedy)


def told(words: Words, remedy: Remedy | None, platforms: Sequence[str] = ()) -> str:
    """What to do, for the platforms of a remedy or for several."""
    if remedy is None:
        return words.advice and words.advice + words.note
    if platforms:
        remedy = replace(remedy, platform="", platforms=tuple(platforms))
    if not remedy.command:
        return remedy.first
    advice = words.advice or ("run on the host" if remedy.on_host else "run")
    advice = f"{remedy.first}; then {advice}" if remedy.first else advice
    return f"{advice}: {printed(remedy.argv)}{words.note}"


def evidence(finding: Finding) -> str:
    """What was read or tried that shows it."""
    seen = (_shown(one) if isinstance(one, Entry) else _tried(one) for one in finding.seen)
    return "; ".join(filter(None, (words_of(finding.fact).seen, *seen)))


def in_short(names: Sequence[str]) -> str:
    """Platforms in one line; of variants that follow each other the start is said once."""
    said: list[str] = []
    start = ""
    for name in names:
        head, _, variant = name.rpartition("/")
        said.append(variant if head == start else name)
        start = head if head.count("/") else ""
    return ", ".join(said)


def in_lines(finding: Finding, *, code: bool = False, variants: Sequence[str] = ()) -> str:
    """All of a finding, in lines; its code, where it is wanted, behind the first.

    `variants` are the platforms that it is about where it is the same for several.
    """
    seen = evidence(finding)
    first = message(finding, variants) + (f" [{finding.code}]" if code else "")
    named = variants if finding.remedy and finding.remedy.platform else ()
    cure = told(words_of(finding.fact), finding.remedy, named)
    return "\n".join(filter(None, (first, f"seen: {seen}" if seen else "", cure)))


def _tried(probe: ProbeResult) -> str:
    """What became of a probe."""
    return f"the probe in an empty chroot: {probe.why() or 'it ran'}"


def _shown(entry: Entry) -> str:
    """What the kernel shows of an entry."""
    state = "enabled" if entry.enabled else "disabled"
    flags = entry.flags or "none"
    return f"{BINFMT_MISC}/{entry.name}: {state}, {entry.interpreter}, flags {flags}"


def remedies(findings: Sequence[Finding]) -> list[str]:
    """Every remedy once; those that differ in the platform alone become one command."""
    merged: dict[tuple[Words, Remedy | None], list[str]] = {}
    for finding in findings:
        said, remedy = words_of(finding.fact), finding.remedy
        if finding.severity == "info" or not (remedy or said.advice):
            continue
        advice = Words("", said.advice, note=said.note)
        plain = replace(remedy, platform="", platforms=()) if remedy else None
        names = merged.setdefault((advice, plain), [])
        if remedy:
            names += [name for name in remedy.named if name not in names]
    for_platforms = [(remedy, names) for (_, remedy), names in merged.items() if remedy and names]
    return [
        told(advice, remedy, names)
        for (advice, remedy), names in merged.items()
        if remedy is None or not _contained(remedy, names, for_platforms)
    ]


def _contained(
    remedy: Remedy, names: Sequence[str], others: Sequence[tuple[Remedy, Sequence[str]]]
) -> bool:
    """Whether another command does it in passing: an install mounts the registry on its way."""
    if remedy.command[:2] != ("binfmt-setup", "install"):
        return False
    length = len(remedy.command)
    return any(
        other.command[:length] == remedy.command and set(names) <= set(others_names)
        for other, others_names in others
        if other != remedy
    )
