"""What deploy/kubernetes says, as data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from typing import TypedDict

    class Execute(TypedDict):
        """What a probe runs."""

        command: list[str]

    class Probe(TypedDict):
        """How it is found out whether a container is ready."""

        exec: Execute

    class Capabilities(TypedDict):
        """What a container's root may do."""

        add: list[str]
        drop: list[str]

    class Rights(TypedDict):
        """The rights of a container."""

        allowPrivilegeEscalation: bool
        capabilities: Capabilities
        readOnlyRootFilesystem: bool

    class Container(TypedDict):
        """One container of a pod."""

        name: str
        args: list[str]
        readinessProbe: Probe
        securityContext: Rights
        volumeMounts: list[dict[str, str]]

    class HostPath(TypedDict):
        """A directory of the node's."""

        path: str

    class Volume(TypedDict, total=False):
        """What is mounted into containers."""

        hostPath: HostPath

    class PodSpec(TypedDict, total=False):
        """What a pod consists of."""

        terminationGracePeriodSeconds: int
        initContainers: list[Container]
        containers: list[Container]
        volumes: list[Volume]

    class Template(TypedDict):
        """What pods are made of."""

        spec: PodSpec

    class Controller(TypedDict):
        """What a DaemonSet or a Job keeps."""

        template: Template

    class Workload(TypedDict):
        """A DaemonSet or a Job."""

        spec: Controller


FOLDER = Path(__file__).resolve().parent.parent / "deploy/kubernetes"
BASE = FOLDER / "base/daemonset.yaml"
JOB = FOLDER / "remove/job.yaml"
LABEL = FOLDER / "components/node-label/label.yaml"


def pod_spec(path: Path) -> PodSpec:
    """What a pod consists of that a file's DaemonSet or Job makes."""
    with path.open() as stream:
        found: Workload = yaml.safe_load(stream)
    return found["spec"]["template"]["spec"]


def containers(spec: PodSpec) -> list[Container]:
    """All containers, in the order in which they start."""
    return [*spec.get("initContainers", ()), *spec["containers"]]
