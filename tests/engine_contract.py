"""What every container engine must keep to, and who breaks it.

`complaints` tries one engine: it replays a recorded conversation (tests/cases/engines/
conversations/NAME.json), then the same with every answer spoilt in turn.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from binfmt_setup.engines.answers import Question
from binfmt_setup.engines.ask import EngineCalls, ask_with
from binfmt_setup.engines.call import Caller, Limits
from binfmt_setup.model.errors import TookTooLong
from binfmt_setup.model.targets import parse_platform
from binfmt_setup.report.words import hint
from binfmt_setup.system.host import Host
from binfmt_setup.system.programs import Completed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from binfmt_setup.engines.answers import EngineReport
    from binfmt_setup.engines.interface import Engine

TOP = Path(__file__).resolve().parents[1]
CASES = TOP / "tests/cases/engines"
QUESTION = Question((parse_platform("amd64"), parse_platform("arm64")), named=True)
LIMITS = Limits()
NEVER_PASSED = ("PATH", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "QEMU_LD_PREFIX")
ENVIRONMENT = dict.fromkeys(NEVER_PASSED, "/from/the/caller")
SPOILT: dict[str, Completed | TookTooLong] = {
    "silence": Completed(0, ""),
    "nonsense": Completed(0, "{ <garbage>\0"),
    "an empty object": Completed(0, "{}"),
    "a list": Completed(0, "[]"),
    "a failure": Completed(1, "", "it broke"),
    "a crash": Completed(-11, "", ""),
    "no end": TookTooLong("it took too long"),
}
"""What an engine may say instead of the recorded answer."""


class Rows:
    """A recorded conversation: what is answered to a command that holds certain words."""

    def __init__(self, engine: str) -> None:
        path = CASES / "conversations" / f"{engine}.json"
        self.rows = json.loads(path.read_text()) if path.exists() else []

    def answer(self, argv: Sequence[str]) -> Completed:
        for row in self.rows:
            rest = iter(argv)
            if all(word in rest for word in row["asked"].split()):
                return self._filled(row, argv)
        return Completed(1, "", "unknown command")

    @staticmethod
    def _filled(row: Mapping[str, object], argv: Sequence[str]) -> Completed:
        if "recorded" in row:
            case = json.loads((CASES / str(row["recorded"])).read_text())
            return Completed(0, json.dumps(case[row["part"]]))
        token = probes = ""
        dockerfile = Path(argv[-1].removeprefix("context="), "Dockerfile")
        if dockerfile.is_file():
            token = re.findall(r"/probe /(\S+)", dockerfile.read_text())[0]
            platforms = [*map(parse_platform, re.findall(r"linux/[\w/]+", " ".join(argv[:-1])))]
            line = "binfmt-probe target={} machine=x argc=2 argv0=/{}"
            probes = "\n".join(line.format(p.probe, token) for p in platforms)
            for archive in re.findall(r"type=oci,dest=(\S+)", " ".join(argv)):
                write_index(Path(archive), [p.name for p in platforms])
        texts = (str(row.get(key, "")) for key in ("output", "errors"))
        said = [text.replace("{token}", token).replace("{probes}", probes) for text in texts]
        return Completed(int(str(row.get("status", 0))), *said)


def write_index(archive: Path, platforms: Sequence[str]) -> None:
    """An OCI archive as BuildKit writes it, with an index of these platforms and no blobs."""
    keys = ("os", "architecture", "variant")
    named = [dict(zip(keys, name.split("/"), strict=False)) for name in platforms]
    manifests = [{"platform": platform} for platform in named]
    content = json.dumps({"manifests": manifests}).encode()
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("index.json")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


class Talk:
    """Plays the engine's program; from call number `spoil_from` on with spoilt answers."""

    def __init__(
        self, rows: Rows, spoil_from: int = -1, spoilt: Completed | TookTooLong | None = None
    ) -> None:
        self._rows, self._from, self._spoilt = rows, spoil_from, spoilt
        self.calls: list[tuple[Sequence[str], float]] = []
        self.folders: set[Path] = set()

    def __call__(self, argv: Sequence[str], seconds: float) -> Completed:
        number = len(self.calls)
        self.calls.append((argv, seconds))
        words = [part for word in argv for part in re.split("[=,]", word)]
        mine = (re.match(r".*/binfmt-setup-\w+", word) for word in words)
        self.folders |= {Path(found[0]) for found in mine if found}
        if self._spoilt is not None and 0 <= self._from <= number:
            if isinstance(self._spoilt, TookTooLong):
                raise self._spoilt
            return self._spoilt
        arguments = argv[1:]
        while arguments and "=" in arguments[0]:
            arguments = arguments[1:]
        return self._rows.answer(arguments)


