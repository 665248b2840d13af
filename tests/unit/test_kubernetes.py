"""What deploy/kubernetes asks of a cluster: the least that does, in words that this tool knows.

scripts/validate-kubernetes validates it against the schemas of all versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from binfmt_setup.cli import reader, table
from tests.kubernetes import BASE, JOB, LABEL, containers, pod_spec

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY = "/proc/sys/fs/binfmt_misc"
SECRETS = "/run/secrets/kubernetes.io/serviceaccount"
WORKLOADS = pytest.mark.parametrize("path", [BASE, JOB], ids=["DaemonSet", "Job"])


@WORKLOADS
def test_a_container_has_no_more_rights_than_it_needs(path: Path) -> None:
    for container in containers(pod_spec(path)):
        rights = container["securityContext"]
        assert rights["capabilities"] == {"drop": ["ALL"], "add": ["SYS_CHROOT"]}
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["readOnlyRootFilesystem"] is True


@WORKLOADS
def test_of_the_node_only_its_registry_is_seen(path: Path) -> None:
    volumes = pod_spec(path)["volumes"]
    assert [v["hostPath"]["path"] for v in volumes if "hostPath" in v] == [REGISTRY]


@WORKLOADS
def test_its_lines_are_lines_of_this_tool(path: Path) -> None:
    for container in containers(pod_spec(path)):
        words = container["args"]
        assert words[:2] == ["--registry", "/registry"]
        assert reader.read(words[2:], table.COMMANDS) is not None


def test_the_pod_is_ready_only_while_check_says_yes() -> None:
    _, hold = containers(pod_spec(BASE))
    _, *words = hold["readinessProbe"]["exec"]["command"]
    assert words[:3] == ["--registry", "/registry", "check"]
    assert reader.read(words[2:], table.COMMANDS) is not None
    assert "--hold" in hold["args"]


def test_the_label_is_set_and_taken_away_by_the_wish_list() -> None:
    """What its lines do, tests/root/test_node_label.py tries."""
    unlabel, install, label = containers(pod_spec(LABEL))
    # First of all: after a reboot it still stands there.
    assert (unlabel["args"], install["name"]) == (["label-node", "binfmt-setup/ready-"], "install")
    assert unlabel["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert label["securityContext"] == containers(pod_spec(BASE))[1]["securityContext"]
    *before, key, config, wishes = label["args"]
    assert before == ["--registry", "/registry", "label-node"]
    assert key == "binfmt-setup/ready=true"
    assert reader.read(["check", config, wishes], table.COMMANDS) is not None
    # `label-node` has it taken away when it is ended: time for a check, and for one request.
    assert pod_spec(LABEL)["terminationGracePeriodSeconds"] >= 10


def test_only_what_sets_the_label_has_the_token() -> None:
    unlabel, install, label = containers(pod_spec(LABEL))
    with_token = {"name": "token", "mountPath": SECRETS, "readOnly": True}
    assert with_token in unlabel["volumeMounts"]
    assert with_token in label["volumeMounts"]
    assert "volumeMounts" not in install
