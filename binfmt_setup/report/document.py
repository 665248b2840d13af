"""A result as plain data: the JSON document, whose schema ships as data/schema.json."""

from __future__ import annotations

from binfmt_setup.boot.inits.interface import init_of
from binfmt_setup.boot.survival import why_lost
from binfmt_setup.changes.steps import (
    ChangeEntry,
    ChangeFile,
    ChangeLink,
    ControlUnit,
    Discard,
    Prepare,
    Step,
    Unpack,
)
from binfmt_setup.diagnosis.ownership import owner_of
from binfmt_setup.model.targets import target_of_entry
from binfmt_setup.report import words
from binfmt_setup.report.check_rows import faults_of
from binfmt_setup.report.result import (
    TYPES,
    ChangeResult,
    CheckResult,
    DeepResult,
    ExplainResult,
    Result,
    StatusResult,
    UnitResult,
)

TYPE_CHECKING = False  # typing is costly to import
if TYPE_CHECKING:
    from collections.abc import Sequence

    from binfmt_setup.diagnosis.finding import Finding, Remedy
    from binfmt_setup.diagnosis.verdict import PlatformState
    from binfmt_setup.engines.answers import EngineReport
    from binfmt_setup.model.errors import BinfmtSetupError
    from binfmt_setup.model.facts import HostFacts
    from binfmt_setup.model.registration import Entry


SCHEMA_VERSION = 1
Json = dict[str, object]
"""A JSON object; what it holds is fixed by the schema, which the tests hold it to."""


def document(result: Result) -> Json:
    """Everything a command found and did; complete on failure, too."""
    data: Json = {
        "schema_version": SCHEMA_VERSION,
        "command": result.command,
        "ok": not result.errors and result.exit_code == 0,
        "exit_code": result.exit_code,
        "host": host_row(result.facts, result.verdict.isolation),
        "platforms": [platform_row(result.facts, s) for s in result.verdict.platforms],
        "entries": [
            entry_row(result.facts, entry, pinned_version(result, entry))
            for entry in result.facts.registry.entries
        ],
        "findings": [finding_row(f) for f in result.verdict.all_findings],
        "errors": [error_row(error) for error in result.errors],
    }
    if isinstance(result, StatusResult):
        data["next_boot"] = _next_boot(result.facts)
    if isinstance(result, CheckResult) and result.engines:
        data["engines"] = [engine_row(report) for report in result.engines]
    if isinstance(result, DeepResult):
        from binfmt_setup.report.workout_json import workout_row

        data["workouts"] = [workout_row(report) for report in result.workouts]
    if isinstance(result, ExplainResult):
        data["explanation"] = _explanation(result)
    if isinstance(result, UnitResult) and result.text:
        data |= {"unit": result.text, "files": dict(result.files)}
    if isinstance(result, ChangeResult):
        data["check"] = result.check
        data["changed"] = result.changed
        data["actions"] = [action_row(o.step, o.result, o.error) for o in result.outcomes]
    return data


def _next_boot(facts: HostFacts) -> list[Json] | None:
    """The entries that the next boot makes, as they will be matched, and what makes each.

    None in a container, where the files are not those of the host.
    """
    if not facts.process.sees_files:
        return None
    from binfmt_setup.boot.next_registry import next_registry

    rows = ((line, line.registration) for line in next_registry(facts).lines)
    return [
        {"name": rule.name, "interpreter": rule.interpreter, "flags": rule.flags,
         "file": line.path, "line": line.line or None}
        for line, rule in rows
    ]  # fmt: skip


def _explanation(result: ExplainResult) -> Json | None:
    if result.seen is None:
        return None
    from binfmt_setup.report.explanation_json import explanation_row

    return explanation_row(result.seen)


def failure(command: str, error: BinfmtSetupError) -> Json:
    """The document of a command that was stopped before it knew the host."""
    data: Json = {
        "schema_version": SCHEMA_VERSION,
        "command": command,
        "ok": False,
        "exit_code": error.exit_code,
        "host": None,
        "platforms": [],
        "entries": [],
        "findings": [],
        "errors": [error_row(error)],
    }
    kind = TYPES.get(command, Result)
    if issubclass(kind, ExplainResult):
        data["explanation"] = None
    if issubclass(kind, ChangeResult):
        data |= {"check": False, "changed": False, "actions": []}
    return data