def complaints(engine: Engine, root: Path) -> list[str]:
    """What is wrong with an engine; empty when it keeps to the contract."""
    found = [*_papers(engine), *_variables(engine)]
    for place in ("usr/bin", "var/lib/containers", "var/tmp"):
        (root / place).mkdir(parents=True, exist_ok=True)
    (root / "usr/bin" / (engine.program or engine.name)).touch()
    rows = Rows(engine.name)
    talk = Talk(rows)
    report = _asked(engine, root, talk)
    if report.error is not None or report.built != {p.name for p in QUESTION.platforms}:
        found.append(f"the recorded conversation builds {sorted(report.built)}: {report.error}")
    found += _calls(engine, talk)
    if _asked(engine, root, Talk(rows)) != report:
        found.append("the same answers give another report")
    for number in range(len(talk.calls)):
        for what, spoilt in SPOILT.items():
            found += _spoilt(engine, root, Talk(rows, number, spoilt), f"{what} from {number} on")
    return list(dict.fromkeys(found))


def _asked(engine: Engine, root: Path, talk: Talk) -> EngineReport:
    passed = {name: f"/{name}" for name in engine.variables}
    caller = Caller(Host(root, run=talk), {**passed, **ENVIRONMENT}, limits=LIMITS)
    return ask_with([engine], EngineCalls(caller, (engine.name,)), QUESTION)[0]


def _papers(engine: Engine) -> Iterator[str]:
    """What lies beside the code."""
    if not (TOP / f"binfmt_setup/engines/{engine.name}.py").exists():
        yield "no module of its name"
    if f"| `{engine.name}` |" not in (TOP / "docs/engines.md").read_text():
        yield "no row in docs/engines.md"
    if not Rows(engine.name).rows:
        yield "no recorded conversation"


def _variables(engine: Engine) -> Iterator[str]:
    for name in engine.variables:
        if name in NEVER_PASSED:
            yield f"takes {name} of the caller's environment"


def _calls(engine: Engine, talk: Talk) -> Iterator[str]:
    """How it calls its program."""
    for argv, seconds in talk.calls:
        if argv[0] != "env":
            yield f"{argv[0]} is called past the caller"
        if not 0 < seconds <= LIMITS.for_build(QUESTION.platforms):
            yield f"waits {seconds} s"
        if any(word.startswith(f"{name}=") for word in argv for name in NEVER_PASSED):
            yield "passes on what was not asked for"
        if (engine.program or engine.name) not in argv:
            yield f"calls another program: {argv}"
    yield from (f"leaves {folder.name[:12]}…" for folder in talk.folders if folder.exists())


def _spoilt(engine: Engine, root: Path, talk: Talk, what: str) -> Iterator[str]:
    """An engine that fails is reported, with what to do; nothing counts as built."""
    try:
        report = _asked(engine, root, talk)
    except Exception as error:
        yield f"{what}: {type(error).__name__} escapes"
        return
    if report.error is not None and not report.error.hint:
        yield f"{what}: an error without a hint: {report.error.message}"
    for finding in report.findings:
        if not hint(finding):
            yield f"{what}: a finding without a hint: {finding.code}"
    if not (report.error or report.findings or report.built):
        yield f"{what}: nothing is said"
    yield from (f"{what}: leaves {f.name[:12]}…" for f in talk.folders if f.exists())
