"""Reading what engines print, what they get to see, and how their answers count."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binfmt_setup.diagnosis.catalogue import EntryMissing
from binfmt_setup.diagnosis.finding import Finding
from binfmt_setup.diagnosis.verdict import PlatformState, Verdict
from binfmt_setup.engines.answers import EngineReport, Question, try_builds
from binfmt_setup.engines.ask import EngineCalls, ask_engines, asked_engines, with_engines
from binfmt_setup.engines.build_cache import CacheRecord, left_by, parse_du, parse_system_df
from binfmt_setup.engines.build_log import (
    ProbeFailure,
    context_files,
    platforms_of_index,
    probe_failure,
    targets_that_ran,
)
from binfmt_setup.engines.call import Caller
from binfmt_setup.engines.docker import DockerFacts, version_findings, without_buildx
from binfmt_setup.engines.interface import engine_named
from binfmt_setup.model.errors import OtherProgramFailed, TookTooLong, UsageProblem
from binfmt_setup.model.facts import HostFacts, KernelFacts
from binfmt_setup.model.records import replace
from binfmt_setup.model.targets import Platform, parse_platform
from binfmt_setup.report.formats.interface import Showing, format_named
from binfmt_setup.report.result import CheckResult
from binfmt_setup.report.style import Style
from binfmt_setup.report.text_report import text_report
from binfmt_setup.report.words import hint, message
from binfmt_setup.system.host import Host
from binfmt_setup.system.programs import Completed, run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

Builds = Callable[[Sequence[Platform], str], tuple[Completed, frozenset[str] | None]]
ARM64, AMD64, S390X = map(parse_platform, ("arm64", "amd64", "s390x"))
TOKEN = "binfmt-setup-0123"  # noqa: S105 - the name of a build


def line(target: str, argc: int = 2) -> str:
    return f"#7 0.05 binfmt-probe target={target} machine=x argc={argc} argv0=/{TOKEN}\n"


# -- logs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log", "failure"),
    [
        # Docker 20.10 and 28.5, runc
        (f"#8 0.050 exec /{TOKEN}: exec format error", ProbeFailure(errno="ENOEXEC")),
        (f"#5 0.054 exec /{TOKEN}: no such file or directory", ProbeFailure(errno="ENOENT")),
        (f"exec container process `/{TOKEN}`: Exec format error", ProbeFailure(errno="ENOEXEC")),
        (f"exec container process `/{TOKEN}`: Permission denied", ProbeFailure(errno="EACCES")),
        (f"ERROR: executor failed running [/{TOKEN} one]: exit code: 255", ProbeFailure("", 255)),
        (
            f'#8 ERROR: process "/{TOKEN} one" did not complete successfully: exit code: 159',
            ProbeFailure("", 159),
        ),
        (f'building at STEP "RUN /{TOKEN} one": while running runtime: exit status 1', None),
        (
            f'building at STEP "RUN /{TOKEN} one": while running runtime: exit status 139',
            ProbeFailure("", 139),
        ),
        ("ERROR: write /x: no space left on device", None),
        ("exec /other: exec format error", None),
        ("", None),
    ],
)
def test_why_a_probe_did_not_run(log: str, failure: ProbeFailure | None) -> None:
    assert probe_failure(f"first\n{log}\nlast", TOKEN) == failure


def test_a_refused_system_call_is_told_from_its_signal() -> None:
    assert ProbeFailure(exit_status=159).blocked_call
    assert not ProbeFailure(exit_status=139).blocked_call


@pytest.mark.parametrize(
    ("log", "targets"),
    [
        (line("aarch64") + line("x86_64"), {"aarch64", "x86_64"}),
        (line("aarch64", argc=3), set()),
        (line("aarch64").replace(TOKEN, "another"), set()),
    ],
)
def test_whose_line_is_in_a_log(log: str, targets: set[str]) -> None:
    assert targets_that_ran(log, TOKEN) == targets


def test_the_builder_chooses_the_probe() -> None:
    files = context_files([ARM64, AMD64], TOKEN)
    assert set(files) == {"Dockerfile", "linux/arm64/probe", "linux/amd64/probe"}
    assert b"COPY ${TARGETPLATFORM}/probe" in files["Dockerfile"]
    assert b"target=aarch64" in files["linux/arm64/probe"]


# -- the OCI index --------------------------------------------------------------------------

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def image(architecture: str, variant: str = "", **annotations: str) -> dict[str, object]:
    platform = {"os": "linux", "architecture": architecture}
    if variant:
        platform["variant"] = variant
    return {"mediaType": MANIFEST, "platform": platform, "annotations": annotations}


def test_attestations_are_no_platforms() -> None:
    attestation = image("unknown")
    attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
    named = image("amd64", **{"vnd.docker.reference.type": "attestation-manifest"})
    inner: dict[str, object] = {
        "manifests": [image("arm64", "v8"), image("arm", "v7"), attestation, named]
    }
    outer: dict[str, object] = {"manifests": [{"mediaType": INDEX, "digest": "sha256:1"}]}
    found = platforms_of_index(outer, {"sha256:1": inner}.__getitem__)
    assert found == {"linux/arm64", "linux/arm/v7"}


def test_an_image_without_a_platform_tells_it_in_its_configuration() -> None:
    blobs: dict[str, Mapping[str, object]] = {
        "sha256:m": {"config": {"digest": "sha256:c"}},
        "sha256:c": {"os": "linux", "architecture": "s390x"},
    }
    outer: dict[str, object] = {"manifests": [{"mediaType": MANIFEST, "digest": "sha256:m"}]}
    assert platforms_of_index(outer, blobs.__getitem__) == {"linux/s390x"}


KEYS = ("manifests", "mediaType", "platform", "annotations", "digest")
# ASCII: the letters are not looked at, and the table of all of Unicode takes seconds to make.
json_values = st.recursive(
    st.none() | st.booleans() | st.text("ab/", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_no_json_breaks_the_reading_of_an_index(document: dict[str, object]) -> None:
    platforms_of_index(document, lambda _: {})


# -- what Docker keeps ----------------------------------------------------------------------


def test_only_what_our_builds_left_is_removed_children_first() -> None:
    before = [CacheRecord("theirs", f"[1/2] COPY {TOKEN}")]
    after = [
        *before,
        CacheRecord("copy", "fileop target"),
        CacheRecord("run", f"mount / from exec /{TOKEN} one", "regular", "", ("copy",)),
        CacheRecord("failed", "fileop target", "regular", "1.06kB"),
        CacheRecord("others", "fileop target", "regular", "2MB"),
        CacheRecord("context", "local source for context", "source.local"),
        CacheRecord("new", "mount / from exec /bin/sh -c make", "regular"),
    ]
    left = left_by(before, after, [TOKEN], {"1.06kB"})
    assert set(left) == {"copy", "run", "failed", "context"}
    assert left.index("run") < left.index("copy")


def test_records_are_read_from_both_of_docker_s_commands() -> None:
    verbose = (
        "ID:           a\nParents:\n - b\n - c\nCreated at:   x\nSize:         121B\n"
        "Description:  mount / from exec /x one\nType:         regular\n\n"
        "ID:           b*\nParent:       d\nType:         source.local\n\nTotal:  1B\n"
    )
    assert parse_du(Completed(0, verbose)) == (
        CacheRecord("a", "mount / from exec /x one", "regular", "121B", ("b", "c")),
        CacheRecord("b", "", "source.local", "", ("d",)),
    )
    rows = [{"ID": "a*", "CacheType": "regular", "Parent": "b", "Size": "0B", "Description": "d"}]
    assert parse_system_df(json.dumps(rows)) == (CacheRecord("a", "d", "regular", "0B", ("b",)),)
    assert parse_du(Completed(0, "Total:\t0B\n")) == ()
    assert parse_system_df("[]") == parse_system_df("null") == ()
    assert parse_system_df("<garbage>") is None


@pytest.mark.parametrize(
    "said", [Completed(1, "", "it broke"), Completed(0, ""), Completed(0, "{}")]
)
def test_no_list_is_not_an_empty_one(said: Completed) -> None:
    assert parse_du(said) is None
    assert parse_system_df(said.output) is None


def test_without_a_list_from_before_only_what_bears_our_token_is_removed() -> None:
    after = [
        CacheRecord("theirs", "[1/2] COPY make /make", "regular", "1.06kB"),
        CacheRecord("their-context", "local source for context", "source.local"),
        CacheRecord("their-copy", "fileop target", "regular", "1.06kB"),
        CacheRecord("parent", "[1/2] COPY probe /probe", "regular"),
        CacheRecord("run", f"mount / from exec /{TOKEN} one", "regular", "", ("parent",)),
    ]
    assert left_by(None, after, [TOKEN], {"1.06kB"}) == ("run",)


# -- versions -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "codes"),
    [
        (DockerFacts("18.09.9", "18.09.9"), ["engine-too-old"]),
        (DockerFacts("20.10.1", "18.06.3-ce"), ["engine-too-old"]),
        (DockerFacts("19.03.15", "19.03.15"), ["experimental-off"]),
        (DockerFacts("19.03.15", "19.03.15", server_experimental=True), []),
        (DockerFacts("20.10.24+dfsg1", "20.10.24+dfsg1"), []),
        (DockerFacts("28.5.2", "28.5.2"), []),
    ],
)
def test_the_gates_of_docker_s_versions(facts: DockerFacts, codes: list[str]) -> None:
    assert [finding.code for finding in version_findings(facts)] == codes


def test_what_the_lack_of_buildx_means() -> None:
    old, new = DockerFacts("20.10.24", "20.10.24"), DockerFacts("28.5.2", "28.5.2")
    assert without_buildx(old, several=False, named=True) is None
    for named, severity in ((True, "error"), (False, "warning")):
        finding = without_buildx(old, several=True, named=named)
        assert finding is not None
        assert finding.severity == severity
    needed = without_buildx(new, several=False, named=True)
    assert needed is not None
    assert (needed.code, needed.severity) == ("buildx-missing", "error")
    hidden = without_buildx(DockerFacts("19.03.1", "19.03.1"), several=True, named=True)
    assert hidden is not None
    assert "DOCKER_CLI_EXPERIMENTAL" in hint(hidden)


# -- calling --------------------------------------------------------------------------------


def test_engines_see_the_variables_of_the_list_and_no_others() -> None:
    seen: list[Sequence[str]] = []

    def run(argv: Sequence[str], seconds: float) -> Completed:
        seen.append(argv)
        assert seconds > 0
        return Completed(0, "{}")

    environment = {
        "DOCKER_HOST": "unix:///x", "HOME": "/home/u", "LD_PRELOAD": "/evil.so",
        "PATH": "/evil", "QEMU_LOG": "1", "DOCKER_CONTEXT": "",
    }  # fmt: skip
    caller = Caller(Host(run=run), environment, engine_named("docker").variables)
    caller.ask(("docker", "info"))
    assert seen == [("env", "HOME=/home/u", "DOCKER_HOST=unix:///x", "docker", "info")]


def test_what_engines_print_cannot_steer_a_terminal() -> None:
    host = Host(run=lambda _argv, _seconds: Completed(1, "a\x1b[2Jb\r\nc\0", "\x07\td"))
    assert Caller(host, {}).ask(("docker",)) == Completed(1, "a[2Jb\nc", "\td")


def test_engines_that_fail_are_errors_in_a_junit_report() -> None:
    failed = EngineReport("docker", error=OtherProgramFailed("x", code="engine-failed"))
    verdict = Verdict((state(ARM64, ok=True),))
    assert failed.error is not None
    result = CheckResult(HostFacts("/"), verdict, errors=(failed.error,), engines=(failed,))
    text = format_named("junit").report(result, Showing())
    suite = ET.fromstring(text)  # noqa: S314 - made a line above
    assert (suite.get("tests"), suite.get("errors")) == ("3", "1")
    assert [case.get("message") for case in suite.iter("error")] == ["engine-failed"]


def test_an_unknown_engine_is_a_usage_problem() -> None:
    assert asked_engines("docker,podman,docker") == ("docker", "podman")
    with pytest.raises(UsageProblem):
        asked_engines("dokcer")


@pytest.mark.parametrize("names", [("auto",), ("docker",)])
def test_an_engine_that_is_missing_is_a_finding(
    names: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    nothing = Host(tmp_path_factory.mktemp("empty"))
    (report,) = ask_engines(EngineCalls(Caller(nothing, {}), names), Question((ARM64,)))
    assert [finding.code for finding in report.findings] == ["engine-missing"]


def test_a_program_that_hangs_is_ended_with_its_children_and_its_words_are_told() -> None:
    # A number of its own: the same test runs on other Pythons at the same time.
    seconds = f"9{os.getpid()}"
    with pytest.raises(TookTooLong) as caught:
        # Enough for a busy machine to start a shell in.
        run_program(["sh", "-c", f"echo begun; sleep {seconds} & sleep {seconds}"], 3)
    assert "begun" in caught.value.message
    listed = f"ps -A -o args= | grep -c '[s]leep {seconds}$' || true"
    done = run_program(["sh", "-c", listed], 10)
    assert done.output.strip() == "0"


# -- judging --------------------------------------------------------------------------------


def build_saying(log: str, status: int = 0, index: frozenset[str] | None = None) -> Builds:
    def build(_: Sequence[Platform], token: str) -> tuple[Completed, frozenset[str] | None]:
        return Completed(status, log.replace(TOKEN, token)), index

    return build


def test_a_silent_native_build_is_a_failure() -> None:
    report = try_builds("docker", [ARM64], build_saying(line("x86_64")), together=True)
    assert [f.code for f in report.findings] == ["built-natively"]
    assert report.built == set()


def test_a_platform_that_the_index_lacks_is_a_failure() -> None:
    build = build_saying(line("aarch64"), index=frozenset({"linux/amd64"}))
    report = try_builds("podman", [ARM64], build, together=True)
    assert [f.code for f in report.findings] == ["index-incomplete"]


def test_a_build_without_a_word_proves_nothing() -> None:
    with pytest.raises(OtherProgramFailed, match="no output of the build"):
        try_builds("docker", [ARM64], build_saying(""), together=True)


def test_a_failure_that_is_not_the_probe_s_stops_with_everything_it_said() -> None:
    build = build_saying("write /var/lib: no space left on device", status=1)
    with pytest.raises(OtherProgramFailed, match="no space left on device") as caught:
        try_builds("docker", [ARM64], build, together=True)
    assert caught.value.exit_code == 6


def state(platform: Platform, *, ok: bool, missing: bool = False) -> PlatformState:
    findings = (Finding(EntryMissing(), platform.name),) if missing else ()
    return PlatformState(platform, ok, "emulated" if ok else "none", findings=findings)


def test_what_an_engine_built_is_ok_and_this_host_s_errors_are_not() -> None:
    verdict = Verdict((state(ARM64, ok=False, missing=True),))
    merged = with_engines(verdict, [EngineReport("docker", built=frozenset({"linux/arm64"}))])
    assert merged.good()
    assert [f.severity for f in merged.all_findings] == ["info"]


def test_what_one_engine_did_not_build_is_not_ok() -> None:
    verdict = Verdict((state(ARM64, ok=True),))
    reports = [EngineReport("docker", built=frozenset({"linux/arm64"})), EngineReport("podman")]
    merged = with_engines(verdict, reports)
    assert not merged.good()
    assert [f.code for f in merged.all_findings] == ["not-built"]
    assert "podman" in message(merged.all_findings[0])


def test_where_only_an_engine_fails_the_probe_is_said_to_have_run() -> None:
    one = with_engines(Verdict((state(ARM64, ok=True),)), [EngineReport("docker")])
    alone, both = (
        said_of(one),
        said_of(Verdict((*one.platforms, replace(one.platforms[0], platform=S390X)))),
    )
    assert "✓ program   one for linux/arm64 ran in an empty chroot" in alone
    assert both.count("  its probe ran, but not every engine built it") == 2
    assert "does not work: linux/arm64" in alone


def test_what_only_an_engine_runs_is_not_said_to_run_on_this_host() -> None:
    built = [EngineReport("docker", built=frozenset({"linux/arm64"}))]
    one = with_engines(Verdict((state(ARM64, ok=False),)), built)
    alone, both = (
        said_of(one),
        said_of(Verdict((*one.platforms, replace(one.platforms[0], platform=S390X)))),
    )
    assert "· program   one for linux/arm64 does not run in an empty chroot" in alone
    assert both.count("  built by the engine, does not run on the host itself") == 2
    assert "works: linux/arm64" in alone


def said_of(verdict: Verdict) -> str:
    facts = HostFacts("/", kernel=KernelFacts("6.1.0", "x86_64"))
    return text_report(CheckResult(facts, verdict), Style())


def test_an_engine_that_failed_to_answer_leaves_the_verdict_on_this_host() -> None:
    verdict = Verdict((state(ARM64, ok=True),))
    failed = EngineReport("docker", error=OtherProgramFailed("x"))
    assert with_engines(verdict, [failed]).platforms == verdict.platforms


def test_of_an_endless_flood_only_the_start_is_kept() -> None:
    with pytest.raises(TookTooLong) as caught:
        run_program(["yes"], 0.5)
    assert len(caught.value.message) < 17 * 1024 * 1024


def test_both_streams_and_the_status_come_back() -> None:
    done = run_program(["sh", "-c", "echo out; echo err >&2; exit 3"], 10)
    assert (done.status, done.output, done.errors) == (3, "out\n", "err\n")
    assert run_program(["sh", "-c", "exec >&- 2>&-; exit 4"], 10).status == 4
