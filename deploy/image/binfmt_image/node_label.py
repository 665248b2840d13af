"""`label-node`: a label of a Kubernetes node that stands there only while its programs run.

    label-node [--every SECONDS] KEY=VALUE [what `check` takes]   until SIGTERM, which takes it away
    label-node KEY-                                               take it away, and end

A pod is told by Kubernetes where the API server is, and has a token of its service account; the
node's name stands in NODE. Asked for is one thing, a PATCH of that node's labels.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from binfmt_setup.cli.signals import Ended
from binfmt_setup.model.errors import BinfmtSetupError, EnvironmentUnfit, TookTooLong, UsageProblem
from binfmt_setup.model.records import Record
from binfmt_setup.system.programs import run_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SECRETS = Path("/run/secrets/kubernetes.io/serviceaccount")
PAUSE = 10.0  # seconds
REMINDER = 300.0  # seconds: somebody else may have changed the label
_ANSWER_SECONDS = 4  # of the few that a pod has when it is ended
_CHECK_SECONDS = 60.0


class Label(Record):
    """A label of this pod's node; the variables tell which, and who is asked."""

    key: str
    value: str
    node: str
    host: str
    port: str

    def put(self, *, there: bool) -> None:
        """Set it, or take it away; raises EnvironmentUnfit when the API server does not."""
        labels = {self.key: self.value if there else None}
        try:
            status, said = self._patched(json.dumps({"metadata": {"labels": labels}}))
        except (OSError, HTTPException, ValueError) as error:
            raise EnvironmentUnfit(
                f"the API server {self.host}:{self.port} cannot be asked: {error}"
            ) from error
        if status != 200:
            raise EnvironmentUnfit(f"the API server refuses the label: {status} {said[:500]}")

    def _patched(self, body: str) -> tuple[int, str]:
        trusted = ssl.create_default_context(cafile=str(SECRETS / "ca.crt"))
        # Read each time: kubelet renews it.
        token = (SECRETS / "token").read_text(encoding="ascii").strip()
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json",
                   "Content-Type": "application/merge-patch+json"}  # fmt: skip
        api = HTTPSConnection(self.host, int(self.port), context=trusted, timeout=_ANSWER_SECONDS)
        try:
            api.request("PATCH", f"/api/v1/nodes/{self.node}", body, headers)
            answer = api.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            api.close()


def label_node(options: Sequence[str], words: Sequence[str]) -> int:
    """Do it; `options` are those that `check` needs before it. The exit status."""
    every, words = _every(list(words))
    key, equals, value = words[0].partition("=") if words else ("", "", "")
    taken_away = not equals and key.endswith("-") and len(words) == 1
    if not taken_away and not (key and equals):
        raise UsageProblem(
            "label-node: which label?", hint="KEY=VALUE as long as `check` says yes, or KEY-"
        )
    label = _label(key.removesuffix("-") if taken_away else key, value)
    if taken_away:
        label.put(there=False)
        return 0
    return _kept(label, (os.path.realpath(sys.argv[0]), *options, "check", *words[1:]), every)


def _every(words: list[str]) -> tuple[float, list[str]]:
    if not words or words[0] != "--every":
        return PAUSE, words
    try:
        return max(0.1, float(words[1])), words[2:]
    except (IndexError, ValueError) as error:
        raise UsageProblem("--every: how many seconds?") from error


def _label(key: str, value: str) -> Label:
    names = ("NODE", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
    found = [os.environ.get(name, "") for name in names]
    if missing := [name for name, value in zip(names, found, strict=True) if not value]:
        raise EnvironmentUnfit(
            f"label-node is for a pod of Kubernetes: {missing[0]} is not set",
            hint="see deploy/kubernetes/components/node-label",
        )
    return Label(key, value, *found)


def _kept(label: Label, check: Sequence[str], every: float) -> int:
    """Look now and then; what was said last is not said again."""
    last, due = "", 0.0
    try:
        while True:
            there = _ready(check)
            now = f"{label.key}={label.value}" if there else f"no {label.key}"
            if now != last or time.monotonic() > due:
                last = _told(label, now, last, there=there)
                due = time.monotonic() + REMINDER
            time.sleep(every)
    except Ended:
        label.put(there=False)
    return 0


def _told(label: Label, now: str, last: str, *, there: bool) -> str:
    """Put the label there or away; what is to be said of it, or why it could not be done."""
    try:
        label.put(there=there)
    except BinfmtSetupError as error:
        now = error.message
    if now != last:
        sys.stderr.write(f"node {label.node}: {now}\n")
        sys.stderr.flush()
    return now


def _ready(check: Sequence[str]) -> bool:
    try:
        return run_program(check, _CHECK_SECONDS).status == 0
    except TookTooLong:
        return False