def host_row(facts: HostFacts, isolation: Sequence[str] = ()) -> Json:
    """The host as a whole, and what the probes that ran on it were kept from."""
    native = facts.kernel.native
    enabled = facts.registry.enabled
    return {
        "root": facts.root,
        "kernel": facts.kernel.release,
        "machine": facts.kernel.machine,
        "native_target": native.name if native else None,
        "distribution": facts.distribution.name,
        "init": init_of(facts.boot).in_json,
        "container": facts.process.container,
        "user_namespace": "initial" if facts.process.initial_namespace else "private",
        "unit_installed": facts.boot.unit_text is not None,
        "binfmt_misc": {
            "support": facts.kernel.support,
            "mount": facts.registry.mount.state,
            "read_only": facts.registry.mount.read_only,
            "enabled": enabled if isinstance(enabled, bool) else None,
        },
        "isolation": list(isolation),
    }


def platform_row(facts: HostFacts, state: PlatformState) -> Json:
    """The verdict on one platform."""
    handler = state.handler
    return {
        "platform": state.platform.name,
        "target": state.platform.target.name,
        "ok": state.ok,
        "how": state.how,
        "handler": {
            "name": handler.name,
            "interpreter": handler.interpreter,
            "flags": handler.flags,
            "pinned_version": state.pinned_version,
            "disk_version": state.disk_version,
            **({"known_faults": list(faults)} if (faults := faults_of(facts, state)) else {}),
        }
        if handler
        else None,
        "persistent": state.persistent,
        **({} if state.prepared is None else {"prepared": state.prepared}),
        "findings": [finding_row(finding) for finding in state.findings],
    }


def pinned_version(result: Result, entry: Entry) -> str:
    """The version that the kernel holds open for an entry; empty when no probe could tell."""
    states = (s for s in result.verdict.platforms if s.handler and s.handler.name == entry.name)
    return next((state.pinned_version for state in states), "")


def entry_row(facts: HostFacts, entry: Entry, pinned: str = "") -> Json:
    """One entry of the registry."""
    registration, owner = entry.registration, owner_of(facts, entry)
    file = facts.emulators.file_at(entry.interpreter)
    target = target_of_entry(entry.name)
    return {
        "name": entry.name,
        "enabled": entry.enabled,
        "interpreter": entry.interpreter,
        "flags": entry.flags,
        "offset": registration.offset,
        "magic": registration.magic.hex(),
        "mask": registration.mask.hex(),
        "extension": registration.extension,
        "target": target.name if target else None,
        "owner": owner.name,
        "origin": owner.origin.name if owner.origin else None,
        "persistent": not why_lost(facts, entry.name),
        "pinned_version": pinned,
        "disk_version": file.version if file else "",
        "source": file.source if file else "",
        "sha256": file.digest if file else "",
    }


def engine_row(report: EngineReport) -> Json:
    """What one container engine answered."""
    return {
        "name": report.name,
        "version": report.version,
        "details": report.details,
        "built": sorted(report.built),
        "index": sorted(report.index),
        "elsewhere": sorted(report.elsewhere),
        "output": report.output,
        "findings": [finding_row(finding) for finding in report.findings],
        "error": error_row(report.error) if report.error else None,
    }


def finding_row(finding: Finding) -> Json:
    """One finding."""
    hint = words.hint(finding)
    row: Json = {
        "code": finding.code,
        "severity": finding.severity,
        "message": words.message(finding),
        "evidence": words.evidence(finding),
        "hint": hint,
        "remedy": {"command": _command(finding.remedy), "text": hint},
        "platform": finding.platform or None,
    }
    return {**row, "omitted": finding.omitted} if finding.omitted else row


def _command(remedy: Remedy | None) -> list[str] | None:
    """The command as a program can run it; None where the user has to fill in a word."""
    return list(remedy.argv) if remedy and remedy.command and remedy.complete else None


def error_row(error: BinfmtSetupError) -> Json:
    """One error that stopped something."""
    return {"code": error.code, "message": error.message, "hint": error.hint}


def action_row(step: Step, result: str, error: BinfmtSetupError | None) -> Json:
    """One step of an install or uninstall."""
    target, before, after = described(step)
    return {
        "kind": step.kind,
        "target": target,
        "before": before,
        "after": after,
        "result": result,
        "error": error_row(error) if error else None,
    }


def described(step: Step) -> tuple[str, str | None, str | None]:
    """What a step changes, and its text before and after."""
    if isinstance(step, ChangeEntry):
        before = step.before.line if step.before else None
        return step.name, before, step.after.line if step.after else None
    if isinstance(step, ChangeFile | ChangeLink):
        return step.path, step.before, step.after
    if isinstance(step, Prepare | ControlUnit):
        return step.target, None, None
    if isinstance(step, Unpack):
        return step.directory, None, f"{step.source}\n{step.digest}"
    if isinstance(step, Discard):
        return step.stored.directory, f"{step.stored.source}\n{step.stored.digest}", None
    return "systemd", None, None
