"""What deploy/kubernetes says, as data: its objects, and the pod that a node would start of one."""

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
        image: str
        args: list[str]
        readinessProbe: Probe
        securityContext: Rights

    class HostPath(TypedDict):
        """A directory of the node's."""

        path: str

    class Volume(TypedDict, total=False):
        """What is mounted into containers."""

        name: str
        hostPath: HostPath

    class PodSpec(TypedDict, total=False):
        """What a pod consists of."""

        initContainers: list[Container]
        containers: list[Container]
        nodeName: str
        volumes: list[Volume]

    class Pod(TypedDict):
        """A pod, or the template of one."""

        apiVersion: str
        kind: str
        metadata: dict[str, object]
        spec: PodSpec

    class Template(TypedDict):
        """What a controller makes pods of."""

        template: Pod

    class Workload(TypedDict):
        """A DaemonSet or a Job."""

        metadata: dict[str, object]
        spec: Template


FOLDER = Path(__file__).resolve().parent.parent / "deploy/kubernetes"
BASE = FOLDER / "base/daemonset.yaml"
JOB = FOLDER / "remove/job.yaml"


def read(path: Path) -> Workload:
    """The object in a file."""
    with path.open() as stream:
        found: Workload = yaml.safe_load(stream)
    return found


def containers(spec: PodSpec) -> list[Container]:
    """All containers, in the order in which they start."""
    return [*spec.get("initContainers", ()), *spec["containers"]]


def pod_of(path: Path, image: str) -> Pod:
    """The pod that a controller makes of its template, with this image."""
    found = read(path)
    template = found["spec"]["template"]
    for container in containers(template["spec"]):
        container["image"] = image
    template["spec"].pop("nodeName", None)
    named = {**template.get("metadata", {}), "name": found["metadata"]["name"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": template["spec"]}
